// Search for everything from everywhere, and the keys that go there: "/" searches, "g" and a letter goes, "?" tells.
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { get, may, query } from "./api.js";
import { Icon } from "./icons.jsx";
import { Dialog, State } from "./ui.jsx";

const GOES = [
  ["o", "", "Overview"],
  ["j", "jobs", "Jobs"],
  ["s", "sites", "Sites"],
  ["p", "people", "People", "account.manage"],
  ["l", "audit", "Audit log", "audit.read"],
  ["a", "about", "About"],
  ["n", "jobs/new", "New job", "job.write"],
];
const allowed = () => GOES.filter(([, , , permission]) => !permission || may(permission));

const typing = (element) => element.closest?.("input, textarea, select, [contenteditable]");

const Help = ({ onClose }) => (
  <Dialog title="Keys" onClose={onClose}>
    <dl class="facts keys">
      <div class="fact"><dt><kbd>/</kbd></dt><dd>Search jobs and sites</dd></div>
      {allowed().map(([key, , title]) => <div class="fact" key={key}><dt><kbd>g</kbd> <kbd>{key}</kbd></dt><dd>{title}</dd></div>)}
      <div class="fact"><dt><kbd>?</kbd></dt><dd>This list</dd></div>
    </dl>
  </Dialog>
);

// What fits a text, and which: until the server has answered, what fitted an earlier one.
function useMatches(text) {
  const [found, setFound] = useState({ of: null, matches: [] });
  useEffect(() => {
    let gone = false;
    const timer = setTimeout(async () => {
      try {
        const [jobs, sites] = await Promise.all([get(`/jobs${query({ q: text, limit: 8 })}`), get("/sites")]);
        const fitting = sites.items.filter((s) => s.name.toLowerCase().includes(text.toLowerCase())).slice(0, 5);
        const matches = [
          ...jobs.items.map((job) => ({ link: `#/jobs/${job.id}`, title: job.name, state: job.state })),
          ...fitting.map((site) => ({ link: `#/sites/${encodeURIComponent(site.name)}`, title: site.name, what: "site" })),
        ];
        if (!gone) setFound({ of: text, matches });
      } catch {
        if (!gone) setFound({ of: text, matches: [] });
      }
    }, 120);
    return () => {
      gone = true;
      clearTimeout(timer);
    };
  }, [text]);
  return found;
}

const Search = ({ onClose }) => {
  const [text, setText] = useState("");
  const [at, setAt] = useState(0);
  const { of, matches } = useMatches(text);
  const input = useRef(null);
  const hasty = useRef(null);
  useLayoutEffect(() => input.current.focus(), []);
  const go = (match) => {
    location.hash = match.link;
    onClose();
  };
  // Who types fast presses Enter before the answer is there, and means what will fit.
  useLayoutEffect(() => {
    if (of !== null && hasty.current === of && matches[0]) go(matches[0]);
  }, [of]);
  const key = (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && matches.length) {
      event.preventDefault();
      setAt((at + step + matches.length) % matches.length);
    }
    if (event.key === "Enter") {
      event.preventDefault();
      if (of !== text) hasty.current = text;
      else if (matches[at]) go(matches[at]);
    }
  };
  return (
    <Dialog title="Search" onClose={onClose}>
      <input ref={input} type="search" aria-label="Search jobs and sites" role="combobox" aria-expanded="true" aria-controls="matches" aria-activedescendant={matches.length ? `match-${at}` : undefined} placeholder="A job’s name or id, a site" value={text} onInput={(e) => { setText(e.target.value); setAt(0); }} onKeyDown={key} />
      <ul id="matches" class="plain matches" role="listbox" aria-label="Matches">
        {matches.map((match, i) => (
          <li key={match.link} id={`match-${i}`} role="option" aria-selected={i === at} onClick={() => go(match)}>
            <span class="name">{match.title}</span> {match.state ? <State state={match.state} /> : <span class="quiet">{match.what}</span>}
          </li>
        ))}
      </ul>
      {of !== null && matches.length === 0 && <p class="empty">Nothing fits.</p>}
    </Dialog>
  );
};

export const Finder = () => {
  const [open, setOpen] = useState(null);
  const began = useRef(0);
  const opened = useRef(0);
  const show = (key) => setOpen({ key, number: ++opened.current });
  // A dialog tells that it has closed a moment later: by then the next may be open, which stays.
  const closed = () => setOpen((now) => (now === open ? null : now));
  useLayoutEffect(() => {
    const pressed = (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target) || document.querySelector("dialog[open]")) return;
      const second = event.timeStamp - began.current < 1500 ? allowed().find(([key]) => key === event.key) : null;
      began.current = event.key === "g" && !second ? event.timeStamp : 0;
      if (second) location.hash = `#/${second[1]}`;
      else if (event.key === "/" || event.key === "?") show(event.key);
      else return;
      event.preventDefault();
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, []);
  return (
    <>
      <button type="button" class="find" onClick={() => show("/")} title="Search (press /)"><Icon name="search" /> Search <kbd>/</kbd></button>
      {open?.key === "/" && <Search key={open.number} onClose={closed} />}
      {open?.key === "?" && <Help key={open.number} onClose={closed} />}
    </>
  );
};
