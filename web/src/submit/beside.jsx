// Beside the form: what the server makes of the job so far, who would take part, what they would be sent, and the job as text.
import { useEffect, useState } from "preact/hooks";
import { post } from "../api.js";
import { plural } from "../format.js";
import { Icon } from "../icons.jsx";
import { Card, Code } from "../ui.jsx";

function asText(kind, spec) {
  const json = JSON.stringify(spec, null, 2);
  const quoted = json.replaceAll("'", "'\\''");
  if (kind === "curl")
    return `curl --cacert ca.pem ${location.origin}/api/v1/jobs \\\n  -H "Authorization: Bearer $ROUNDS_TOKEN" -H "Content-Type: application/json" \\\n  -d '${quoted}'`;
  if (kind === "cli") return `cat > job.json << 'END'\n${json}\nEND\nrounds job submit job.json --watch`;
  if (kind === "python")
    return `import json, os, requests\n\nspec = json.loads(r'''${json.replaceAll("'''", "'\\''")}''')\nanswer = requests.post("${location.origin}/api/v1/jobs", json=spec, verify="ca.pem",\n                       headers={"Authorization": f"Bearer {os.environ['ROUNDS_TOKEN']}"})\nanswer.raise_for_status()\nprint(answer.json()["id"])`;
  return json;
}

// The server's own judgement, a moment after the last change.
export function useCheck(spec) {
  const [report, setReport] = useState(null);
  useEffect(() => {
    let gone = false;
    const timer = setTimeout(() => post("/jobs/check", spec).then((answer) => !gone && setReport(answer), () => {}), 400);
    return () => {
      gone = true;
      clearTimeout(timer);
    };
  }, [JSON.stringify(spec)]);
  return report;
}

const WORDS = { ready: "ready", unknown: "has never joined", draining: "draining", no_dataset: "does not offer the data", no_executor: "does not offer the program", away: "away", busy: "busy" };

const Who = ({ report }) => {
  const able = report.sites.filter((s) => s.state !== "no_dataset" && s.state !== "no_executor");
  const [all, showAll] = useState(false);
  const shown = all ? report.sites : able;
  return (
    <>
      <p class={report.reason ? "" : "allwell"}>
        {report.reason ? `It would wait: ${report.reason}.` : `It would start at once with ${plural(report.sites.filter((s) => s.state === "ready").length, "site")}.`}
      </p>
      <ul class="plain who">
        {shown.map((s) => (
          <li key={s.site} class={s.state === "ready" ? "" : "unfit"}>
            <Icon name={s.state === "ready" ? "check" : "warn"} size={14} /> <span class="name">{s.site}</span> <span class="quiet">{WORDS[s.state]}{s.table?.rows ? `, about ${s.table.rows.toLocaleString("en-US")} rows` : ""}</span>
          </li>
        ))}
      </ul>
      {able.length < report.sites.length && <button type="button" class="small" onClick={() => showAll(!all)}>{all ? "Only those that could" : `Also the ${report.sites.length - able.length} that could not`}</button>}
    </>
  );
};

const Sent = ({ sent }) => (
  <details>
    <summary>What each site would be sent</summary>
    <p class="help">This, and models. Data never leave a site.</p>
    <pre class="mono">{JSON.stringify(sent, null, 2)}</pre>
  </details>
);

export const Beside = ({ spec, report, children }) => {
  const [kind, setKind] = useState("json");
  return (
    <div class="beside">
      <Card title="Who would take part">
        {!report || !report.sent ? <p class="quiet">Give it a name and a dataset; then the server says who could take part.</p> : (
          <>
            {report.warnings.map((text) => <p key={text} class="reason paused"><Icon name="warn" /> {text}</p>)}
            <Who report={report} />
            <Sent sent={report.sent} />
          </>
        )}
        {children}
      </Card>
      <Card title="The job" tools={
        <span class="switch" role="group" aria-label="Show as">
          {["json", "curl", "cli", "python"].map((name) => (
            <button key={name} type="button" class="small" aria-pressed={kind === name} onClick={() => setKind(name)}>{name}</button>
          ))}
        </span>
      }>
        <Code label="The job as text" text={asText(kind, spec)} />
      </Card>
    </div>
  );
};
