// The columns of a job's timeline as something that can be drawn: rows of tasks in order of time, stragglers marked.
import { median } from "../format.js";

const [ROUND, SITE, KIND, STATE, ISSUED, LEASED, FINISHED, DOWNLOAD, TRAIN, UPLOAD, ATTEMPTS, WEIGHT] = Array(12).keys();

export const emptyTimeline = () => ({ origin: 0, sites: [], rounds: new Map(), tasks: new Map(), rows: [], end: 0 });

// Takes the answer of /timeline?from= into what is known; a new object, so that whoever draws sees the change.
export function mergeTimeline(known, answer, from) {
  const rounds = new Map([...known.rounds].filter(([number]) => number < from));
  for (const [number, state, begun, aggregating, finished] of answer.rounds) rounds.set(number, { number, state, begun, aggregating, finished });
  const tasks = new Map([...known.tasks].filter(([number]) => number < from));
  for (const row of answer.tasks) {
    const task = {
      round: row[ROUND], site: answer.sites[row[SITE]], kind: row[KIND], state: row[STATE], issued: row[ISSUED], leased: row[LEASED], finished: row[FINISHED],
      download: row[DOWNLOAD], train: row[TRAIN], upload: row[UPLOAD], attempts: row[ATTEMPTS], weight: row[WEIGHT], patience: Infinity,
    };
    if (!tasks.has(task.round)) tasks.set(task.round, []);
    tasks.get(task.round).push(task);
  }
  for (const [number, list] of tasks) if (number >= from) setPatience(list);
  const names = [...new Set([...tasks.values()].flatMap((list) => list.map((t) => t.site)))].sort();
  const bySite = new Map(names.map((name) => [name, []]));
  for (const number of [...tasks.keys()].sort((a, b) => a - b)) for (const task of tasks.get(number)) bySite.get(task.site).push(task);
  for (const list of bySite.values()) list.sort((a, b) => a.issued - b.issued);
  let end = 1;
  for (const round of rounds.values()) end = Math.max(end, round.finished ?? round.aggregating ?? round.begun);
  for (const list of tasks.values()) for (const task of list) end = Math.max(end, task.finished ?? task.leased ?? task.issued);
  return { origin: Date.parse(answer.origin), sites: names, rounds, tasks, rows: names.map((name) => bySite.get(name)), end };
}

// A straggler: more than twice as long as the others of its round, and by more than a blink; once half of them are done.
function setPatience(tasks) {
  for (const kind of new Set(tasks.map((t) => t.kind))) {
    const mine = tasks.filter((t) => t.kind === kind);
    const spent = mine.filter((t) => t.finished !== null && t.leased !== null).map((t) => t.finished - t.leased);
    const patience = mine.length > 2 && 2 * spent.length >= mine.length ? 2 * median(spent) + 50 : Infinity;
    for (const task of mine) task.patience = patience;
  }
}

// `now` in milliseconds since the origin: whoever is not ready yet may be one, too.
export const isSlow = (task, now) => task.leased !== null && (task.finished ?? now) - task.leased > task.patience;

// [from, to, what] of each part of a task, in milliseconds since the origin.
export function partsOf(task, now) {
  const end = task.finished ?? now;
  const parts = [[task.issued, task.leased ?? end, "waiting"]];
  if (task.leased === null) return parts;
  if (task.state === "failed" || task.state === "cancelled") return [...parts, [task.leased, end, task.state]];
  if (task.download === null) return [...parts, [task.leased, end, "working"]];
  let at = task.leased;
  for (const [name, length] of [["downloading", task.download], ["training", task.train], ["uploading", task.upload]]) {
    parts.push([at, Math.min(at + length, end), name]);
    at += length;
  }
  return parts;
}

// The first of a row whose end is not before `time`.
export function firstFrom(row, time, now) {
  let [low, high] = [0, row.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((row[middle].finished ?? now) < time) low = middle + 1;
    else high = middle;
  }
  return low;
}
