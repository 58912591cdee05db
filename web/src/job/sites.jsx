// What each site has given, and how far it is from the others.
import { useMemo, useState } from "preact/hooks";
import { Spark } from "../charts/bars.jsx";
import { isSlow } from "../charts/timeline.js";
import { bytes, duration, median, number } from "../format.js";
import { useResource, useThrottle } from "../hooks.js";
import { useLive } from "../live.js";
import { Card, Loading, ProblemBox, Progress, Table } from "../ui.jsx";
import { useCurves, useTimeline } from "./data.js";

const last = (series) => (series && series.values.length ? series.values[series.values.length - 1] : undefined);

// One row for each site, from the timeline, the curves and what it does now.
function summarize(timeline, curves, job) {
  const now = new Map((job.tasks || []).map((task) => [task.site, task]));
  const total = timeline.rows.map((row) => row.filter((t) => t.kind === "train" && t.state === "done").reduce((sum, t) => sum + (t.weight || 0), 0));
  const all = total.reduce((a, b) => a + b, 0);
  return timeline.sites.map((name, i) => {
    const row = timeline.rows[i];
    const done = row.filter((t) => t.state === "done");
    const times = done.map((t) => (t.finished - t.leased) / 1000);
    const of = (metric) => curves.get(`${metric}\n${name}`);
    return {
      name, done: done.length, failed: row.filter((t) => t.state === "failed").length, slow: row.filter((t) => isSlow(t, Date.now() - timeline.origin)).length,
      task: now.get(name), samples: [...done].reverse().find((t) => t.kind === "train")?.weight ?? null, share: all ? total[i] / all : null,
      usual: times.length ? median(times) : null, longest: times.length ? Math.max(...times) : null,
      spark: done.map((t) => t.finished - t.leased), distance: last(of("distance")), cosine: last(of("cosine")), norm: last(of("update_norm")),
    };
  });
}

export const PerSite = ({ job }) => {
  const timeline = useTimeline(job.id);
  const curves = useCurves(job.id);
  const tasks = useResource(`/jobs/${job.id}/tasks?round=${job.round}`);
  const again = useThrottle(tasks.reload, 1000);
  const [sort, setSort] = useState("name");
  useLive((kind, data) => kind === "event" && data.job === job.id && again());
  const rows = useMemo(() => (timeline.data && curves.data ? summarize(timeline.data, curves.data.series, job) : null), [timeline.data, curves.data, job]);
  if (!rows) return timeline.problem || curves.problem ? <ProblemBox problem={timeline.problem || curves.problem} /> : <Loading />;
  const key = sort.replace("-", "");
  const sorted = [...rows].sort((a, b) => ((a[key] ?? -Infinity) < (b[key] ?? -Infinity) ? -1 : 1) * (sort.startsWith("-") ? -1 : 1));
  const moved = new Map((tasks.data?.items || []).map((task) => [task.site, task.timings]));
  const columns = [
    { title: "Site", sort: "name", class: "main", value: (r) => <a href={`#/sites/${encodeURIComponent(r.name)}`}>{r.name}</a> },
    { title: "Now", value: (r) => (r.task?.state === "leased" ? <span class="rounds"><Progress value={Math.round(100 * (r.task.fraction || 0))} of={100} label={`${r.name}: ${r.task.stage}`} /> {r.task.stage}</span> : r.task?.state || "–") },
    { title: "Tasks done", sort: "done", class: "number", value: (r) => r.done },
    { title: "Failed", sort: "failed", class: "number", value: (r) => (r.failed ? <b class="bad">{r.failed}</b> : 0) },
    { title: "Samples", sort: "samples", class: "number", value: (r) => number(r.samples) },
    { title: "Contribution", sort: "share", class: "number", value: (r) => (r.share === null ? "–" : `${(100 * r.share).toFixed(1)}%`) },
    { title: "Usual time", sort: "usual", class: "number", value: (r) => duration(r.usual) },
    { title: "Longest", sort: "longest", class: "number", value: (r) => duration(r.longest) },
    { title: "Straggled", sort: "slow", class: "number", value: (r) => (r.slow ? <b class="soon">{r.slow} ×</b> : 0) },
    { title: "Time by task", value: (r) => <Spark values={r.spark.slice(-60)} label={`Time of the last tasks of ${r.name}`} /> },
    { title: "Distance", sort: "distance", class: "number", value: (r) => number(r.distance ?? r.norm) },
    { title: "Cosine", sort: "cosine", class: "number", value: (r) => number(r.cosine, 3) },
    { title: "Last round", class: "number", value: (r) => (moved.get(r.name) ? `↓ ${bytes(moved.get(r.name).downloaded)} ↑ ${bytes(moved.get(r.name).uploaded)}` : "–") },
  ];
  return (
    <Card>
      <Table label="Sites of this job" columns={columns} rows={sorted} keyOf={(r) => r.name} sort={sort} onSort={setSort} empty="No site has had a task yet." />
      <p class="help">Distance and cosine: of the site’s last update to what was made of all. Contribution: its share of all samples that were trained on.</p>
    </Card>
  );
};
