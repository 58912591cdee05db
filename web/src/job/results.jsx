// What some workflows are for: the cross-site matrix, and statistics of all sites' data together.
import { useEffect, useMemo, useState } from "preact/hooks";
import { Histogram } from "../charts/bars.jsx";
import { Heat } from "../charts/heat.jsx";
import { Plot, colorOf } from "../charts/plot.jsx";
import { Problem, get } from "../api.js";
import { number } from "../format.js";
import { readTensors } from "../safetensors.js";
import { Card, Empty, Loading, ProblemBox, Table } from "../ui.jsx";
import { useCurves } from "./data.js";

// The metric NAME of the model of A, measured at B, is NAME@A of site B.
export const Matrix = ({ job }) => {
  const { data, problem } = useCurves(job.id);
  const [picked, pick] = useState("");
  const names = data ? [...new Set(data.names.filter((n) => n.includes("@")).map((n) => n.split("@")[0]))] : [];
  if (!data) return problem ? <ProblemBox problem={problem} /> : <Loading />;
  if (!names.length) return <Card title="Matrix"><Empty>No model has been measured at another site yet.</Empty></Card>;
  const name = picked || (names.includes("accuracy") ? "accuracy" : names[0]);
  const cells = [...data.series.values()].filter((s) => s.name.startsWith(`${name}@`) && s.site);
  const models = [...new Set(cells.map((s) => s.name.slice(name.length + 1)))].sort((a, b) => (a === "mean") - (b === "mean") || (a < b ? -1 : 1));
  const sites = [...new Set(cells.map((s) => s.site))].sort();
  const at = (model, site) => data.series.get(`${name}@${model}\n${site}`)?.values[0];
  return (
    <Card title="Every model at every site" wide tools={
      <select aria-label="Metric" value={name} onChange={(e) => pick(e.target.value)}>{names.map((n) => <option key={n}>{n}</option>)}</select>
    }>
      <Heat label={`${name} of each model at each site`} corner="model of ↓ at →" rows={models} columns={sites} values={models.map((m) => sites.map((s) => at(m, s) ?? NaN))} />
      <p class="help">Each row is a model, each column where it was measured. A row that is pale off the diagonal does not carry over.</p>
    </Card>
  );
};

async function fetchTensors(digest) {
  const response = await fetch(`/api/v1/blobs/${digest}`);
  if (!response.ok) throw new Problem(response.status, await response.json().catch(() => null));
  return readTensors(await response.arrayBuffer());
}

function useTensors(job) {
  const [state, setState] = useState({ found: null, problem: null });
  useEffect(() => {
    if (job.state !== "completed") return;
    (async () => {
      const rounds = await get(`/jobs/${job.id}/rounds`);
      const first = rounds.items.find((round) => round.number === 1);
      setState({ found: { sums: await fetchTensors(job.model), whole: await fetchTensors(first.model) }, problem: null });
    })().catch((problem) => setState({ found: null, problem }));
  }, [job.id, job.state]);
  return state;
}

// As rounds.statistics of the Python package reads them.
function describe({ sums, whole }, sigmas) {
  const one = (of, name) => of[name]?.values[0] ?? NaN;
  return Object.keys(sums).filter((name) => name.endsWith("/histogram")).map((key) => {
    const name = key.slice(0, -"/histogram".length);
    const count = one(sums, `${name}/count`);
    const total = one(whole, `${name}/count`);
    const centre = total ? one(whole, `${name}/sum`) / total : 0;
    const reach = sigmas * Math.sqrt(Math.max(total ? one(whole, `${name}/squares`) / total - centre ** 2 : 0, 0));
    const cells = sums[key].values;
    const edges = Array.from({ length: cells.length + 1 }, (_, i) => centre - reach + (2 * reach * i) / cells.length);
    const below = one(sums, `${name}/below`);
    const rows = below + cells.reduce((a, b) => a + b, 0) + one(sums, `${name}/above`);
    const quantile = (q) => {
      let until = below;
      if (!rows) return NaN;
      if (q * rows <= until) return edges[0];
      for (let i = 0; i < cells.length; i += 1) {
        if (until + cells[i] >= q * rows) return edges[i] + ((edges[i + 1] - edges[i]) * (q * rows - until)) / cells[i];
        until += cells[i];
      }
      return edges[cells.length];
    };
    return {
      name, count, missing: one(sums, `${name}/missing`), mean: count ? one(sums, `${name}/sum`) / count : NaN,
      sd: count > 1 ? Math.sqrt(Math.max(one(sums, `${name}/deviations`), 0) / (count - 1)) : NaN,
      quartiles: [0.25, 0.5, 0.75].map(quantile), cells, low: edges[0], high: edges[cells.length], kept: one(sums, `${name}/suppressed`),
    };
  });
}

function correlate({ sums }, columns) {
  const products = sums["together/products"]?.values;
  const size = columns.length;
  if (!products || products.length !== size * size) return null;
  const spread = columns.map((_, i) => Math.sqrt(products[i * size + i]));
  return columns.map((_, i) => columns.map((__, j) => products[i * size + j] / (spread[i] * spread[j])));
}

const Survival = ({ sums, params }) => {
  const series = useMemo(() => {
    const events = sums["survival/events"]?.values || [];
    const risk = sums["survival/at_risk"]?.values || [];
    let left = 1;
    const values = events.map((e, i) => (left *= risk[i] > 0 ? 1 - e / risk[i] : 1));
    return [{ label: "still free of the event", rounds: values.map((_, i) => (params.time_max * (i + 1)) / values.length), values, color: colorOf(0), width: 2 }];
  }, [sums]);
  return <Card title="Survival (Kaplan and Meier)" wide><Plot series={series} height={240} label={`Share still free of ${params.event} by ${params.time}`} legend={false} /></Card>;
};

export const Statistics = ({ job }) => {
  const { found, problem } = useTensors(job);
  const params = job.spec.params;
  const columns = useMemo(() => (found ? describe(found, params.sigmas) : []), [found]);
  if (job.state !== "completed") return <Card title="Statistics"><Empty>They are there when the job has completed.</Empty></Card>;
  if (!found) return problem ? <ProblemBox problem={problem} /> : <Loading />;
  const matrix = columns.length <= 60 ? correlate(found, columns) : null;
  const table = [
    { title: "Column", class: "main", value: (c) => c.name },
    { title: "Count", class: "number", value: (c) => number(c.count) },
    { title: "Missing", class: "number", value: (c) => number(c.missing) },
    { title: "Mean", class: "number", value: (c) => number(c.mean) },
    { title: "Deviation", class: "number", value: (c) => number(c.sd) },
    { title: "25%", class: "number", value: (c) => number(c.quartiles[0]) },
    { title: "50%", class: "number", value: (c) => number(c.quartiles[1]) },
    { title: "75%", class: "number", value: (c) => number(c.quartiles[2]) },
    { title: "Histogram", value: (c) => <Histogram counts={c.cells} low={c.low} high={c.high} label={`Histogram of ${c.name}`} height={36} width={160} /> },
    { title: "Kept back", value: (c) => (c.kept > 0 ? `small counts of ${c.kept} sites` : "") },
  ];
  return (
    <div class="grid">
      <Card title="All sites’ data together" wide><Table label="Statistics by column" columns={table} rows={columns} keyOf={(c) => c.name} /></Card>
      {found.sums["survival/events"] && <Survival sums={found.sums} params={params} />}
      {matrix && <Card title="Correlation" wide><Heat label="Pearson correlation" rows={columns.map((c) => c.name)} columns={columns.map((c) => c.name)} values={matrix} about={0} /></Card>}
    </div>
  );
};
