// Small pictures in SVG: histograms, sparklines.
import { number } from "../format.js";

export const Histogram = ({ counts, low, high, label, height = 56, width = 160 }) => {
  const top = Math.max(...counts, 1);
  const step = width / counts.length;
  return (
    <figure class="histogram">
      <svg viewBox={`0 0 ${width} ${height}`} role="img" aria-label={label} preserveAspectRatio="none">
        {counts.map((count, i) => (
          <rect key={i} x={i * step + 0.5} width={Math.max(step - 1, 0.5)} y={height - (height * count) / top} height={(height * count) / top}>
            <title>{`${number(low + ((high - low) * i) / counts.length)} to ${number(low + ((high - low) * (i + 1)) / counts.length)}: ${count}`}</title>
          </rect>
        ))}
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
