// Small pictures in SVG: histograms, sparklines.
import { number } from "../format.js";

// The area of a bar is its count: cells between `edges` need not be equally wide; without edges they are, from low to high.
export const Histogram = ({ counts, low: from, high: to, edges = counts.map((_, i) => from + ((to - from) * i) / counts.length).concat(to), label, height = 56, width = 160 }) => {
  if (counts.length === 0) return <span class="quiet">not told</span>;
  const low = edges[0];
  const high = edges[counts.length];
  const at = (edge) => (width * (edge - low)) / (high - low || 1);
  const widths = counts.map((_, i) => (high > low ? at(edges[i + 1]) - at(edges[i]) : width / counts.length));
  const top = Math.max(...counts.map((count, i) => count / widths[i])) || 1;
  return (
    <figure class="histogram">
      <svg viewBox={`0 0 ${width} ${height}`} role="img" aria-label={label} preserveAspectRatio="none">
        {counts.map((count, i) => {
          const tall = (height * count) / widths[i] / top;
          const x = high > low ? at(edges[i]) : (width * i) / counts.length;
          return (
            <rect key={i} x={x + 0.5} width={Math.max(widths[i] - 1, 0.5)} y={height - tall} height={tall}>
              <title>{`${number(edges[i])} to ${number(edges[i + 1])}: ${count}`}</title>
            </rect>
          );
        })}
      </svg>
      <figcaption><span>{number(low, 3)}</span><span>{number(high, 3)}</span></figcaption>
    </figure>
  );
};

export const Spark = ({ values, label }) => {
  const good = values.filter((v) => Number.isFinite(v));
  if (good.length < 2) return <span class="quiet">–</span>;
  const low = Math.min(...good);
  const span = Math.max(...good) - low || 1;
  const points = values.map((v, i) => (Number.isFinite(v) ? `${((100 * i) / (values.length - 1)).toFixed(1)},${(22 - (20 * (v - low)) / span).toFixed(1)}` : "")).filter(Boolean).join(" ");
  return (
    <svg class="spark" viewBox="0 0 100 24" role="img" aria-label={label} preserveAspectRatio="none">
      <polyline points={points} />
    </svg>
  );
};
