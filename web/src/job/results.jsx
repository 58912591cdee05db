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

// The edges, by number, that every site tells; a job of an earlier version told none, and all were.
function cutsOf(sums, name, cells) {
  const edges = sums[`${name}/edges`]?.values;
  const answered = sums["together/answered"]?.values[0];
  const all = Array.from({ length: cells + 1 }, (_, i) => i);
  return edges ? all.filter((i) => edges[i] === answered) : all;
}

const sumOf = (values, from, to) => values.slice(from, to).reduce((a, b) => a + b, 0);

// As rounds.statistics of the Python package reads them.
function describe({ sums, whole }, sigmas) {
  const one = (of, name) => of[name]?.values[0] ?? NaN;
  const answered = one(sums, "together/answered");
  return Object.keys(sums).filter((name) => name.endsWith("/histogram")).map((key) => {
    const name = key.slice(0, -"/histogram".length);
    const count = one(sums, `${name}/count`);
    const total = one(whole, `${name}/count`);
    const centre = total ? one(whole, `${name}/sum`) / total : 0;
    const reach = sigmas * Math.sqrt(Math.max(total ? one(whole, `${name}/squares`) / total - centre ** 2 : 0, 0));
    const fine = sums[key].values;
    const cuts = cutsOf(sums, name, fine.length);
    const edges = cuts.map((i) => centre - reach + (2 * reach * i) / fine.length);
    const cells = cuts.slice(1).map((cut, i) => sumOf(fine, cuts[i], cut));
    const below = one(sums, `${name}/below`);
    const rows = below + sumOf(fine, 0, fine.length) + one(sums, `${name}/above`);
    const quantile = (q) => {
      let until = below + sumOf(fine, 0, cuts[0] ?? 0);
      if (!rows || q * rows < until) return NaN;
      for (let i = 0; i < cells.length; i += 1) {
        if (until + cells[i] >= q * rows) return edges[i] + ((edges[i + 1] - edges[i]) * (q * rows - until)) / (cells[i] || 1);
        until += cells[i];
      }
      return NaN;
    };
    const untold = answered - one(sums, `${name}/sites`);
    const kept = [
      untold > 0 && `not told by ${untold} of ${answered} sites`,
      cuts.length <= fine.length && `${cells.length} cells instead of ${fine.length}`,
      !sums[`${name}/edges`] && one(sums, `${name}/suppressed`) > 0 && `small counts of ${one(sums, `${name}/suppressed`)} sites`,
    ].filter(Boolean).join("; ");
    return {
      name, count, missing: one(sums, `${name}/missing`), mean: count ? one(sums, `${name}/sum`) / count : NaN,
      sd: count > 1 ? Math.sqrt(Math.max(one(sums, `${name}/deviations`), 0) / (count - 1)) : NaN,
      quartiles: [0.25, 0.5, 0.75].map(quantile), cells, edges, kept,
    };
  });
}

// A pair that some sites keep back is compared with how the columns spread at the others.
function correlate({ sums }, columns) {
  const products = sums["together/products"]?.values;
  const size = columns.length;
  if (!products || products.length !== size * size) return null;
  const kept = sums["together/suppressed"]?.values;
  const squares = sums["together/squares"]?.values;
  const spread = columns.map((_, i) => Math.sqrt(products[i * size + i]));
  return columns.map((_, i) => columns.map((__, j) => {
    const at = i * size + j;
    return products[at] / (kept?.[at] > 0 ? Math.sqrt(squares[at] * squares[j * size + i]) : spread[i] * spread[j]);
  }));
}

const Survival = ({ sums, params }) => {
  const { series, said } = useMemo(() => {
    const events = sums["survival/events"].values;
    const told = sums["survival/told"]?.values[0];
    const answered = sums["together/answered"]?.values[0];
    const cuts = told === 0 ? [] : cutsOf(sums, "survival", events.length);
    let left = 1;
    const values = cuts.slice(1).map((cut, i) => {
      const risk = sums["survival/at_risk"].values[cuts[i]];
      left *= risk > 0 ? 1 - sumOf(events, cuts[i], cut) / risk : 1;
      return left;
    });
    const rounds = cuts.slice(1).map((cut) => (params.time_max * cut) / events.length);
    return {
      series: [{ label: "still free of the event", rounds: [0, ...rounds], values: [1, ...values], color: colorOf(0), width: 2 }],
      said: [
        told < answered && `${answered - told} of ${answered} sites have too few people to tell theirs.`,
        told > 0 && cuts.length <= events.length && `Told in ${values.length} cells of time instead of ${events.length}, so that none is about few people.`,
      ].filter(Boolean).join(" "),
    };
  }, [sums]);
  return (
    <Card title="Survival (Kaplan and Meier)" wide>
      {series[0].values.length > 1 ? <Plot series={series} height={240} label={`Share still free of ${params.event} by ${params.time}`} legend={false} /> : <Empty>No site tells it.</Empty>}
      {said && <p class="help">{said}</p>}
    </Card>
  );
};

export const Statistics = ({ job }) => {
  const { found, problem } = useTensors(job);
  const params = job.spec.params;
  const columns = useMemo(() => (found ? describe(found, params.sigmas) : []), [found]);
  const pairs = found?.sums["together/suppressed"]?.values.filter((n) => n > 0).length / 2;
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
    { title: "Histogram", value: (c) => <Histogram counts={c.cells} edges={c.edges} label={`Histogram of ${c.name}`} height={36} width={160} /> },
    { title: "Kept back", value: (c) => c.kept },
  ];
  return (
    <div class="grid">
      <Card title="All sites’ data together" wide><Table label="Statistics by column" columns={table} rows={columns} keyOf={(c) => c.name} /></Card>
      {found.sums["survival/events"] && <Survival sums={found.sums} params={params} />}
      {matrix && <Card title="Correlation" wide><Heat label="Pearson correlation" rows={columns.map((c) => c.name)} columns={columns.map((c) => c.name)} values={matrix} about={0} />{pairs > 0 && <p class="help">Where a site keeps a pair of columns back, the others’ is shown; where all do, nothing.</p>}</Card>}
    </div>
  );
};
