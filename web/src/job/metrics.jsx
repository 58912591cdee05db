// Any metric by round, of the whole and of each site.
import { useMemo, useState } from "preact/hooks";
import { Plot, colorOf } from "../charts/plot.jsx";
import { Card, Empty, Loading, ProblemBox } from "../ui.jsx";
import { useCurves } from "./data.js";
import { chooseMetrics } from "./glance.jsx";

// The mean of the last `span` values, from what there is.
function smooth(values, span) {
  if (span < 2) return values;
  return values.map((_, i) => {
    const seen = values.slice(Math.max(0, i - span + 1), i + 1).filter((v) => v !== null);
    return seen.length ? seen.reduce((a, b) => a + b, 0) / seen.length : null;
  });
}

const One = ({ job, name, options }) => {
  const { data, problem } = useCurves(job.id, { name });
  const series = useMemo(() => {
    const all = data ? [...data.series.values()].sort((a, b) => (a.site < b.site ? -1 : 1)) : [];
    return all
      .filter((s) => (s.site === "" ? options.whole : options.sites))
      .map((s, i) => ({
        label: s.site || "all sites",
        rounds: s.rounds,
        values: smooth(s.values, options.span),
        color: s.site === "" ? "var-text" : colorOf(i),
        width: s.site === "" ? 2.5 : 1.2,
      }))
      .map((s) => (s.color === "var-text" ? { ...s, color: getComputedStyle(document.documentElement).getPropertyValue("--text").trim() } : s));
  }, [data, options]);
  return (
    <Card title={name} wide>
      <ProblemBox problem={problem} />
      {!data ? <Loading problem={problem} /> : series.length ? <Plot series={series} height={320} log={options.log} label={`${name} by round`} legend={series.length <= 12} /> : <Empty>Nothing of this choice.</Empty>}
    </Card>
  );
};

export const Metrics = ({ job }) => {
  const { data, problem } = useCurves(job.id, { site: "" });
  const [picked, setPicked] = useState(null);
  const [options, setOptions] = useState({ whole: true, sites: true, log: false, span: 1 });
  if (!data) return problem ? <ProblemBox problem={problem} /> : <Loading />;
  const names = chooseMetrics(job, data.names);
  if (!names.length) return <Card title="Metrics"><Empty>None has come yet.</Empty></Card>;
  const shown = picked || names.slice(0, 1);
  const toggle = (name) => setPicked(shown.includes(name) ? shown.filter((n) => n !== name) : [...shown, name]);
  const set = (key) => (event) => setOptions({ ...options, [key]: event.target.checked });
  return (
    <>
      <Card>
        <div class="chips" role="group" aria-label="Metrics">
          {names.map((name) => <button key={name} type="button" class="small" aria-pressed={shown.includes(name)} onClick={() => toggle(name)}>{name}</button>)}
        </div>
        <div class="options">
          <label><input type="checkbox" checked={options.whole} onChange={set("whole")} /> all sites together</label>
          <label><input type="checkbox" checked={options.sites} onChange={set("sites")} /> each site</label>
          <label><input type="checkbox" checked={options.log} onChange={set("log")} /> logarithmic</label>
          <label>
            smooth over{" "}
            <select value={options.span} onChange={(e) => setOptions({ ...options, span: Number(e.target.value) })}>
              {[1, 3, 5, 10, 25].map((span) => <option key={span} value={span}>{span === 1 ? "no rounds" : `${span} rounds`}</option>)}
            </select>
          </label>
          <span class="help">Drag sideways to zoom, double click for all.</span>
        </div>
      </Card>
      <div class="grid">{shown.map((name) => <One key={name} job={job} name={name} options={options} />)}</div>
    </>
  );
};
