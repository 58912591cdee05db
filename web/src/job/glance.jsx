// How it goes: where weights move now, the timeline, the curves that matter most.
import { useMemo } from "preact/hooks";
import { Gantt } from "../charts/gantt.jsx";
import { Plot, colorOf } from "../charts/plot.jsx";
import { ended, number } from "../format.js";
import { Card, Empty, Loading, ProblemBox } from "../ui.jsx";
import { useCurves, useTimeline } from "./data.js";
import { Topology } from "./topology.jsx";

// What people look at first: the key metric, then what is usual.
const USUAL = ["accuracy", "auc", "loss", "rmse", "r2", "log_likelihood", "inertia", "train_loss"];

export function chooseMetrics(job, names) {
  const key = job.spec.params.key_metric;
  return [key, ...USUAL.filter((name) => name !== key), ...names].filter((name, i, all) => name && names.includes(name) && all.indexOf(name) === i);
}

const MetricCard = ({ name, series, height }) => {
  const last = series.values[series.values.length - 1];
  const drawn = useMemo(() => [{ label: name, rounds: series.rounds, values: series.values, color: colorOf(0), width: 2 }], [series]);
  return (
    <Card title={name} tools={<b class="value">{number(last)}</b>}>
      <Plot series={drawn} height={height} label={`${name} of the global model by round`} legend={false} />
    </Card>
  );
};

export const Glance = ({ job }) => {
  const timeline = useTimeline(job.id);
  const curves = useCurves(job.id, { site: "" });
  const whole = curves.data ? chooseMetrics(job, [...curves.data.series.values()].map((s) => s.name)).slice(0, 2) : [];
  return (
    <div class="glance">
      <Card title="Where weights move" class="map">
        <Topology job={job} timeline={timeline.data} />
      </Card>
      <div class="measures">
        {whole.map((name) => <MetricCard key={name} name={name} series={curves.data.series.get(`${name}\n`)} height={whole.length > 1 ? 138 : 290} />)}
        {curves.data && whole.length === 0 && <Card title="Metrics"><Empty>{ended(job.state) ? "It has no metric of the whole." : "The first metric comes when the sites have measured the first model."}</Empty></Card>}
      </div>
      <Card title="Rounds" class="rounds-card">
        <ProblemBox problem={timeline.problem} />
        {!timeline.data ? <Loading problem={timeline.problem} /> : timeline.data.rounds.size === 0 ? <Empty>No round has begun.</Empty> : <Gantt timeline={timeline.data} live={job.state === "running"} />}
      </Card>
    </div>
  );
};
