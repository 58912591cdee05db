import { useCallback, useEffect, useReducer, useRef, useState } from "preact/hooks";
import { get } from "./api.js";
import { useLive } from "./live.js";

// {data, problem, reload, set}: fetched again when the path changes and after every break of the live connection.
export function useResource(path) {
  const [state, setState] = useState({ path, data: null, problem: null });
  const wanted = useRef(path);
  wanted.current = path;
  const reload = useCallback(async () => {
    if (!path) return;
    try {
      const data = await get(path);
      if (wanted.current === path) setState({ path, data, problem: null });
    } catch (problem) {
      if (wanted.current === path) setState((old) => ({ path, data: old.path === path ? old.data : null, problem }));
    }
  }, [path]);
  useEffect(() => {
    reload();
  }, [reload]);
  useLive((kind) => (kind === "hello" || kind === "missed") && reload());
  const set = useCallback((change) => setState((old) => ({ ...old, data: change(old.data) })), []);
  const fresh = state.path === path ? state : { data: null, problem: null };
  return { data: fresh.data, problem: fresh.problem, reload, set };
}

// What the sites do now comes with live messages: for running jobs of which none has come yet, put(job's id, tasks).
export function useTasks(jobs, put) {
  const wanting = jobs.filter((job) => job.state === "running" && !job.tasks);
  useEffect(() => {
    for (const { id, round } of wanting) get(`/jobs/${id}/tasks?round=${round}`).then(({ items }) => put(id, items), () => {});
  }, [wanting.map((job) => job.id).join()]);
}

// Runs `action` at most once in `ms`, and once more at the end if it was asked for meanwhile.
export function useThrottle(action, ms) {
  const state = useRef({ timer: 0, asked: false });
  const latest = useRef(action);
  latest.current = action;
  useEffect(() => () => clearTimeout(state.current.timer), []);
  return useCallback(() => {
    const now = state.current;
    if (now.timer) {
      now.asked = true;
      return;
    }
    const run = () => {
      now.asked = false;
      latest.current();
      now.timer = setTimeout(() => {
        now.timer = 0;
        if (now.asked) run();
      }, ms);
    };
    run();
  }, [ms]);
}

export function useNow(ms = 1000) {
  const [, tick] = useReducer((n) => n + 1, 0);
  useEffect(() => {
    const timer = setInterval(tick, ms);
    return () => clearInterval(timer);
  }, [ms]);
  return Date.now();
}

export function useTitle(title) {
  useEffect(() => {
    document.title = title ? `${title} · Rounds` : "Rounds";
  }, [title]);
}

export function useWidth() {
  const element = useRef(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    if (!element.current) return undefined;
    const observer = new ResizeObserver(([entry]) => setWidth(Math.floor(entry.contentRect.width)));
    observer.observe(element.current);
    return () => observer.disconnect();
  }, []);
  return [element, width];
}
