// Two or more jobs beside each other: the same curve, what differs in what was asked, what came of it.
import { useEffect, useMemo, useState } from "preact/hooks";
import { get } from "../api.js";
import { Plot, colorOf } from "../charts/plot.jsx";
import { duration, number, shortId } from "../format.js";
import { useTitle } from "../hooks.js";
import { Card, Empty, Loading, ProblemBox, State } from "../ui.jsx";

function flatten(value, path = "", out = {}) {
  if (value && typeof value === "object" && !Array.isArray(value)) for (const [name, inner] of Object.entries(value)) flatten(inner, path ? `${path}.${name}` : name, out);
  else out[path] = Array.isArray(value) ? value.join(", ") : String(value);
  return out;
}

const Differences = ({ jobs }) => {
  const specs = jobs.map((job) => flatten(job.spec));
  const names = [...new Set(specs.flatMap(Object.keys))].sort().filter((name) => name !== "name" && new Set(specs.map((s) => s[name])).size > 1);
  return (
    <Card title="What differs" wide>
      {names.length === 0 ? <Empty>They were asked for alike.</Empty> : (
        <div class="scroll" tabIndex="0" role="region" aria-label="Differences">
          <table class="rows">
            <thead><tr><th scope="col">Setting</th>{jobs.map((job) => <th key={job.id} scope="col">{job.name} <span class="quiet">{shortId(job.id)}</span></th>)}</tr></thead>
            <tbody>{names.map((name) => <tr key={name}><th scope="row" class="mono">{name}</th>{specs.map((spec, i) => <td key={jobs[i].id}>{spec[name] ?? "–"}</td>)}</tr>)}</tbody>
          </table>
        </div>
      )}
    </Card>
  );
};

const best = (series, goal) => {
  const good = (series?.values || []).filter(Number.isFinite);
  return good.length ? Math[goal](...good) : null;
};

const Results = ({ jobs, curves, names }) => (
  <Card title="What came of it" wide>
    <div class="scroll" tabIndex="0" role="region" aria-label="Results">
      <table class="rows">
        <thead><tr><th scope="col">Job</th><th scope="col">State</th><th scope="col" class="number">Rounds</th><th scope="col" class="number">Took</th>{names.map((name) => <th key={name} scope="col" class="number">{name} <span class="quiet">last (best)</span></th>)}</tr></thead>
        <tbody>
          {jobs.map((job, i) => (
            <tr key={job.id}>
              <th scope="row"><i class="swatch" style={{ backgroundColor: colorOf(i) }} /> <a href={`#/jobs/${job.id}`}>{job.name}</a></th>
              <td><State state={job.state} /></td>
              <td class="number">{job.round}</td>
              <td class="number">{job.started && job.finished ? duration((Date.parse(job.finished) - Date.parse(job.started)) / 1000) : "–"}</td>
              {names.map((name) => {
                const series = curves[i].find((s) => s.name === name);
                const goal = /loss|error|rmse|inertia/.test(name) ? "min" : "max";
                return <td key={name} class="number">{number(series?.values[series.values.length - 1])} <span class="quiet">({number(best(series, goal))})</span></td>;
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  </Card>
);

export const Compare = ({ search }) => {
  useTitle("Compare");
  const ids = (search.get("ids") || "").split(",").filter(Boolean).slice(0, 10);
  const [state, setState] = useState({ jobs: null, curves: [], problem: null });
  const [picked, pick] = useState("");
  const key = ids.join();
  useEffect(() => {
    Promise.all(ids.map((id) => Promise.all([get(`/jobs/${id}`), get(`/jobs/${id}/curves?site=`)]))).then(
      (all) => setState({ jobs: all.map(([job]) => job), curves: all.map(([, curves]) => curves.series), problem: null }),
      (problem) => setState({ jobs: null, curves: [], problem }),
    );
  }, [key]);
  const names = [...new Set(state.curves.flat().map((s) => s.name))].sort();
  const name = picked || ["accuracy", "auc", "loss"].find((n) => names.includes(n)) || names[0];
  const series = useMemo(
    () => (state.jobs || []).flatMap((job, i) => state.curves[i].filter((s) => s.name === name).map((s) => ({ ...s, label: `${job.name.slice(0, 30)} ${shortId(job.id)}`, color: colorOf(i), width: 2 }))),
    [state, name],
  );
  if (!state.jobs) return state.problem ? <ProblemBox problem={state.problem} /> : <Loading />;
  return (
    <>
      <p class="crumbs"><a href="#/jobs">Jobs</a></p>
      <h1>Compare {state.jobs.length} jobs</h1>
      <div class="grid">
        <Card title="Curves" wide tools={names.length > 0 && <select aria-label="Metric" value={name} onChange={(e) => pick(e.target.value)}>{names.map((n) => <option key={n}>{n}</option>)}</select>}>
          {series.length ? <Plot series={series} height={320} label={`${name} of each job by round`} /> : <Empty>They have no metric in common yet.</Empty>}
        </Card>
        <Results jobs={state.jobs} curves={state.curves} names={names.slice(0, 6)} />
        <Differences jobs={state.jobs} />
      </div>
    </>
  );
};
