// What wants a person, from what the overview knows: each item once, with a way on.
import { duration, ended, median, plural } from "./format.js";

const DAY = 86400e3;
const HIDDEN = "rounds.acknowledged";

// Failures that somebody has seen; this browser's own list, so that one person's glance hides nothing from another.
export const acknowledged = () => new Set(JSON.parse(localStorage.getItem(HIDDEN) || "[]"));
export const acknowledge = (ids) => localStorage.setItem(HIDDEN, JSON.stringify([...new Set([...acknowledged(), ...ids])].slice(-1000)));

// Those whose task has taken far longer than the others' in the same round.
function stragglers(job, now) {
  const tasks = job.tasks || [];
  const spent = tasks.filter((t) => t.state === "done" && t.leased).map((t) => Date.parse(t.finished) - Date.parse(t.leased));
  if (!spent.length) return [];
  const bound = Math.max(3 * median(spent), 10e3);
  return tasks.filter((t) => t.state === "leased" && now - Date.parse(t.leased) > bound);
}

function ofJob(job, now) {
  const link = `#/jobs/${job.id}`;
  const found = [];
  if (job.state === "paused" && job.held) found.push({ key: job.id, level: "bad", link, text: `${job.name} is paused for want of space`, why: job.reason, next: "Make room on the server’s disk: it goes on by itself." });
  else if (job.state === "paused") found.push({ key: job.id, level: "warn", link, text: `${job.name} is paused`, why: job.reason, next: "Resume it when the cause is gone." });
  if (job.state === "queued" && job.reason) found.push({ key: job.id, level: "info", link, text: `${job.name} waits`, why: job.reason });
  if (job.state === "running" && job.reason) found.push({ key: `silent ${job.id}`, level: "warn", link, text: `${job.name} waits for a silent site`, why: job.reason, next: "Ask the site, or let this round go on without it on the job’s page." });
  if (job.state === "completed" && job.verified === false) found.push({ key: `broken ${job.id}`, level: "bad", link: `${link}/lineage`, text: `${job.name}: its lineage is broken`, next: "Somebody or something has changed what is stored; see which round." });
  for (const task of job.state === "running" && !job.reason ? stragglers(job, now) : [])
    found.push({
      key: `${job.id}/${task.site}`, level: "warn", link, text: `${task.site} is slow in ${job.name}`,
      why: `round ${task.round}, ${task.stage || "working"} for ${duration((now - Date.parse(task.leased)) / 1000)}; it is heard of`,
      next: "A quorum or a deadline lets rounds go on without it; so does “Skip” on the job’s page.",
    });
  return found;
}

// The same failure again and again is said once.
function failures(jobs, now) {
  const seen = acknowledged();
  const groups = new Map();
  for (const job of jobs) {
    if (job.state !== "failed" || now - Date.parse(job.finished) > DAY || seen.has(job.id)) continue;
    const key = `${job.name}\n${(job.reason || "").replace(/\d+/g, "#")}`;
    groups.set(key, [...(groups.get(key) || []), job]);
  }
  return [...groups.values()].map((group) => ({
    key: `failed ${group[0].id}`, level: "bad", link: `#/jobs/${group[0].id}`, ids: group.map((job) => job.id),
    text: `${group[0].name} failed${group.length > 1 ? ` ${group.length} times` : ""}`, why: group[0].reason, next: "See its events; clone it to try again.",
  }));
}

function ofSite(site, now) {
  const link = `#/sites/${encodeURIComponent(site.name)}`;
  const found = [];
  if (site.doubled)
    found.push({ key: `doubled ${site.name}`, level: "bad", link, text: `a second program has ${site.name}'s identity`, why: "it is refused while the first one lives", next: "Was its state directory copied? Stop one of the two, or let that machine join under a name of its own." });
  if (!site.connected)
    found.push({ key: `away ${site.name}`, level: "warn", link, text: `${site.name} is not connected`, why: site.seen ? "it was here before" : "it has never been here", next: "Is rounds-site running there?" });
  const left = Date.parse(site.certificate_expires) - now;
  if (left < 25 * DAY)
    found.push({ key: `cert ${site.name}`, level: left < 0 ? "bad" : "warn", link, text: `${site.name}'s certificate ${left < 0 ? "has ended" : "ends soon"}`, next: "rounds-site renews it while it is connected; if it cannot be, invite the site again." });
  return found;
}

function ofServer(health) {
  const found = [];
  if (health.copy) found.push({ key: "copy", level: "bad", link: "#/about/guide/deploy%2FREADME.md", text: "This server stands on a copy of another’s data", why: "it leases no task and tells no webhook", next: "Start it with --original-is-gone once the other server is gone for good." });
  if (health.space === "full") found.push({ key: "space", level: "bad", link: "#/about", text: "The server’s disk is full", why: `${health.free_text} left`, next: "Uploads are refused and jobs pause until there is room. Delete old jobs, or make the disk larger." });
  if (health.space === "low") found.push({ key: "space", level: "warn", link: "#/about", text: "The server’s disk is nearly full", why: `${health.free_text} left`, next: "Delete old jobs, keep fewer rounds, or make the disk larger." });
  if (health.certificate === "ended" || health.certificate === "ends_soon")
    found.push({ key: "certificate", level: health.certificate === "ended" ? "bad" : "warn", link: "#/about", text: `The server’s certificate ${health.certificate === "ended" ? "has ended" : "ends soon"}`, next: "It renews itself while the server runs; one of your own must be replaced and the server told (SIGHUP)." });
  if (health.unverified > 0)
    found.push({ key: "unverified", level: "info", link: "#/jobs?state=completed", text: `${plural(health.unverified, "completed job")} never verified`, next: "“Recompute it” in a job’s lineage, or rounds verify JOB, proves that nothing was changed." });
  return found;
}

const LEVELS = ["bad", "warn", "info"];

export function attention({ jobs, sites, hooks, health, now }) {
  const found = [
    ...(health ? ofServer(health) : []),
    ...failures(jobs, now),
    ...jobs.filter((job) => !ended(job.state) || job.verified === false).flatMap((job) => ofJob(job, now)),
    ...sites.filter((site) => site.state !== "removed").flatMap((site) => ofSite(site, now)),
    ...hooks
      .filter((hook) => hook.state === "failed" || hook.failures > 0)
      .map((hook) => ({
        key: hook.id, level: "warn", link: "#/people", text: `A webhook ${hook.state === "failed" ? "was given up" : "is failing"}`,
        why: hook.reason || hook.tried_fault, next: "What its receiver has missed is kept for it.",
      })),
  ];
  return found.sort((a, b) => LEVELS.indexOf(a.level) - LEVELS.indexOf(b.level));
}
