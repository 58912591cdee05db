// What the sites agreed on before they trained, who differs from it, and who has none of the columns that the job names.
import { shortDigest } from "../format.js";
import { useResource, useThrottle } from "../hooks.js";
import { useLive } from "../live.js";

const shown = (value) => (Array.isArray(value) ? value.join(", ") : value?.startsWith("sha256:") ? "values that are not told" : value);
const named = ({ role, column, place }) => column || [role, place && `column ${place}`].filter(Boolean).join(", ");

const Difference = ({ entry }) => (
  <li>
    <a href={`#/sites/${encodeURIComponent(entry.site)}`}>{entry.site}</a> since round {entry.round}: {named(entry)} – {entry.what}
    {entry.expected && entry.expected !== entry.column ? `; the model has ${shown(entry.expected)}` : ""}
    {entry.found && entry.found !== entry.column ? `; the site has ${entry.found}` : ""}
    {entry.ref ? ` (its log: ${entry.ref})` : ""}
  </li>
);

const words = (entry) => [...entry.ignore.map((name) => `${name} (trainer.ignore)`), ...entry.categories.map((name) => `${name} (trainer.categories)`)].join(", ");

export const Differs = ({ job }) => {
  const { data, reload } = useResource(`/jobs/${job.id}/schema`);
  const again = useThrottle(reload, 2000);
  useLive((kind, event) => kind === "event" && event.job === job.id && ["task_failed", "note", "aggregated", "result"].includes(event.kind) && again());
  if (!data?.schema.digest && !data?.differs.length && !data?.lacks.length) return null;
  return (
    <>
      {data.differs.length > 0 && (
        <div class="reason paused">
          Not as the other sites agreed:
          <ul>{data.differs.map((entry) => <Difference key={entry.site} entry={entry} />)}</ul>
        </div>
      )}
      {data.lacks.length > 0 && <p class="help">Columns that the job names and a site has not: {data.lacks.map((entry) => `${entry.site}: ${words(entry)}`).join("; ")}.</p>}
      {data.schema.digest && (
        <details class="help">
          <summary>What the sites agreed on: {data.schema.features ? `${data.schema.features.length} columns` : "no columns"}{data.schema.label ? ` and the label ${data.schema.label}` : ""}, {data.made_by ? `of the table at ${data.made_by}` : "as the job’s own model says"}</summary>
          <p>{shown(data.schema.features) || "Columns are each site’s own."}{data.schema.classes ? ` Classes: ${shown(data.schema.classes)}.` : ""} <span class="mono" title={data.schema.digest}>{shortDigest(data.schema.digest)}</span></p>
        </details>
      )}
    </>
  );
};
