// A new job: the form is job.schema.json, nothing of it is written down here.
import { useEffect, useMemo, useState } from "preact/hooks";
import { get, may, post } from "../api.js";
import { useResource, useTitle } from "../hooks.js";
import { faultsOf, paramsOf } from "../schema.js";
import { Card, Code, Empty, Field, Loading, ProblemBox } from "../ui.jsx";

const FIRST = ["name", "dataset", "executor", "workflow"];
const PEOPLE = ["sites", "required_sites", "min_sites"];
const APART = new Set([...FIRST, ...PEOPLE, "params", "trainer", "retention"]);

// How a value is edited as text, and what the text means; undefined: the default.
function toText(schema, value) {
  if (value === undefined) return "";
  if (schema.type === "array") return value.join(", ");
  return String(value);
}
function fromText(schema, text) {
  if (text === "") return undefined;
  if (schema.type === "integer" || schema.type === "number") return Number.isNaN(Number(text)) ? text : Number(text);
  if (schema.type === "array") return text.split(",").map((part) => part.trim()).filter(Boolean);
  return text;
}

const show = (value) => (Array.isArray(value) ? value.join(", ") : String(value));

const Input = ({ name, schema, value, onChange, fault, options, required }) => {
  const [text, setText] = useState(() => toText(schema, value));
  useEffect(() => {
    if (JSON.stringify(fromText(schema, text)) !== JSON.stringify(value)) setText(toText(schema, value));
  }, [value]);
  const put = (next) => {
    setText(next);
    onChange(fromText(schema, next));
  };
  const preset = schema.default === undefined ? "" : show(schema.default);
  return (
    <Field label={name.replaceAll("_", " ")} help={schema.description} problem={fault} required={required}>
      {(props) => {
        if (schema.type === "boolean")
          return (
            <select {...props} value={value === undefined ? "" : String(value)} onChange={(e) => onChange(e.target.value === "" ? undefined : e.target.value === "true")}>
              <option value="">{`default: ${preset === "true" ? "yes" : "no"}`}</option>
              <option value="true">yes</option>
              <option value="false">no</option>
            </select>
          );
        if (schema.enum)
          return (
            <select {...props} value={value ?? ""} onChange={(e) => put(e.target.value)}>
              <option value="">{`default: ${preset}`}</option>
              {schema.enum.map((choice) => <option key={choice}>{choice}</option>)}
            </select>
          );
        return (
          <>
            <input
              {...props}
              name={name}
              list={options ? `options-${name}` : undefined}
              inputMode={schema.type === "integer" || schema.type === "number" ? "decimal" : undefined}
              placeholder={preset}
              value={text}
              onInput={(e) => put(e.target.value)}
            />
            {options && <datalist id={`options-${name}`}>{options.map((option) => <option key={option} value={option} />)}</datalist>}
          </>
        );
      }}
    </Field>
  );
};

const Trainer = ({ value, onChange, fault, setBroken }) => {
  const [text, setText] = useState(() => (Object.keys(value || {}).length ? JSON.stringify(value, null, 2) : ""));
  const [wrong, setWrong] = useState(null);
  const put = (next) => {
    setText(next);
    try {
      onChange(next.trim() ? JSON.parse(next) : undefined);
      setWrong(null);
      setBroken(false);
    } catch {
      setWrong("is not JSON yet");
      setBroken(true);
    }
  };
  return (
    <Field label="trainer" help='Passed on to the executor as it is, such as {"model": "logistic", "epochs": 3}' problem={wrong || fault}>
      {(props) => <textarea {...props} rows="6" spellcheck={false} class="mono" value={text} onInput={(e) => put(e.target.value)} />}
    </Field>
  );
};

const SiteChoice = ({ sites, spec, set }) => {
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

const Beside = ({ spec }) => {
  const [kind, setKind] = useState("json");
  return (
    <Card title="The job" class="beside" tools={
      <span class="switch" role="group" aria-label="Show as">
        {["json", "curl", "cli", "python"].map((name) => (
          <button key={name} type="button" class="small" aria-pressed={kind === name} onClick={() => setKind(name)}>{name}</button>
        ))}
      </span>
    }>
      <Code label="The job as text" text={asText(kind, spec)} />
    </Card>
  );
};

// Only what is given: defaults stay with the server.
function prune(value) {
  const kept = Object.entries(value).filter(([, v]) => v !== undefined && v !== "" && !(v && typeof v === "object" && !Array.isArray(v) && Object.keys(prune(v)).length === 0));
  return Object.fromEntries(kept.map(([k, v]) => [k, v && typeof v === "object" && !Array.isArray(v) ? prune(v) : v]));
}

// A clone keeps what differs from the defaults.
function unlikeDefaults(schema, spec) {
  const inner = (rules, value) => Object.fromEntries(Object.entries(value).filter(([k, v]) => JSON.stringify(rules?.properties?.[k]?.default) !== JSON.stringify(v)));
  const made = inner(schema, spec);
  if (made.params) made.params = inner(paramsOf(schema, spec.workflow || "fedavg"), made.params);
  if (made.retention) made.retention = inner(schema.properties.retention, made.retention);
  return made;
}

const Form = ({ schema, sites, first }) => {
  const [spec, setSpec] = useState(first);
  const [broken, setBroken] = useState(false);
  const [problem, setProblem] = useState(null);
  const [busy, setBusy] = useState(false);
  const [touched, setTouched] = useState(false);
  const workflow = spec.workflow || "fedavg";
  const params = paramsOf(schema, workflow);
  const rule = schema.allOf.find((r) => r.if.properties.workflow.const === workflow);
  const clean = useMemo(() => prune(spec), [spec]);
  const faults = useMemo(() => {
    const found = faultsOf(schema, clean);
    for (const [name, text] of Object.entries(faultsOf(params || {}, clean.params || {}, "params."))) found[name] = text;
    if (rule?.then.required?.includes("initial_model") && !clean.initial_model) found.initial_model = "is needed by this workflow";
    return found;
  }, [clean, params]);
  const told = Object.fromEntries((problem?.faults || []).map((f) => [f.field, f.message]));
  const faultAt = (path) => told[path] || (faults[path] === "is needed" && !touched ? null : faults[path]);
  const set = (name, value) => {
    setProblem(null);
    setSpec((old) => ({ ...old, [name]: value, ...(name === "workflow" ? { params: {} } : {}) }));
  };
  const setIn = (part, name, value) => {
    setProblem(null);
    setSpec((old) => ({ ...old, [part]: { ...(old[part] || {}), [name]: value } }));
  };
  const offered = (what) => [...new Set(sites.flatMap((site) => (site.state === "removed" ? [] : site[what])))].sort();
  const submit = async (event) => {
    event.preventDefault();
    setTouched(true);
    if (Object.keys(faults).length || broken) {
      requestAnimationFrame(() => document.querySelector("form [aria-invalid=true]")?.focus());
      return;
    }
    setBusy(true);
    try {
      const job = await post("/jobs", clean);
      location.hash = `#/jobs/${job.id}`;
    } catch (failure) {
      setProblem(failure);
      setBusy(false);
    }
  };
  const input = (name, options) => (
    <Input key={name} name={name} schema={schema.properties[name]} value={spec[name]} onChange={(v) => set(name, v)} fault={faultAt(name)} options={options} required={schema.required.includes(name)} />
  );
  const others = Object.keys(schema.properties).filter((name) => !APART.has(name));
  return (
    <form class="submit" onSubmit={submit} noValidate>
      <div>
        <Card title="What">
          <div class="fields">
            {input("name")}
            {input("dataset", offered("datasets"))}
            {input("executor", offered("executors"))}
            {input("workflow")}
          </div>
          <p class="explains">{params?.description}.</p>
        </Card>
        <Card title={`Parameters of ${workflow}`}>
          {Object.keys(params?.properties || {}).length === 0 ? <Empty>It has none.</Empty> : (
            <div class="fields">
              {Object.entries(params.properties).map(([name, own]) => (
                <Input key={`${workflow}.${name}`} name={name} schema={own} value={spec.params?.[name]} onChange={(v) => setIn("params", name, v)} fault={faultAt(`params.${name}`)} required={params.required?.includes(name)} />
              ))}
            </div>
          )}
        </Card>
        <Card title="Trainer">
          <Trainer value={spec.trainer} onChange={(v) => set("trainer", v)} fault={faultAt("trainer")} setBroken={setBroken} />
        </Card>
        <Card title="Who">
          <SiteChoice sites={sites} spec={spec} set={set} />
          <div class="fields">
            {input("required_sites")}
            {input("min_sites")}
          </div>
        </Card>
        <Card>
          <details>
            <summary>More: priority, leases, limits, retention</summary>
            <div class="fields">
              {others.map((name) => input(name))}
              {Object.entries(schema.properties.retention.properties).map(([name, own]) => (
                <Input key={name} name={`keep ${name}`} schema={own} value={spec.retention?.[name]} onChange={(v) => setIn("retention", name, v)} fault={faultAt(`retention.${name}`)} />
              ))}
            </div>
          </details>
        </Card>
        <ProblemBox problem={problem} />
        <p class="buttons">
          <button class="primary" disabled={busy}>{busy ? "Submitting…" : "Submit the job"}</button>
          <a class="button" href="#/jobs">Cancel</a>
          {touched && Object.keys(faults).length > 0 && <span class="fault">{Object.keys(faults).length === 1 ? "One field is" : `${Object.keys(faults).length} fields are`} not right yet.</span>}
        </p>
      </div>
      <Beside spec={clean} />
    </form>
  );
};

export const Submit = ({ search }) => {
  useTitle("New job");
  const schema = useResource("/job.schema.json");
  const sites = useResource("/sites");
  const clone = search.get("clone");
  const [first, setFirst] = useState(clone ? null : {});
  const [problem, setProblem] = useState(null);
  useEffect(() => {
    if (clone && schema.data && !first)
      get(`/jobs/${clone}`).then((job) => setFirst(unlikeDefaults(schema.data, job.spec)), setProblem);
  }, [clone, schema.data]);
  if (!may("job.write")) return <Empty>Your role may look at jobs, not submit them.</Empty>;
  const failed = schema.problem || sites.problem || problem;
  if (failed) return <ProblemBox problem={failed} />;
  if (!schema.data || !sites.data || !first) return <Loading />;
  return (
    <>
      <p class="crumbs"><a href="#/jobs">Jobs</a></p>
      <h1>{clone ? "Clone a job" : "New job"}</h1>
      <Form schema={schema.data} sites={sites.data.items} first={first} />
    </>
  );
};
