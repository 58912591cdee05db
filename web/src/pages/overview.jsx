// What runs, how it goes, who is there, and what wants a person.
import { may } from "../api.js";
import { ROUTINE, duration, ended, median, number, plural, remaining, roundsDone, shortId } from "../format.js";
import { useNow, useResource, useTasks, useThrottle, useTitle } from "../hooks.js";
import { useLive } from "../live.js";
import { Spark } from "../charts/bars.jsx";
import { Ago, Card, Empty, Loading, ProblemBox, Progress, State } from "../ui.jsx";

const DAY = 86400e3;

// Those whose task has taken far longer than the others' in the same round.
function stragglers(job, now) {
  const tasks = job.tasks || [];
  const spent = tasks.filter((t) => t.state === "done" && t.leased).map((t) => Date.parse(t.finished) - Date.parse(t.leased));
  if (!spent.length) return [];
  const bound = Math.max(3 * median(spent), 10e3);
  return tasks.filter((t) => t.state === "leased" && now - Date.parse(t.leased) > bound);
}

function attention(jobs, sites, hooks, now) {
  const found = [];
  for (const job of jobs) {
    const link = `#/jobs/${job.id}`;
    if (job.state === "paused") found.push({ key: job.id, level: "warn", link, text: `${job.name} is paused`, why: job.reason, next: "Resume it when the cause is gone." });
    if (job.state === "queued" && job.reason) found.push({ key: job.id, level: "info", link, text: `${job.name} waits`, why: job.reason });
    if (job.state === "failed" && now - Date.parse(job.finished) < DAY) found.push({ key: job.id, level: "bad", link, text: `${job.name} failed`, why: job.reason, next: "See its events; clone it to try again." });
    for (const task of stragglers(job, now)) {
      found.push({
        key: `${job.id}/${task.site}`, level: "warn", link, text: `${task.site} is slow in ${job.name}`,
        why: `round ${task.round}, ${task.stage || "working"} for ${duration((now - Date.parse(task.leased)) / 1000)}`,
        next: "Ask the site; a quorum or a deadline lets rounds go on without it.",
      });
    }
  }
  for (const site of sites) {
    const link = `#/sites/${encodeURIComponent(site.name)}`;
    if (site.state === "removed") continue;
    if (!site.connected) found.push({ key: `away ${site.name}`, level: "warn", link, text: `${site.name} is not connected`, why: site.seen ? "it was here before" : "it has never been here", next: "Is rounds-site running there?" });
    if (Date.parse(site.certificate_expires) - now < 25 * DAY) found.push({ key: `cert ${site.name}`, level: "warn", link, text: `${site.name}'s certificate ends soon`, next: "rounds-site renews it while it is connected; if it cannot be, invite the site again." });
  }
  for (const hook of hooks)
    if (hook.state === "failed" || hook.failures > 0)
      found.push({
        key: hook.id, level: "warn", link: "#/people", text: `A webhook ${hook.state === "failed" ? "was given up" : "is failing"}`,
        why: hook.reason || hook.tried_fault, next: "What its receiver has missed is kept for it.",
      });
  return found;
}

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
  const wanting = attention(jobs.data.items, present, hooks.data?.items || [], now);
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
        <Card title="Jobs under way" wide>
          <Running jobs={active} />
        </Card>
        <Card title="Needs attention">
          {wanting.length === 0 ? (
            <p class="allwell"><span aria-hidden="true">✓</span> Nothing: all is well.</p>
          ) : (
            <ul class="plain wanting">
              {wanting.slice(0, 12).map((item) => (
                <li key={item.key} class={item.level}>
                  <a href={item.link}>{item.text}</a>
                  {item.why && <span class="quiet"> {item.why}</span>}
                  {item.next && <div class="help">{item.next}</div>}
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
