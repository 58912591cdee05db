// The audit log: who did what, from where, on what, and what came of it. Filtered and paged by the server.
import { useEffect, useState } from "preact/hooks";
import { get, query } from "../api.js";
import { shortId } from "../format.js";
import { useTitle } from "../hooks.js";
import { Ago, Card, Loading, ProblemBox, Table } from "../ui.jsx";

const PAGE = 50;
const SORTS = [["job.", "jobs"], ["model.", "models given out"], ["session.", "signing in"], ["site.", "sites"], ["token.", "tokens"],
  ["user.", "accounts"], ["webhook.", "webhooks"], ["upload.", "uploads"], ["audit.", "this log"], ["server.", "the server"]];

function useEntries(filter) {
  const [state, setState] = useState({ items: [], next: null, state: null, problem: null, loaded: false });
  const path = (cursor) => `/audit${query({ ...filter, limit: PAGE, cursor })}`;
  useEffect(() => {
    let gone = false;
    const timer = setTimeout(() => {
      get(path()).then(
        (page) => !gone && setState({ ...page, problem: null, loaded: true }),
        (problem) => !gone && setState((old) => ({ ...old, problem, loaded: true })),
      );
    }, 200);
    return () => {
      gone = true;
      clearTimeout(timer);
    };
  }, [JSON.stringify(filter)]);
  const more = async () => {
    try {
      const page = await get(path(state.next));
      setState((old) => ({ ...old, items: [...old.items, ...page.items], next: page.next }));
    } catch (problem) {
      setState((old) => ({ ...old, problem }));
    }
  };
  return { ...state, more };
}

const LINKS = { job: "#/jobs/", site: "#/sites/" };

const What = ({ about }) => {
  if (!about) return "–";
  const name = about.name || shortId(about.id);
  const text = <>{about.kind} {LINKS[about.kind] ? <a href={LINKS[about.kind] + encodeURIComponent(about.id)}>{name}</a> : name}</>;
  return <span title={about.id}>{text}</span>;
};

const Outcome = ({ record }) => (
  <span class={record.outcome === "done" ? "" : record.outcome === "refused" ? "soon" : "bad"} title={record.status ? `answered ${record.status}` : ""}>
    {record.outcome}{record.count > 1 && ` × ${record.count}`}
  </span>
);

const COLUMNS = [
  { title: "Time", class: "tight", value: ({ record }) => <Ago time={record.time} /> },
  { title: "Who", class: "main", value: ({ record }) => (record.by ? <span title={record.by.credential || ""}>{record.by.name} <span class="quiet">{record.by.role}</span></span> : <span class="quiet">nobody known</span>) },
  { title: "What", class: "tight", value: ({ record }) => record.kind },
  { title: "On", value: ({ record }) => <What about={record.about} /> },
  { title: "Outcome", class: "tight", value: ({ record }) => <Outcome record={record} /> },
  { title: "From", class: "extra", value: ({ record }) => record.from || "–" },
  { title: "Entry", class: "number extra", value: ({ n }) => n },
];

const Health = ({ state }) => (
  <>
    {state.fault && <p class="problem" role="alert">The log is not as it was signed: {state.fault}. Keep the data directory as it is, and compare with earlier exports.</p>}
    {!state.writable && <p class="problem" role="alert">The disk is full: {state.unrecorded} entries are missing so far, nothing can be changed, and no models are given out. Make room.</p>}
    {state.pending.length > 0 && (
      <p class="help">
        Refused in the last minute, not in the log yet: {state.pending.map((p) => `${p.kind} by ${p.by || "nobody known"} × ${p.count}`).join(", ")}.
      </p>
    )}
  </>
);

export const Audit = () => {
  useTitle("Audit log");
  const [filter, setFilter] = useState({ by: "", about: "", kind: "", outcome: "" });
  const { items, next, state, problem, loaded, more } = useEntries(filter);
  const change = (name) => (event) => setFilter({ ...filter, [name]: event.target.value });
  return (
    <>
      <h1>Audit log</h1>
      <Card>
        <form class="filter" role="search" onSubmit={(event) => event.preventDefault()}>
          <input type="search" aria-label="Who" placeholder="Who" value={filter.by} onInput={change("by")} />
          <input type="search" aria-label="On what: its id" placeholder="Id of a job, site, blob" value={filter.about} onInput={change("about")} />
          <select aria-label="What" value={filter.kind} onChange={change("kind")}>
            <option value="">anything</option>
            {SORTS.map(([kind, title]) => <option key={kind} value={kind}>{title}</option>)}
          </select>
          <select aria-label="Outcome" value={filter.outcome} onChange={change("outcome")}>
            <option value="">any outcome</option>
            {["done", "refused", "failed"].map((outcome) => <option key={outcome}>{outcome}</option>)}
          </select>
        </form>
        <ProblemBox problem={problem} />
        {state && <Health state={state} />}
        {loaded ? <Table label="Audit log" columns={COLUMNS} rows={items} keyOf={(entry) => entry.n} empty="Nothing fits the filter." /> : <Loading />}
        {next && <p class="more"><button type="button" onClick={more}>Show more</button></p>}
        <p class="help">
          Each entry is chained to the one before it. <code>rounds audit export</code> takes the log home, <code>rounds audit verify</code> proves it without this server.
        </p>
      </Card>
    </>
  );
};
