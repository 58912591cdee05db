// A matrix as a table whose cells are coloured: readable without colour, too.
import { number } from "../format.js";

// Light to dark of one hue; with `about`, two hues on either side of it.
function shade(value, low, high, about) {
  if (!Number.isFinite(value)) return {};
  if (about !== undefined) {
    const reach = Math.max(high - about, about - low) || 1;
    const part = (value - about) / reach;
    return { backgroundColor: `color-mix(in oklab, ${part < 0 ? "var(--cold)" : "var(--hot)"} ${Math.round(Math.abs(part) * 70)}%, var(--surface))` };
  }
  return { backgroundColor: `color-mix(in oklab, var(--hot) ${Math.round((70 * (value - low)) / (high - low || 1))}%, var(--surface))` };
}

export const Heat = ({ rows, columns, values, label, about, corner = "" }) => {
  const all = values.flat().filter(Number.isFinite);
  const low = Math.min(...all);
  const high = Math.max(...all);
  return (
    <div class="scroll" tabIndex="0" role="region" aria-label={label}>
      <table class="heat">
        <thead>
          <tr>
            <th scope="col">{corner || <span class="hidden">rows</span>}</th>
            {columns.map((name) => <th key={name} scope="col" title={name}>{name}</th>)}
          </tr>
        </thead>
        <tbody>
          {rows.map((name, i) => (
            <tr key={name}>
              <th scope="row" title={name}>{name}</th>
              {columns.map((column, j) => (
                <td key={column} style={shade(values[i][j], low, high, about)}>{number(values[i][j], 3)}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
};
