// A new job, as a path: what do you want, of which data, how, and who takes part. The rules are job.schema.json's and the executor's
// own; nothing of them is written down here.
import { useEffect, useMemo, useState } from "preact/hooks";
import trainerSchema from "../../../api/trainer.schema.json";
import { get, may, post } from "../api.js";
import { useResource, useTitle } from "../hooks.js";
import { faultsOf, paramsOf } from "../schema.js";
import { Beside, useCheck } from "../submit/beside.jsx";
import { DatasetChoice, SiteChoice } from "../submit/data.jsx";
import { Fields, Input, JsonObject } from "../submit/fields.jsx";
import { FIRST_PARAMS, FIRST_TRAINER, PRESETS, WANTS, paramsThatMatter, trainerThatMatters, wantOf, workflowsOf } from "../submit/wants.js";
import { Card, Empty, Field, Loading, ProblemBox } from "../ui.jsx";

const APART = new Set(["name", "dataset", "executor", "workflow", "sites", "required_sites", "min_sites", "params", "trainer", "retention", "initial_model"]);

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

// An earlier job, or a file of one, to begin with.
const Template = ({ schema, begin }) => {
  const jobs = useResource("/jobs?limit=30");
  const [problem, setProblem] = useState(null);
  const choose = async (event) => {
    if (!event.target.value) return;
    try {
      begin(unlikeDefaults(schema, (await get(`/jobs/${event.target.value}`)).spec));
    } catch (failure) {
      setProblem(failure);
    }
  };
  const open = async (event) => {
    try {
      const spec = JSON.parse(await event.target.files[0].text());
      if (!spec || typeof spec !== "object" || Array.isArray(spec)) throw new Error();
      begin(spec);
      setProblem(null);
    } catch {
      setProblem({ message: "The file is not a job: a JSON object is needed." });
    }
  };
  return (
    <div class="template">
      <label>Begin with <select aria-label="An earlier job" class="narrow" onChange={choose}><option value="">an earlier job…</option>{(jobs.data?.items || []).map((job) => <option key={job.id} value={job.id}>{job.name}</option>)}</select></label>
      <label class="button small">or a file <input type="file" accept=".json,application/json" class="hidden" onChange={open} /></label>
      <ProblemBox problem={problem} />
    </div>
  );
};

const What = ({ spec, workflows, change }) => {
  const want = wantOf(spec.workflow || "fedavg");
  const choose = (next) => next !== want && change({ workflow: workflowsOf(next, workflows)[0], params: {}, trainer: undefined });
  return (
    <Card title="1 What do you want?">
      <div class="picks" role="group" aria-label="What do you want?">
        {WANTS.filter((w) => workflowsOf(w, workflows).length).map((w) => (
          <button key={w.name} type="button" class="pick" aria-pressed={w === want} onClick={() => choose(w)}>
            <b>{w.title}</b>
            <span>{w.text}</span>
          </button>
        ))}
      </div>
      {PRESETS[want.name] && (
        <div class="presets">
          <span class="quiet">Beginnings:</span>
          {PRESETS[want.name].map(([title, text, preset]) => <button key={title} type="button" class="small" title={text} onClick={() => change(preset)}>{title}</button>)}
        </div>
      )}
    </Card>
  );
};

const Workflow = ({ spec, schema, workflows, set }) => {
  const workflow = spec.workflow || "fedavg";
  const params = paramsOf(schema, workflow);
  return (
    <Field label="workflow" help={`${params?.description}.`}>
      {(props) => (
        <select {...props} value={workflow} onChange={(e) => set("workflow", e.target.value)}>
          {workflowsOf(wantOf(workflow), workflows).map((name) => <option key={name}>{name}</option>)}
        </select>
      )}
    </Field>
  );
};

const Trainer = ({ spec, setIn, set, faultAt, setBroken }) => {
  if ((spec.executor || "trainer") !== "trainer")
    return <JsonObject name="trainer" help="Passed on to the executor as it is; what it takes is for its author to say" value={spec.trainer} onChange={(v) => set("trainer", v)} fault={faultAt("trainer")} setBroken={setBroken} />;
  return <Fields properties={trainerThatMatters(trainerSchema.properties, spec.trainer)} first={FIRST_TRAINER} value={spec.trainer} onChange={(name, v) => setIn("trainer", name, v)} faultAt={faultAt} path="trainer." more="More of training" />;
};

// Faults of the form, of the server's last answer, and of its check: by field.
function useFaults(schema, clean, problem, report) {
  const workflow = clean.workflow || "fedavg";
  return useMemo(() => {
    const found = faultsOf(schema, clean);
    const rule = schema.allOf.find((r) => r.if.properties.workflow.const === workflow);
    Object.assign(found, faultsOf(paramsOf(schema, workflow) || {}, clean.params || {}, "params."));
    if ((clean.executor || "trainer") === "trainer") Object.assign(found, faultsOf(trainerSchema, clean.trainer || {}, "trainer."));
    if (rule?.then.required?.includes("initial_model") && !clean.initial_model) found.initial_model = "is needed by this workflow";
    for (const { field, message } of [...(report?.faults || []), ...(problem?.faults || [])]) found[field] ||= message;
    return found;
  }, [clean, problem, report]);
}

const Form = ({ schema, sites, first, models, begin }) => {
  const [spec, setSpec] = useState(first);
  const [broken, setBroken] = useState(false);
  const [problem, setProblem] = useState(null);
  const [busy, setBusy] = useState(false);
  const [touched, setTouched] = useState(false);
  const workflow = spec.workflow || "fedavg";
  const workflows = schema.properties.workflow.enum;
  const params = paramsOf(schema, workflow);
  const clean = useMemo(() => prune(spec), [spec]);
  const report = useCheck(clean);
  const faults = useFaults(schema, clean, problem, touched ? report : null);
  const needed = (path) => path.endsWith("initial_model") || faults[path] === "is needed" || /^is (needed|required)/.test(faults[path] || "");
  const faultAt = (path) => (needed(path) && !touched ? null : faults[path]);
  const change = (parts) => {
    setProblem(null);
    setSpec((old) => ({ ...old, ...parts }));
  };
  const set = (name, value) => change({ [name]: value, ...(name === "workflow" ? { params: {} } : {}) });
  const setIn = (part, name, value) => {
    setProblem(null);
    setSpec((old) => ({ ...old, [part]: { ...(old[part] || {}), [name]: value } }));
  };
  const executors = [...new Set(sites.flatMap((site) => (site.state === "removed" ? [] : site.executors)))].sort();
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
  const wrong = touched ? Object.keys(faults).length : 0;
  return (
    <form class="submit" onSubmit={submit} noValidate>
      <div>
        <Template schema={schema} begin={begin} />
        <What spec={spec} workflows={workflows} change={change} />
        <Card title="2 Of which data?">
          <DatasetChoice sites={sites} value={spec.dataset} onChange={(v) => set("dataset", v)} fault={faultAt("dataset")} help={schema.properties.dataset.description} />
        </Card>
        <Card title="3 How?">
          <div class="fields">
            {input("name")}
            <Workflow spec={spec} schema={schema} workflows={workflows} set={set} />
            {input("executor", executors)}
            {input("initial_model", models)}
          </div>
          <h3>{`Parameters of ${workflow}`}</h3>
          {Object.keys(params?.properties || {}).length === 0 ? <Empty>It has none.</Empty> : (
            <Fields key={workflow} properties={paramsThatMatter(params.properties, workflow, spec.params)} first={FIRST_PARAMS} value={spec.params} onChange={(name, v) => setIn("params", name, v)} faultAt={faultAt} path="params." required={params.required} more="More of the workflow" />
          )}
          {workflow !== "statistics" && <h3>Training at the sites</h3>}
          {workflow !== "statistics" && <Trainer key={spec.executor} spec={spec} set={set} setIn={setIn} faultAt={faultAt} setBroken={setBroken} />}
        </Card>
        <Card title="4 Who takes part?">
          <SiteChoice sites={sites} spec={spec} set={set} />
          <div class="fields">
            {input("min_sites")}
            {input("required_sites")}
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
      </div>
      <Beside spec={clean} report={report}>
        <ProblemBox problem={problem} />
        <p class="buttons">
          <button class="primary" disabled={busy}>{busy ? "Submitting…" : "Submit the job"}</button>
          <a class="button" href="#/jobs">Cancel</a>
          {wrong > 0 && <span class="fault">{wrong === 1 ? "One field is" : `${wrong} fields are`} not right yet.</span>}
        </p>
      </Beside>
    </form>
  );
};

export const Submit = ({ search }) => {
  useTitle("New job");
  const schema = useResource("/job.schema.json");
  const sites = useResource("/sites");
  const jobs = useResource("/jobs?limit=30");
  const clone = search.get("clone");
  const [first, setFirst] = useState(clone ? null : {});
  const [problem, setProblem] = useState(null);
  const [version, setVersion] = useState(0);
  const begin = (spec) => {
    setFirst(spec);
    setVersion((v) => v + 1);
  };
  useEffect(() => {
    if (clone && schema.data && !first)
      get(`/jobs/${clone}`).then((job) => setFirst(unlikeDefaults(schema.data, job.spec)), setProblem);
  }, [clone, schema.data]);
  if (!may("job.write")) return <><h1>New job</h1><Empty>Your role may look at jobs, not submit them.</Empty></>;
  const failed = schema.problem || sites.problem || problem;
  if (failed) return <ProblemBox problem={failed} />;
  if (!schema.data || !sites.data || !first) return <Loading />;
  const models = [...new Set((jobs.data?.items || []).flatMap((job) => [job.best, job.model]).filter(Boolean))];
  return (
    <>
      <p class="crumbs"><a href="#/jobs">Jobs</a></p>
      <h1>{clone ? "Clone a job" : "New job"}</h1>
      <Form key={version} begin={begin} schema={schema.data} sites={sites.data.items} first={first} models={models} />
    </>
  );
};
