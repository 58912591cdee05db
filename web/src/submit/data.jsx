// Which data, and who has it: from what the sites say they offer.
import { Empty, Field } from "../ui.jsx";

// {name, sites, rows, label}: what the sites tell of a dataset, together; null where one does not tell.
export function datasetsOf(sites) {
  const found = new Map();
  for (const site of sites) {
    if (site.state === "removed") continue;
    for (const name of site.datasets) {
      const table = site.tables?.[name];
      const entry = found.get(name) || { name, sites: [], rows: 0, label: null, columns: null };
      entry.sites.push(site);
      entry.rows = entry.rows === null || !table?.rows ? null : entry.rows + table.rows;
      entry.label ||= table?.label || null;
      entry.columns ||= table?.columns?.length || null;
      found.set(name, entry);
    }
  }
  return [...found.values()].sort((a, b) => b.sites.length - a.sites.length || (a.name < b.name ? -1 : 1));
}

export const DatasetChoice = ({ sites, value, onChange, fault, help }) => {
  const known = datasetsOf(sites);
  return (
    <>
      {known.length > 0 && (
        <div class="picks" role="group" aria-label="Datasets that sites offer">
          {known.map((data) => (
            <button key={data.name} type="button" class="pick" aria-pressed={value === data.name} onClick={() => onChange(value === data.name ? undefined : data.name)}>
              <b>{data.name}</b>
              <span>{data.sites.length === 1 ? `one site: ${data.sites[0].name}` : `${data.sites.length} sites`}{data.sites.some((s) => !s.connected) && `, ${data.sites.filter((s) => !s.connected).length} away`}</span>
              <span>rows: {data.rows === null ? "not told" : `about ${data.rows.toLocaleString("en-US")}`}; columns: {data.columns ?? "not told"}; label: {data.label || "not told"}</span>
            </button>
          ))}
        </div>
      )}
      <Field label="dataset" help={known.length ? help : `${help}. No site has told of one yet.`} problem={fault} required>
        {(props) => <input {...props} name="dataset" value={value || ""} onInput={(e) => onChange(e.target.value || undefined)} />}
      </Field>
    </>
  );
};

export const SiteChoice = ({ sites, spec, set }) => {
  const chosen = spec.sites || [];
  const fits = (site) => (!spec.dataset || site.datasets.includes(spec.dataset)) && site.executors.includes(spec.executor || "trainer");
  const toggle = (name) => {
    const next = chosen.includes(name) ? chosen.filter((other) => other !== name) : [...chosen, name].sort();
    set("sites", next.length ? next : undefined);
  };
  const present = sites.filter((site) => site.state !== "removed");
  if (!present.length) return <Empty>No site has joined yet; the job will wait for one.</Empty>;
  return (
    <fieldset class="choices">
      <legend>sites <span class="quiet">none chosen: every site that offers dataset and executor</span></legend>
      {present.map((site) => (
        <label key={site.name} class={fits(site) ? "" : "unfit"}>
          <input type="checkbox" checked={chosen.includes(site.name)} onChange={() => toggle(site.name)} />
          {site.name}
          {!fits(site) && <span class="quiet"> offers {site.datasets.join(", ") || "nothing"}</span>}
          {!site.connected && <span class="quiet"> (away)</span>}
        </label>
      ))}
    </fieldset>
  );
};
