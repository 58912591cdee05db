// One job: a header that says how it goes, and views of everything that is known of it.
import { useState } from "preact/hooks";
import { call, may, post } from "../api.js";
import { duration, ended, moment, remaining, roundsDone } from "../format.js";
import { useNow, useTitle } from "../hooks.js";
import { Icon } from "../icons.jsx";
import { useJob } from "../job/data.js";
import { Differs } from "../job/differs.jsx";
import { Events } from "../job/events.jsx";
import { Lineage } from "../job/lineage.jsx";
import { Metrics } from "../job/metrics.jsx";
import { Models } from "../job/models.jsx";
import { Glance } from "../job/glance.jsx";
import { fileName, saveCsv, saveTensorBoard } from "../job/exports.js";
import { Matrix, Statistics } from "../job/results.jsx";
import { PerSite } from "../job/sites.jsx";
import { Moving, Waiting } from "../job/waiting.jsx";
import { Card, Code, Confirm, Loading, ProblemBox, Progress, State, Tabs } from "../ui.jsx";

const Spec = ({ job }) => (
  <Card title="Spec, with all defaults">
    <Code label="The job's spec" text={JSON.stringify(job.spec, null, 2)} />
  </Card>
);

const VIEWS = {
  glance: ["At a glance", Glance],
  metrics: ["Metrics", Metrics],
  sites: ["Sites", PerSite],
  matrix: ["Matrix", Matrix, (job) => job.workflow === "cross_site_evaluation"],
  statistics: ["Statistics", Statistics, (job) => job.workflow === "statistics" && may("blob.read")],
  models: ["Models", Models],
  lineage: ["Lineage", Lineage],
  events: ["Events", Events],
  spec: ["Spec", Spec],
};

// The metrics as files of other programs.
const TakeAway = ({ job, onProblem }) => {
  const take = (event) => {
    const write = { csv: saveCsv, tensorboard: saveTensorBoard }[event.target.value];
    event.target.value = "";
    write?.(job).catch(onProblem);
  };
  return (
    <select aria-label="Metrics as a file" class="narrow" onChange={take}>
      <option value="">Metrics as a file…</option>
      <option value="csv">CSV</option>
      <option value="tensorboard">TensorBoard</option>
    </select>
  );
};

const Controls = ({ job, reload }) => {
  const [asked, ask] = useState("");
  const [problem, setProblem] = useState(null);
  const order = async (command) => {
    try {
      await post(`/jobs/${job.id}/${command}`);
      setProblem(null);
      reload();
    } catch (failure) {
      setProblem(failure);
    }
  };
  return (
    <>
      <span class="buttons">
        {job.state === "completed" && job.model && may("blob.read") && (
          <a class="button primary" href={`/api/v1/blobs/${job.best || job.model}`} download={fileName(job, ".safetensors")}>
            <Icon name="download" /> Download {job.best && job.best !== job.model ? "the best model" : "the model"}
          </a>
        )}
        {may("job.write") && job.state === "running" && <button type="button" onClick={() => order("pause")}><Icon name="paused" /> Pause</button>}
        {may("job.write") && job.state === "paused" && <button type="button" class="primary" onClick={() => order("resume")}><Icon name="running" /> Resume</button>}
        {job.round > 0 && <TakeAway job={job} onProblem={setProblem} />}
        {may("job.write") && <a class="button" href={`#/jobs/new?clone=${job.id}`}><Icon name="copy" /> Clone</a>}
        {may("job.write") && !ended(job.state) && <button type="button" class="danger" onClick={() => ask("abort")}>Abort</button>}
        {may("job.write") && ended(job.state) && <button type="button" class="danger" onClick={() => ask("delete")}>Delete</button>}
      </span>
      <ProblemBox problem={problem} />
      {asked === "abort" && (
        <Confirm title="Abort this job?" verb="Abort the job" onClose={() => ask("")} act={() => post(`/jobs/${job.id}/abort`).then(reload)}>
          <p>Its sites stop and it cannot go on. The models of its rounds so far stay.</p>
        </Confirm>
      )}
      {asked === "delete" && (
        <Confirm title="Delete this job?" verb="Delete it for good" onClose={() => ask("")} act={() => call("DELETE", `/jobs/${job.id}`).then(() => { location.hash = "#/jobs"; })}>
          <p>Its history, metrics and models are gone from the server’s disk for good. Backups that were made before keep theirs, and the audit log keeps who did what.</p>
        </Confirm>
      )}
    </>
  );
};

const Header = ({ job, reload }) => {
  const now = useNow();
  const left = remaining(job, now);
  const spent = job.started ? (Date.parse(job.finished || new Date(now).toISOString()) - Date.parse(job.started)) / 1000 : null;
  return (
    <>
      <p class="crumbs"><a href="#/jobs">Jobs</a></p>
      <div class="heading">
        <h1>{job.name} <State state={job.state} /></h1>
        <Controls job={job} reload={reload} />
      </div>
      {job.reason && <p class={`reason ${job.state}`}>{job.reason}</p>}
      {job.warnings?.length > 0 && !ended(job.state) && job.warnings.map((text) => <p key={text} class="reason paused"><Icon name="warn" /> {text}</p>)}
      <div class="status">
        <Progress value={roundsDone(job)} of={job.rounds} label="Rounds done" />
        <span>round <b>{job.round}</b> of {job.rounds}</span>
        <span>{job.workflow}</span>
        <span>{spent === null ? "not started" : `${job.finished ? "took" : "for"} ${duration(spent)}`}</span>
        {left !== null && <span>about {duration(left)} left</span>}
        {job.best_round !== null && <span>best: round {job.best_round}</span>}
        <span class="quiet" title={moment(job.created)}>by {job.submitted_by}, {moment(job.created)}</span>
      </div>
      <Differs job={job} />
      <Waiting job={job} />
      <Moving job={job} />
    </>
  );
};

export const Job = ({ id, tab = "glance" }) => {
  const { job, problem, reload } = useJob(id);
  useTitle(job ? `${job.name} (${job.state})` : "Job");
  if (!job || !job.spec) return problem ? <ProblemBox problem={problem} retry={reload} /> : <Loading />;
  const [, View] = VIEWS[tab] || VIEWS.glance;
  const tabs = Object.entries(VIEWS).filter(([, [, , fits]]) => !fits || fits(job)).map(([name, [title]]) => [name, title]);
  return (
    <>
      <Header job={job} reload={reload} />
      <Tabs tabs={tabs} current={VIEWS[tab] ? tab : "glance"} href={(name) => `#/jobs/${id}/${name}`} />
      <View key={tab} job={job} />
    </>
  );
};
