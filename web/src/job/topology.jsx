// The server and its sites; a model on its way out, an update on its way in.
import { useRef, useState } from "preact/hooks";
import { ended } from "../format.js";
import { useLive } from "../live.js";

const WIDTH = 420;
const HEIGHT = 300;
const MOST = 48; // more than that are a ring of dots without names
const PULSE_MS = 900;

// Small jobs are too quick to be seen moving: what has just happened glows a moment longer.
function usePulses(job) {
  const [pulses, setPulses] = useState({});
  const timers = useRef({});
  useLive((kind, data) => {
    if (kind !== "event" || data.job !== job || !data.site || !["task_leased", "result"].includes(data.kind)) return;
    const way = data.kind === "result" ? "in" : "out";
    setPulses((old) => ({ ...old, [data.site]: way }));
    clearTimeout(timers.current[data.site]);
    timers.current[data.site] = setTimeout(() => setPulses(({ [data.site]: gone, ...rest }) => rest), PULSE_MS);
  });
  return pulses;
}

function wayOf(task, pulse) {
  if (task?.state === "leased" && task.stage === "downloading") return "out";
  if (task?.state === "leased" && task.stage === "uploading") return "in";
  return pulse || "";
}

const stateOf = (task) => (!task ? "idle" : task.state === "leased" ? "working" : task.state === "failed" ? "failed" : task.state === "done" ? "done" : "waiting");

export const Topology = ({ job, timeline }) => {
  const pulses = usePulses(job.id);
  const tasks = new Map((ended(job.state) ? [] : job.tasks || []).map((task) => [task.site, task]));
  const names = [...new Set([...(timeline?.sites || []), ...tasks.keys(), ...(job.spec.sites || [])])].sort();
  const [cx, cy] = [WIDTH / 2, HEIGHT / 2];
  const place = (i) => {
    const angle = -Math.PI / 2 + (2 * Math.PI * i) / Math.max(names.length, 1);
    return [cx + (WIDTH / 2 - 62) * Math.cos(angle), cy + (HEIGHT / 2 - 34) * Math.sin(angle)];
  };
  const moving = names.filter((name) => wayOf(tasks.get(name), pulses[name]));
  const aggregating = !ended(job.state) && timeline && [...timeline.rounds.values()].pop()?.state === "aggregating";
  return (
    <>
      <svg class="topology" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={`The server and ${names.length} sites. ${moving.length ? `Weights move at ${moving.slice(0, 5).join(", ")}.` : "No weights move just now."}`}>
        {names.map((name, i) => {
          const [x, y] = place(i);
          return <line key={name} x1={cx} y1={cy} x2={x} y2={y} class={`wire ${wayOf(tasks.get(name), pulses[name])}`} />;
        })}
        <g class={`hub ${aggregating ? "busy" : ""}`}>
          <circle cx={cx} cy={cy} r="26" />
          <text x={cx} y={cy + 4}>server</text>
        </g>
        {names.map((name, i) => {
          const [x, y] = place(i);
          const task = tasks.get(name);
          const part = task?.state === "leased" ? Math.min(Math.max(task.fraction || 0, 0), 1) : 0;
          return (
            <g key={name} class={`node ${stateOf(task)}`}>
              <circle cx={x} cy={y} r={names.length > MOST ? 4 : 11} />
              {part > 0 && names.length <= MOST && <circle class="part" cx={x} cy={y} r="11" pathLength="100" stroke-dasharray={`${100 * part} 100`} transform={`rotate(-90 ${x} ${y})`} />}
              <title>{`${name}: ${task ? task.stage || task.state : "idle"}`}</title>
              {names.length <= MOST && <text x={x} y={y + (y < cy - 1 ? -16 : 24)}>{name.length > 16 ? `${name.slice(0, 15)}…` : name}</text>}
            </g>
          );
        })}
      </svg>
      <ul class="legend" aria-label="Colours">
        <li><i class="dot working" />at work</li>
        <li><i class="dot done" />delivered</li>
        <li><i class="dot waiting" />waiting</li>
        <li><i class="dot failed" />failed</li>
        <li><i class="way out" />model</li>
        <li><i class="way in" />update</li>
      </ul>
    </>
  );
};
