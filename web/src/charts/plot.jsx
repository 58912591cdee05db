// Curves over rounds, by uPlot. Zoom: drag sideways; double click: all of it again.
import { useEffect, useMemo, useRef } from "preact/hooks";
import uPlot from "uplot";
import { number } from "../format.js";
import { useWidth } from "../hooks.js";

const PALETTE = ["#0f6e84", "#c2562d", "#5b5fc7", "#2f8f4e", "#b03a75", "#8a6d00", "#2b7fd1", "#7a4ea3", "#9c4a3a", "#3a7d7c"];
export const colorOf = (index) => PALETTE[index % PALETTE.length];

// series: [{label, rounds, values, color, width, dash}] to uPlot's columns on a common axis.
function align(series) {
  const rounds = [...new Set(series.flatMap((s) => s.rounds))].sort((a, b) => a - b);
  const place = new Map(rounds.map((round, i) => [round, i]));
  const columns = series.map((s) => {
    const column = new Array(rounds.length).fill(null);
    s.rounds.forEach((round, i) => (column[place.get(round)] = s.values[i]));
    return column;
  });
  return [rounds, ...columns];
}

// One round, or one value all along, still has a scale around it.
const roundRange = (_, low, high) => (low === high ? [low - 0.5, high + 0.5] : [low, high]);
function valueRange(_, low, high) {
  if (low === null || high === null) return [0, 1];
  const pad = low === high ? Math.max(Math.abs(low) * 0.1, 0.05) : (high - low) * 0.08;
  return [low >= 0 && low - pad < 0 ? 0 : low - pad, high + pad];
}

const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export const Plot = ({ series, height = 260, label, log = false, legend = true }) => {
  const [holder, width] = useWidth();
  const plot = useRef(null);
  const shape = JSON.stringify([series.map((s) => [s.label, s.color, s.width, s.dash]), log, legend]);
  const data = useMemo(() => align(series), [series]);
  useEffect(() => {
    if (!width) return undefined;
    const axis = { stroke: token("--muted"), grid: { stroke: token("--line"), width: 1 }, ticks: { stroke: token("--line"), width: 1 }, font: "12px system-ui" };
    plot.current = new uPlot(
      {
        width,
        height,
        cursor: { drag: { x: true, y: false }, focus: { prox: 24 } },
        focus: { alpha: 0.25 },
        legend: { show: legend, live: true },
        scales: { x: { time: false, range: roundRange }, y: log ? { distr: 3 } : { range: valueRange } },
        axes: [{ ...axis, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 1e4] }, { ...axis, size: 60, space: 26, values: (_, ticks) => ticks.map((t) => (t === null ? "" : number(t, 3))) }],
        series: [
          { label: "round" },
          ...series.map((s) => ({
            label: s.label,
            stroke: s.color,
            width: s.width || 1.5,
            dash: s.dash,
            spanGaps: true,
            points: { show: s.rounds.length < 40, size: 5 },
            value: (_, value) => number(value),
          })),
        ],
      },
      data,
      holder.current,
    );
    return () => plot.current.destroy();
  }, [width > 0, shape, height]);
  useEffect(() => {
    if (plot.current && width) plot.current.setSize({ width, height });
  }, [width]);
  useEffect(() => {
    if (!plot.current) return;
    const { min, max } = plot.current.scales.x;
    const [rounds] = plot.current.data;
    const zoomed = rounds.length > 0 && (min > rounds[0] || max < rounds[rounds.length - 1]);
    plot.current.setData(data, !zoomed);
  }, [data]);
  const last = series.map((s) => `${s.label} ${number(s.values[s.values.length - 1])}`).slice(0, 12).join(", ");
  return <div class="plot" ref={holder} role="img" aria-label={`${label}. Last: ${last || "nothing yet"}`} />;
};
