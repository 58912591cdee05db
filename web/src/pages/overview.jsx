// What runs, how it goes, who is there, and what wants a person.
import { useEffect, useReducer } from "preact/hooks";
import { may } from "../api.js";
import { acknowledge, attention } from "../attention.js";
import { ROUTINE, bytes, duration, ended, number, plural, remaining, roundsDone, shortId } from "../format.js";
import { useNow, useResource, useTasks, useThrottle, useTitle } from "../hooks.js";
import { Icon } from "../icons.jsx";
import { useLive } from "../live.js";
import { Spark } from "../charts/bars.jsx";
import { Ago, Card, Empty, Loading, ProblemBox, Progress, State } from "../ui.jsx";

const DAY = 86400e3;

// How well it goes: the metric that matters most, so far.
const Measure = ({ job }) => {
  const { data, reload } = useResource(`/jobs/${job.id}/curves?site=`);
  const again = useThrottle(reload, 2000);
  useLive((kind, event) => kind === "event" && event.job === job.id && event.kind === "aggregated" && again());
  const series = ["accuracy", "auc", "loss"].map((name) => data?.series.find((s) => s.name === name)).find(Boolean) || data?.series[0];
  if (!series) return null;
  return (
    <span class="measure">
      {series.name} <Spark values={series.values.slice(-60)} label={`${series.name} by round`} /> <b>{number(series.values[series.values.length - 1])}</b>
    </span>
  );
};

const Running = ({ jobs }) => {
  const now = useNow();
  if (!jobs.length)
    return (
      <Empty>
        Nothing runs. {may("job.write") && <a href="#/jobs/new">Submit a job.</a>}
      </Empty>
    );
  return (
    <ul class="plain">
      {jobs.map((job) => {
        const left = remaining(job, now);
        const working = (job.tasks || []).filter((t) => t.state === "leased").length;
        return (
          <li key={job.id} class="running">
            <div class="line">
              <a href={`#/jobs/${job.id}`} class="name">{job.name}</a>
              <span class="measure">
                {job.state !== "queued" && <Measure job={job} />}
                <State state={job.state} />
              </span>
            </div>
            <Progress value={roundsDone(job)} of={job.rounds} label={`Progress of ${job.name}`} />
            <div class="line quiet">
              <span>
                {job.workflow}, round {job.round} of {job.rounds}
                {job.state === "running" && `, ${plural(working, "site")} at work`}
                {job.state === "queued" && job.reason && `: ${job.reason}`}
              </span>
              <span>{left !== null && `about ${duration(left)} left`}</span>
            </div>
          </li>
        );
      })}
    </ul>
  );
};

// An empty server says how to begin.
const FirstSteps = ({ sites }) => (
  <Card title="First steps" wide>
    <ol class="steps">
      <li class={sites.length ? "done" : ""}>
        <b>Invite a site.</b> {may("site.manage") ? <a href="#/sites">Make an invitation</a> : "An administrator makes an invitation"} and give it to the hospital; there, <code>rounds-site join</code> takes it.
      </li>
      <li class={sites.some((s) => s.connected) ? "done" : ""}>
        <b>Let it offer its data.</b> The hospital names its tables in <code>site.json</code> and starts <code>rounds-site</code>: <a href="#/about/guide/client%2FREADME.md">the guide for hospitals</a>.
      </li>
      <li>
        <b>Submit a job.</b> {may("job.write") ? <a href="#/jobs/new">New job</a> : "New job"} asks what you want to know and of which data. <a href="#/about/guide/README.md">What Rounds is</a>.
      </li>
    </ol>
  </Card>
);

const SiteLine = ({ site }) => (
  <li>
    <a href={`#/sites/${encodeURIComponent(site.name)}`} class={`lamp ${site.connected ? "up" : "down"}`}>
      <span class="name">{site.name}</span>
      <span class="quiet">{site.state === "draining" ? "draining" : site.connected ? "up" : "away"}</span>
    </a>
  </li>
);

export const Overview = () => {
  useTitle("Overview");
  const now = useNow(2000);
  const jobs = useResource("/jobs?limit=100");
  const sites = useResource("/sites");
  const activity = useResource("/events?limit=30");
  const hooks = useResource(may("webhook.manage") ? "/webhooks" : null);
  const health = useResource("/health");
  const [, redraw] = useReducer((n) => n + 1, 0);
  useEffect(() => {
    const timer = setInterval(health.reload, 30e3);
    return () => clearInterval(timer);
  }, []);
  const reloadSites = useThrottle(sites.reload, 1000);
  useLive((kind, data) => {
    if (kind === "job") jobs.set((old) => old && { ...old, items: old.items.some((j) => j.id === data.id) ? old.items.map((j) => (j.id === data.id ? data : j)) : [data, ...old.items] });
    if (kind === "event" && !ROUTINE.has(data.kind)) activity.set((old) => old && { ...old, items: [data, ...old.items.filter((e) => e.id !== data.id)].slice(0, 30) });
    if (kind === "site") reloadSites();
  });
  useTasks(jobs.data?.items || [], (id, tasks) => jobs.set((old) => old && { ...old, items: old.items.map((j) => (j.id === id ? { tasks, ...j } : j)) }));
  if (!jobs.data || !sites.data) return jobs.problem || sites.problem ? <ProblemBox problem={jobs.problem || sites.problem} /> : <Loading />;
  const present = sites.data.items.filter((s) => s.state !== "removed");
  const active = jobs.data.items.filter((j) => !ended(j.state));
  const wanting = attention({
    jobs: jobs.data.items, sites: present, hooks: hooks.data?.items || [], now,
    health: health.data && { ...health.data, free_text: bytes(health.data.free_bytes) },
  });
  const today = jobs.data.items.filter((j) => ended(j.state) && now - Date.parse(j.finished) < DAY);
  return (
    <>
      <div class="heading">
        <h1>Overview</h1>
        {may("job.write") && <a class="button primary" href="#/jobs/new">New job</a>}
      </div>
      <ul class="numbers" aria-label="In short">
        <li><b>{active.filter((j) => j.state === "running").length}</b> running</li>
        <li><b>{active.filter((j) => j.state === "queued").length}</b> queued</li>
        <li><b>{present.filter((s) => s.connected).length}<small>/{present.length}</small></b> sites up</li>
        <li><b>{today.filter((j) => j.state === "completed").length}</b> completed today</li>
        <li class={today.some((j) => j.state === "failed") ? "bad" : ""}><b>{today.filter((j) => j.state === "failed").length}</b> failed today</li>
      </ul>
      <div class="grid">
        {jobs.data.items.length === 0 && <FirstSteps sites={present} />}
        <Card title="Jobs under way" wide>
          <Running jobs={active} />
        </Card>
        <Card title="Needs attention">
          {wanting.length === 0 ? (
            <p class="allwell"><Icon name="completed" /> Nothing: all is well.</p>
          ) : (
            <ul class="plain wanting">
              {wanting.slice(0, 12).map((item) => (
                <li key={item.key} class={item.level}>
                  <a href={item.link}>{item.text}</a>
                  {item.why && <span class="quiet"> {item.why}</span>}
                  {item.next && <div class="help">{item.next}</div>}
                  {item.ids && <button type="button" class="small" onClick={() => { acknowledge(item.ids); redraw(); }}>I have seen it</button>}
                </li>
              ))}
              {wanting.length > 12 && <li class="quiet">and {wanting.length - 12} more</li>}
            </ul>
          )}
        </Card>
        <Card title="Sites" tools={<a href="#/sites">all</a>}>
          {present.length ? <ul class="lamps">{present.map((site) => <SiteLine key={site.name} site={site} />)}</ul> : <Empty>No site has joined. <a href="#/sites">Invite one.</a></Empty>}
        </Card>
        <Card title="Recent activity" wide>
          {!activity.data || activity.data.items.length === 0 ? (
            <Empty>Nothing has happened yet.</Empty>
          ) : (
            <ol class="plain activity">
              {activity.data.items.filter((e) => !ROUTINE.has(e.kind)).slice(0, 15).map((event) => (
                <li key={event.id}>
                  <Ago time={event.time} />
                  <a href={`#/jobs/${event.job}`} title={event.job}>{event.job_name || shortId(event.job)}</a>
                  <span>{event.round > 0 && `round ${event.round}: `}{event.message}</span>
                </li>
              ))}
            </ol>
          )}
        </Card>
      </div>
    </>
  );
};
