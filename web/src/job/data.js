// What the views of a job look at, kept up by the live connection.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { get } from "../api.js";
import { emptyTimeline, mergeTimeline } from "../charts/timeline.js";
import { useResource, useTasks, useThrottle } from "../hooks.js";
import { useLive } from "../live.js";

export function useJob(id) {
  const { data, problem, reload, set } = useResource(`/jobs/${id}`);
  useLive((kind, now) => {
    if (kind === "job" && now.id === id) set((old) => old && { ...old, ...now });
  });
  useTasks(data ? [data] : [], (_, tasks) => set((old) => old && { tasks, ...old }));
  return { job: data, problem, reload };
}

// Fetches what may have changed since the last time whenever the job has moved: from the round before the newest known.
function useGrowing(id, key, fetch, start, newest) {
  const [state, setState] = useState({ data: null, problem: null });
  const known = useRef(null);
  const queue = useRef(Promise.resolve());
  const present = useRef(key);
  present.current = key;
  // One after the other, so that answers are merged in the order in which they were asked for.
  const load = useCallback((whole) => {
    queue.current = queue.current.then(async () => {
      const from = whole || !known.current ? -1 : Math.max(newest(known.current) - 1, -1);
      try {
        const merged = await fetch(from, from < 0 ? start() : known.current);
        if (present.current !== key) return;
        known.current = merged;
        setState({ data: merged, problem: null });
      } catch (problem) {
        if (present.current === key) setState((old) => ({ ...old, problem }));
      }
    });
  }, [key]);
  useEffect(() => {
    known.current = null;
    load(true);
  }, [load]);
  const soon = useThrottle(() => load(false), 500);
  useLive((kind, data) => {
    if (kind === "hello" || kind === "missed") load(true);
    if (kind === "event" && data.job === id) soon();
  });
  return state;
}

export function useTimeline(id) {
  return useGrowing(
    id,
    id,
    async (from, known) => mergeTimeline(known, await get(`/jobs/${id}/timeline?from=${from}`), from),
    emptyTimeline,
    (timeline) => Math.max(-1, ...timeline.rounds.keys()),
  );
}

// {names, series: Map("name\nsite" -> {name, site, rounds, values})}
function mergeCurves(known, answer, from) {
  const series = new Map();
  for (const [key, old] of known.series) {
    const keep = old.rounds.findIndex((round) => round >= from);
    series.set(key, keep < 0 ? old : { ...old, rounds: old.rounds.slice(0, keep), values: old.values.slice(0, keep) });
  }
  for (const added of answer.series) {
    const key = `${added.name}\n${added.site}`;
    const old = series.get(key);
    series.set(key, old ? { ...added, rounds: [...old.rounds, ...added.rounds], values: [...old.values, ...added.values] } : added);
  }
  return { names: answer.names, series };
}

export function useCurves(id, { name, site } = {}) {
  const filter = `${name ? `&name=${encodeURIComponent(name)}` : ""}${site !== undefined ? `&site=${encodeURIComponent(site)}` : ""}`;
  return useGrowing(
    id,
    `${id}${filter}`,
    async (from, known) => mergeCurves(known, await get(`/jobs/${id}/curves?from=${from}${filter}`), from),
    () => ({ names: [], series: new Map() }),
    (curves) => Math.max(-1, ...[...curves.series.values()].map((s) => s.rounds[s.rounds.length - 1] ?? -1)),
  );
}
