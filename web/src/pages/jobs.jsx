// The table of all jobs: filtered, sorted and paged by the server, so that a hundred thousand are no matter.
import { useEffect, useState } from "preact/hooks";
import { get, may, query } from "../api.js";
import { duration, roundsDone, shortId } from "../format.js";
import { useTitle } from "../hooks.js";
import { Icon } from "../icons.jsx";
import { useLive } from "../live.js";
import { Ago, Card, Loading, ProblemBox, Progress, State, Table } from "../ui.jsx";

const PAGE = 50;
const STATES = ["queued", "running", "paused", "completed", "failed", "aborted"];

function took(job) {
  if (!job.started) return "–";
  return duration((Date.parse(job.finished || new Date().toISOString()) - Date.parse(job.started)) / 1000);
}

function useJobs(filter) {
  const [state, setState] = useState({ items: [], next: null, problem: null, loaded: false });
  const [version, setVersion] = useState(0);
  const path = (cursor) => `/jobs${query({ ...filter, limit: PAGE, cursor })}`;
  const key = JSON.stringify(filter);
  useEffect(() => {
    let gone = false;
    const timer = setTimeout(() => {
      get(path()).then(
        (page) => !gone && setState({ ...page, problem: null, loaded: true }),
        (problem) => !gone && setState((old) => ({ ...old, problem, loaded: true })),
      );
    }, filter.q ? 200 : 0);
    return () => {
      gone = true;
      clearTimeout(timer);
    };
  }, [key, version]);
  useLive((kind, data) => {
    if (kind === "hello" || kind === "missed") setVersion((v) => v + 1);
    if (kind !== "job") return;
    const known = state.items.some((j) => j.id === data.id);
    if (known) setState((old) => ({ ...old, items: old.items.map((j) => (j.id === data.id ? data : j)) }));
    else if (!filter.q && !filter.state && filter.sort === "-created") setState((old) => ({ ...old, items: [data, ...old.items] }));
  });
  const more = async () => {
    const page = await get(path(state.next));
    setState((old) => ({ ...old, items: [...old.items, ...page.items], next: page.next }));
  };
  return { ...state, more };
}

export const Jobs = ({ search }) => {
  useTitle("Jobs");
  const [filter, setFilter] = useState({ sort: "-created", state: search.get("state") || "", q: "", site: search.get("site") || "" });
  const [chosen, setChosen] = useState([]);
  const { items, next, problem, loaded, more } = useJobs(filter);
  const toggle = (id) => setChosen((old) => (old.includes(id) ? old.filter((other) => other !== id) : [...old, id]));
  const columns = [
    {
      title: "Compare",
      class: "choose extra",
      value: (job) => <input type="checkbox" aria-label={`Compare ${job.name}`} checked={chosen.includes(job.id)} onChange={() => toggle(job.id)} />,
    },
    { title: "Name", sort: "name", class: "main", value: (job) => <a href={`#/jobs/${job.id}`}>{job.name}</a> },
    { title: "State", sort: "state", value: (job) => <State state={job.state} /> },
    {
      title: "Round",
      value: (job) => (
        <span class="rounds">
          <Progress value={roundsDone(job)} of={job.rounds} label={`Progress of ${job.name}`} /> {job.round}/{job.rounds}
        </span>
      ),
    },
    { title: "Workflow", sort: "workflow", class: "tight", value: (job) => job.workflow },
    { title: "Priority", sort: "priority", class: "number extra", value: (job) => job.priority },
    { title: "Submitted", sort: "created", class: "tight", value: (job) => <Ago time={job.created} /> },
    { title: "Took", class: "tight", value: took },
    { title: "By", class: "extra", value: (job) => job.submitted_by },
    { title: "Id", class: "mono tight extra", value: (job) => <span title={job.id}>{shortId(job.id)}</span> },
  ];
  return (
    <>
      <div class="heading">
        <h1>Jobs</h1>
        <span class="buttons">
          {chosen.length > 1 && <a class="button" href={`#/jobs/compare?ids=${chosen.join(",")}`}>Compare {chosen.length}</a>}
          {may("job.write") && <a class="button primary" href="#/jobs/new">New job</a>}
        </span>
      </div>
      <Card>
        <form class="filter" role="search" onSubmit={(event) => event.preventDefault()}>
          <input type="search" aria-label="Search by name or id" placeholder="Name or id" value={filter.q} onInput={(e) => setFilter({ ...filter, q: e.target.value })} />
          <select aria-label="State" value={filter.state} onChange={(e) => setFilter({ ...filter, state: e.target.value })}>
            <option value="">any state</option>
            {STATES.map((state) => <option key={state}>{state}</option>)}
          </select>
          {filter.site && (
            <button type="button" class="small" onClick={() => setFilter({ ...filter, site: "" })}>
              site: {filter.site} <Icon name="close" size={13} />
            </button>
          )}
        </form>
        <ProblemBox problem={problem} />
        {loaded ? (
          <Table
            label="Jobs"
            columns={columns}
            rows={items}
            keyOf={(job) => job.id}
            sort={filter.sort}
            onSort={(sort) => setFilter({ ...filter, sort })}
            empty={filter.q || filter.state || filter.site ? "No job fits the filter." : "No job yet. Submit the first one."}
          />
        ) : (
          <Loading />
        )}
        {next && <p class="more"><button type="button" onClick={more}>Show more</button></p>}
      </Card>
    </>
  );
};
