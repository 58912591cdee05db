// Whom the job waits for, and since when; a person may let the round go on without one.
import { useState } from "preact/hooks";
import { may, post } from "../api.js";
import { ago, plural } from "../format.js";
import { useNow, useResource, useThrottle } from "../hooks.js";
import { Icon } from "../icons.jsx";
import { useLive } from "../live.js";
import { Confirm } from "../ui.jsx";

const SHOWN = 8;
const PATIENCE = 10e3;

const WORDS = {
  working: (since, now) => `at work since ${ago(since, now)}`,
  asked: () => "has not begun",
  silent: (since, now) => (since ? `silent, last heard of ${ago(since, now)}` : "silent since the server started"),
  ready: () => "ready",
  unknown: () => "has never joined",
  draining: () => "is draining",
  no_dataset: () => "does not offer the dataset",
  no_executor: () => "does not offer the executor",
  away: (since, now) => (since ? `away, last heard of ${ago(since, now)}` : "away, never heard of"),
  busy: () => "busy with other jobs",
};
const TROUBLE = new Set(["silent", "unknown", "away"]);

const Skip = ({ job, round, site, onClose }) => (
  <Confirm title={`Go on without ${site}?`} verb="Skip it in this round" onClose={onClose} act={() => post(`/jobs/${job.id}/skip`, { site })}>
    <p>Round {round} no longer waits for {site}: what it is training is dropped, and the round’s manifest says that it was skipped. It takes part again in the next round.</p>
  </Confirm>
);

export const Waiting = ({ job }) => {
  const now = useNow(2000);
  const waits = job.state === "queued" || job.state === "running";
  const { data, reload } = useResource(waits ? `/jobs/${job.id}/waiting` : null);
  const again = useThrottle(reload, 1000);
  const [skipping, skip] = useState(null);
  const [all, showAll] = useState(false);
  useLive((kind, message) => ((kind === "event" && message.job === job.id) || (kind === "job" && message.id === job.id) || kind === "site") && again());
  if (!waits || !data) return null;
  const ready = data.sites.filter((s) => s.state === "ready").length;
  // A round that goes well needs no words: only what is in trouble or takes its time.
  const worth = (s) => data.round === null || TROUBLE.has(s.state) || !s.since || now - Date.parse(s.since) > PATIENCE;
  const sites = data.sites.filter(worth).sort((a, b) => TROUBLE.has(b.state) - TROUBLE.has(a.state));
  if (sites.length === 0) return null;
  const shown = all ? sites : sites.slice(0, SHOWN);
  return (
    <section class="waits" aria-label="Whom the job waits for">
      <p>{data.round === null ? `${ready} of at least ${plural(data.least, "site")} ready` : `Round ${data.round} waits for ${plural(sites.length, "site")}`}</p>
      <ul class="plain chips">
        {shown.map((entry) => (
          <li key={entry.site} class={`chip ${TROUBLE.has(entry.state) ? "trouble" : ""}`}>
            <span class="name">{entry.site}</span> <span class="quiet">{WORDS[entry.state](entry.since, now)}</span>
            {data.round !== null && may("job.write") && (
              <button type="button" class="small" title={`Go on without ${entry.site} in this round`} onClick={() => skip(entry.site)}><Icon name="skip" size={13} /> Skip</button>
            )}
          </li>
        ))}
        {sites.length > shown.length && <li><button type="button" class="small" onClick={() => showAll(true)}>and {sites.length - shown.length} more</button></li>}
      </ul>
      {skipping && <Skip job={job} round={data.round} site={skipping} onClose={() => { skip(null); reload(); }} />}
    </section>
  );
};

// A paused job issues nothing, but what was under way when it was paused still arrives and is kept.
export const Moving = ({ job }) => {
  const busy = (job.tasks || []).filter((task) => task.state === "leased");
  if (job.state !== "paused") return null;
  return (
    <p class="quiet">
      {busy.length === 0 ? "No weights move: every site has stopped or delivered." : `Still under way, and kept when it arrives: ${busy.map((t) => `${t.site} (${t.stage || "working"}${t.fraction ? `, ${Math.round(100 * t.fraction)}%` : ""})`).join(", ")}. No new task is given out.`}
    </p>
  );
};
