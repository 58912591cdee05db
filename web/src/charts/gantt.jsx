// Every site in every round: when it waited, fetched, trained and delivered, and when the server aggregated.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { duration, plural } from "../format.js";
import { useWidth } from "../hooks.js";
import { firstFrom, isSlow, partsOf } from "./timeline.js";
import { Icon } from "../icons.jsx";

const LABELS = 150;
const AXIS = 26;
export const PARTS = ["waiting", "downloading", "training", "uploading", "working", "aggregating", "failed", "cancelled"];

const rowHeight = (count) => (count > 40 ? 14 : count > 16 ? 18 : 24);

function colours() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(`--${name}`).trim();
  return { text: of("text"), muted: of("muted"), line: of("line"), surface: of("surface"), slow: of("warn"), parts: Object.fromEntries(PARTS.map((p) => [p, of(`part-${p}`)])) };
}

function fit(context, text, room) {
  if (context.measureText(text).width <= room) return text;
  let length = Math.min(text.length, 60);
  while (length > 1 && context.measureText(`${text.slice(0, length)}…`).width > room) length -= 1;
  return `${text.slice(0, length)}…`;
}

// Rectangles of one colour: neighbours that touch become one, so that a row of a thousand rounds is not a thousand of them.
class Bars {
  constructor() {
    this.list = [];
  }

  add(left, right, top, height) {
    const last = this.list[this.list.length - 1];
    if (last && last[2] === top && last[3] === height && left <= last[1] + 0.5 && left >= last[0]) last[1] = Math.max(last[1], right);
    else this.list.push([left, right, top, height]);
  }

  fill(context, colour) {
    context.fillStyle = colour;
    for (const [left, right, top, height] of this.list) context.fillRect(left, top, right - left, height);
  }
}

// One row of bars; what is narrower than a few pixels is drawn as one, in the colour of what it was about.
function drawRow(row, view, y, height, bars, slow, now) {
  let last = LABELS;
  for (let i = firstFrom(row, view.from, now); i < row.length && row[i].issued <= view.to; i += 1) {
    const task = row[i];
    const begin = view.x(task.issued);
    const end = view.x(task.finished ?? now);
    if (end - begin < 4) {
      const left = Math.max(begin, last);
      const right = Math.max(end, begin + 1);
      if (right > left) bars[task.state === "done" ? "training" : task.state === "failed" ? "failed" : "working"].add(left, right, y + 3, height - 6);
      last = Math.max(last, right);
      if (isSlow(task, now)) slow.add(left, Math.max(right, left + 1), y + 1, 2);
      continue;
    }
    for (const [from, to, part] of partsOf(task, now)) {
      const left = Math.max(view.x(from), LABELS);
      const right = Math.min(Math.max(view.x(to), left + 0.5), view.width);
      if (right <= LABELS || left > view.width) continue;
      bars[part].add(left, right, y + (part === "waiting" ? height / 2 - 1 : 3), part === "waiting" ? 2 : height - 6);
    }
    if (isSlow(task, now)) frame(slow, Math.max(view.x(task.leased), LABELS), Math.min(end, view.width), y + 1, height - 2);
    last = end;
  }
}

function frame(bars, left, right, top, height) {
  bars.list.push([left, right, top, 2], [left, right, top + height - 2, 2], [left, left + 2, top, height], [right - 2, right, top, height]);
}

function drawRounds(context, timeline, view, height, bars, palette, total) {
  let lastText = -1e9;
  let lastLine = -1e9;
  context.fillStyle = palette.muted;
  context.strokeStyle = palette.line;
  context.beginPath();
  for (const round of timeline.rounds.values()) {
    const left = view.x(round.begun);
    const right = view.x(round.finished ?? view.now);
    if (right < LABELS || left > view.width) continue;
    if (round.aggregating !== null) {
      const from = Math.max(view.x(round.aggregating), LABELS);
      bars.aggregating.add(from, Math.max(right, from + 1), AXIS + 3, height - 6);
    }
    if (left >= LABELS && left - lastLine > 4) {
      context.moveTo(Math.round(left) + 0.5, AXIS);
      context.lineTo(Math.round(left) + 0.5, total);
      lastLine = left;
    }
    const text = String(round.number);
    if (left >= LABELS - 4 && left - lastText > 26 + 6 * text.length && round.number > 0) {
      context.fillText(text, left + 3, AXIS - 9);
      lastText = left;
    }
  }
  context.stroke();
}

function draw(canvas, timeline, view, height) {
  const began = performance.now();
  const context = canvas.getContext("2d");
  const scale = devicePixelRatio || 1;
  const total = AXIS + height * (timeline.rows.length + 1);
  const palette = colours();
  if (canvas.width !== Math.round(view.width * scale) || canvas.height !== Math.round(total * scale)) {
    canvas.width = Math.round(view.width * scale);
    canvas.height = Math.round(total * scale);
  }
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, view.width, total);
  context.font = "12px system-ui, sans-serif";
  context.textBaseline = "middle";
  const bars = Object.fromEntries(PARTS.map((part) => [part, new Bars()]));
  const slow = new Bars();
  drawRounds(context, timeline, view, height, bars, palette, total);
  timeline.rows.forEach((row, i) => drawRow(row, view, AXIS + height * (i + 1), height, bars, slow, view.now));
  for (const part of PARTS) bars[part].fill(context, palette.parts[part]);
  slow.fill(context, palette.slow);
  context.fillStyle = palette.text;
  context.fillText("round", 8, AXIS - 9);
  ["server", ...timeline.sites].forEach((name, i) => context.fillText(fit(context, name, LABELS - 16), 8, AXIS + height * (i + 0.5)));
  canvas.dataset.drawMs = (performance.now() - began).toFixed(1);
}

// What is seen: from..to in milliseconds since the origin; null: the end, as it comes.
function useView(timeline, live) {
  const [range, setRange] = useState(null);
  const now = live ? Math.max(timeline.end, Date.now() - timeline.origin) : timeline.end;
  const numbers = [...timeline.rounds.keys()];
  const recent = timeline.rounds.get(numbers[Math.max(0, numbers.length - 20)])?.begun ?? 0;
  const end = now + (now - recent) * 0.02;
  const seen = range || { from: recent, to: Math.max(end, recent + 1) };
  const clamp = ({ from, to }) => {
    const length = Math.max(to - from, 5);
    const left = Math.min(Math.max(from, -0.05 * length), Math.max(now - 0.1 * length, 0));
    return { from: left, to: left + length };
  };
  return {
    ...seen, now, follows: range === null,
    follow: () => setRange(null),
    all: () => setRange({ from: [...timeline.rounds.values()][0]?.begun ?? 0, to: now * 1.01 + 1 }),
    zoom: (factor, at = (seen.from + seen.to) / 2) => setRange(clamp({ from: at - (at - seen.from) * factor, to: at + (seen.to - at) * factor })),
    move: (part) => setRange(clamp({ from: seen.from + part * (seen.to - seen.from), to: seen.to + part * (seen.to - seen.from) })),
  };
}

const Tip = ({ task, x, y, now }) => {
  const parts = [["waited", task.leased !== null ? task.leased - task.issued : null], ["downloading", task.download], ["training", task.train], ["uploading", task.upload]];
  return (
    <div class="tip" style={{ left: `${x}px`, top: `${y}px` }}>
      <b>{task.site}</b> round {task.round}, {task.kind}: {task.state}
      {isSlow(task, now) && <span class="soon"> slower than the others</span>}
      <dl>
        {parts.filter(([, ms]) => ms !== null).map(([name, ms]) => (
          <div key={name}><dt>{name}</dt><dd>{duration(ms / 1000)}</dd></div>
        ))}
        {task.attempts > 1 && <div><dt>attempts</dt><dd>{task.attempts}</dd></div>}
        {task.weight !== null && <div><dt>samples</dt><dd>{task.weight}</dd></div>}
      </dl>
    </div>
  );
};

export const Gantt = ({ timeline, live }) => {
  const [holder, width] = useWidth();
  const canvas = useRef(null);
  const drag = useRef(null);
  const [tip, setTip] = useState(null);
  const view = useView(timeline, live);
  const height = rowHeight(timeline.rows.length);
  const drawn = { ...view, width, x: (time) => LABELS + ((time - view.from) / (view.to - view.from)) * (width - LABELS) };
  const timeAt = (x) => view.from + ((x - LABELS) / (width - LABELS)) * (view.to - view.from);
  const [tick, setTick] = useState(0);
  useEffect(() => {
    if (width > LABELS) draw(canvas.current, timeline, drawn, height);
  });
  useEffect(() => {
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const redraw = () => setTick((n) => n + 1);
    dark.addEventListener("change", redraw);
    const timer = live ? setInterval(redraw, 500) : 0;
    return () => {
      dark.removeEventListener("change", redraw);
      clearInterval(timer);
    };
  }, [live]);
  useEffect(() => {
    const element = canvas.current;
    const wheel = (event) => {
      if (!event.ctrlKey && !event.metaKey && !event.shiftKey) return;
      event.preventDefault();
      if (event.shiftKey) view.move((event.deltaY || event.deltaX) / 1000);
      else view.zoom(Math.exp(event.deltaY / 300), timeAt(event.offsetX));
    };
    element.addEventListener("wheel", wheel, { passive: false });
    return () => element.removeEventListener("wheel", wheel);
  });
  const find = (event) => {
    const row = timeline.rows[Math.floor((event.offsetY - AXIS) / height) - 1];
    const time = timeAt(event.offsetX);
    if (!row || event.offsetX < LABELS) return null;
    const task = row[firstFrom(row, time, view.now)];
    return task && task.issued <= time ? task : null;
  };
  const moved = (event) => {
    if (drag.current !== null) {
      view.move(-(event.clientX - drag.current) / (width - LABELS));
      drag.current = event.clientX;
      setTip(null);
      return;
    }
    const task = find(event);
    setTip(task && { task, x: Math.min(event.clientX + 12, innerWidth - 240), y: Math.min(event.clientY + 14, innerHeight - 190) });
  };
  const key = (event) => {
    const actions = { ArrowLeft: () => view.move(-0.2), ArrowRight: () => view.move(0.2), "+": () => view.zoom(0.6), "=": () => view.zoom(0.6), "-": () => view.zoom(1.6), 0: view.all };
    if (!actions[event.key]) return;
    event.preventDefault();
    actions[event.key]();
  };
  const slow = useMemo(() => timeline.rows.map((row) => row.filter((t) => isSlow(t, Date.now() - timeline.origin)).length), [timeline]);
  const worst = timeline.sites.filter((_, i) => slow[i] > 0).slice(0, 5).map((name) => `${name} in ${plural(slow[timeline.sites.indexOf(name)], "round")}`).join(", ");
  return (
    <div>
      <div class="chart-tools">
        <ul class="legend" aria-label="Colours">
          {PARTS.filter((p) => p !== "cancelled" && p !== "working").map((part) => <li key={part}><i class={`part-${part}`} />{part}</li>)}
          <li><i class="part-slow" />straggler</li>
        </ul>
        <span class="switch" role="group" aria-label="Move and zoom">
          <button type="button" class="small" aria-label="Earlier" onClick={() => view.move(-0.5)}><Icon name="earlier" size={13} /></button>
          <button type="button" class="small" aria-label="Later" onClick={() => view.move(0.5)}><Icon name="later" size={13} /></button>
          <button type="button" class="small" aria-label="Zoom in" onClick={() => view.zoom(0.5)}>+</button>
          <button type="button" class="small" aria-label="Zoom out" onClick={() => view.zoom(2)}>−</button>
          <button type="button" class="small" onClick={view.all}>All</button>
          <button type="button" class="small" aria-pressed={view.follows} onClick={view.follow}>{live ? "Live" : "Last"}</button>
        </span>
      </div>
      <div class="gantt" ref={holder} data-tick={tick}>
        <canvas
          ref={canvas}
          tabIndex="0"
          role="img"
          aria-label={`Timeline of ${timeline.rounds.size} rounds at ${timeline.sites.length} sites. ${worst ? `Stragglers: ${worst}.` : "No stragglers."} Arrow keys move, plus and minus zoom.`}
          style={{ height: `${AXIS + height * (timeline.rows.length + 1)}px` }}
          onPointerDown={(e) => { drag.current = e.clientX; e.currentTarget.setPointerCapture(e.pointerId); }}
          onPointerUp={() => { drag.current = null; }}
          onPointerCancel={() => { drag.current = null; }}
          onPointerMove={moved}
          onPointerLeave={() => setTip(null)}
          onKeyDown={key}
        />
        {tip && <Tip {...tip} now={view.now} />}
      </div>
      <p class="help">Drag to move; Ctrl and the wheel, or + and −, to zoom. {worst && <>Stragglers: {worst}.</>}</p>
    </div>
  );
};
