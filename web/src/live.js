// One stream of Server-Sent Events for the whole page. The browser goes on by itself after a break, with Last-Event-ID;
// what it cannot mend (the server refused, or was away for long) is begun anew here.
import { useEffect, useReducer, useRef } from "preact/hooks";
import { get, session } from "./api.js";

const listeners = new Set();
export const connection = { state: "connecting" };
let source = null;
let timer = 0;
let lastId = "";

function tell(kind, data) {
  for (const listener of [...listeners]) listener(kind, data);
}

function setState(state) {
  if (connection.state === state) return;
  connection.state = state;
  tell("connection", state);
}

function begin() {
  clearTimeout(timer);
  source?.close();
  source = new EventSource(`/api/v1/events${lastId ? `?last_event_id=${lastId}` : ""}`);
  for (const kind of ["hello", "event", "job", "site", "missed"]) {
    source.addEventListener(kind, (message) => {
      if (message.lastEventId) lastId = message.lastEventId;
      if (kind === "hello") setState("open");
      tell(kind, JSON.parse(message.data));
    });
  }
  source.onerror = () => {
    setState("lost");
    if (source.readyState === EventSource.CLOSED) {
      clearTimeout(timer);
      timer = setTimeout(again, 2000);
    }
  };
}

async function again() {
  try {
    await get("/session");
    begin();
  } catch (problem) {
    if (problem.status !== 401) timer = setTimeout(again, 2000);
  }
}

export function startLive() {
  begin();
}

export function stopLive() {
  clearTimeout(timer);
  source?.close();
  source = null;
  lastId = "";
  connection.state = "connecting";
}

// Calls handler(kind, data) for every message while the component is there.
export function useLive(handler) {
  const latest = useRef(handler);
  latest.current = handler;
  useEffect(() => {
    const listener = (kind, data) => latest.current(kind, data);
    listeners.add(listener);
    return () => listeners.delete(listener);
  }, []);
}

export function useConnection() {
  const [, redraw] = useReducer((n) => n + 1, 0);
  useLive((kind) => kind === "connection" && redraw());
  return session.current ? connection.state : "open";
}
