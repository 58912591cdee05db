// Everything that has happened, filtered as one likes; new lines come by themselves.
import { useEffect, useRef, useState } from "preact/hooks";
import { get } from "../api.js";
import { ROUTINE, moment } from "../format.js";
import { useLive } from "../live.js";
import { Card, Empty, ProblemBox } from "../ui.jsx";

const PAGE = 1000;
const SHOWN = 500;
const WHAT = { all: () => true, notable: (e) => !ROUTINE.has(e.kind), log: (e) => e.kind === "log" };

function useEvents(id) {
  const [state, setState] = useState({ items: [], problem: null });
  const cursor = useRef(0);
  const queue = useRef(Promise.resolve());
  const load = () => {
    queue.current = queue.current.then(async () => {
      try {
        for (;;) {
          const page = await get(`/jobs/${id}/events?limit=${PAGE}&cursor=${cursor.current}`);
          cursor.current = page.next ?? cursor.current;
          if (page.items.length) setState((old) => ({ items: [...old.items, ...page.items], problem: null }));
          if (page.items.length < PAGE) return;
        }
      } catch (problem) {
        setState((old) => ({ ...old, problem }));
      }
    });
  };
  useEffect(load, [id]);
  useLive((kind, data) => {
    if (kind === "hello" || kind === "missed" || (kind === "event" && data.job === id && data.id > cursor.current)) load();
  });
  return state;
}

export const Events = ({ job }) => {
  const { items, problem } = useEvents(job.id);
  const [filter, setFilter] = useState({ text: "", site: "", what: "all" });
  const sites = [...new Set(items.map((e) => e.site).filter(Boolean))].sort();
  const text = filter.text.toLowerCase();
  const fitting = items.filter((e) => WHAT[filter.what](e) && (!filter.site || e.site === filter.site) && (!text || `${e.kind} ${e.message}`.toLowerCase().includes(text)));
  const shown = fitting.slice(-SHOWN).reverse();
  return (
    <Card>
      <form class="filter" role="search" onSubmit={(e) => e.preventDefault()}>
        <input type="search" aria-label="Search in events" placeholder="Search" value={filter.text} onInput={(e) => setFilter({ ...filter, text: e.target.value })} />
        <select aria-label="Site" value={filter.site} onChange={(e) => setFilter({ ...filter, site: e.target.value })}>
          <option value="">any site</option>
          {sites.map((site) => <option key={site}>{site}</option>)}
        </select>
        <select aria-label="What" value={filter.what} onChange={(e) => setFilter({ ...filter, what: e.target.value })}>
          <option value="all">events and logs</option>
          <option value="notable">without routine</option>
          <option value="log">logs of the sites</option>
        </select>
        <span class="quiet">{fitting.length > SHOWN ? `the newest ${SHOWN} of ${fitting.length}` : `${fitting.length}`}</span>
      </form>
      <ProblemBox problem={problem} />
      {shown.length === 0 ? <Empty>{filter.what === "log" ? "No log lines. A site tells them if its executor's setting share_log is true." : "No event fits."}</Empty> : (
        <ol class="plain log" aria-label="Events, newest first" tabIndex="0">
          {shown.map((event) => (
            <li key={event.id} class={event.kind}>
              <time dateTime={event.time}>{moment(event.time)}</time>
              <span class="kind">{event.kind.replaceAll("_", " ")}</span>
              <span>{event.round > 0 && <span class="quiet">round {event.round} </span>}{event.kind === "log" && <b>{event.site} </b>}{event.message}</span>
            </li>
          ))}
        </ol>
      )}
    </Card>
  );
};
