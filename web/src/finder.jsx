// Search for everything from everywhere, and the keys that go there: "/" searches, "g" and a letter goes, "?" tells.
import { useEffect, useRef, useState } from "preact/hooks";
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

function useMatches(text) {
  const [found, setFound] = useState(null);
  useEffect(() => {
    let gone = false;
    const timer = setTimeout(async () => {
      try {
        const [jobs, sites] = await Promise.all([get(`/jobs${query({ q: text, limit: 8 })}`), get("/sites")]);
        const fitting = sites.items.filter((s) => s.name.toLowerCase().includes(text.toLowerCase())).slice(0, 5);
        if (!gone)
          setFound([
            ...jobs.items.map((job) => ({ link: `#/jobs/${job.id}`, title: job.name, state: job.state })),
            ...fitting.map((site) => ({ link: `#/sites/${encodeURIComponent(site.name)}`, title: site.name, what: "site" })),
          ]);
      } catch {
        if (!gone) setFound([]);
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
  const found = useMatches(text);
  const input = useRef(null);
  useEffect(() => input.current.focus(), []);
  const go = (match) => {
    location.hash = match.link;
    onClose();
  };
  const key = (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && found?.length) {
      event.preventDefault();
      setAt((at + step + found.length) % found.length);
    }
    if (event.key === "Enter" && found?.[at]) {
      event.preventDefault();
      go(found[at]);
    }
  };
  return (
    <Dialog title="Search" onClose={onClose}>
      <input ref={input} type="search" aria-label="Search jobs and sites" role="combobox" aria-expanded="true" aria-controls="matches" aria-activedescendant={found?.length ? `match-${at}` : undefined} placeholder="A job’s name or id, a site" value={text} onInput={(e) => { setText(e.target.value); setAt(0); }} onKeyDown={key} />
      <ul id="matches" class="plain matches" role="listbox" aria-label="Matches">
        {(found || []).map((match, i) => (
          <li key={match.link} id={`match-${i}`} role="option" aria-selected={i === at} onClick={() => go(match)}>
            <span class="name">{match.title}</span> {match.state ? <State state={match.state} /> : <span class="quiet">{match.what}</span>}
          </li>
        ))}
      </ul>
      {found?.length === 0 && <p class="empty">Nothing fits.</p>}
    </Dialog>
  );
};

export const Finder = () => {
  const [open, setOpen] = useState("");
  const began = useRef(0);
  useEffect(() => {
    const pressed = (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target) || document.querySelector("dialog[open]")) return;
      const second = event.timeStamp - began.current < 1500 ? allowed().find(([key]) => key === event.key) : null;
      began.current = event.key === "g" && !second ? event.timeStamp : 0;
      if (second) location.hash = `#/${second[1]}`;
      else if (event.key === "/" || event.key === "?") setOpen(event.key);
      else return;
      event.preventDefault();
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, []);
  return (
    <>
      <button type="button" class="find" onClick={() => setOpen("/")} title="Search (press /)"><Icon name="search" /> Search <kbd>/</kbd></button>
      {open === "/" && <Search onClose={() => setOpen("")} />}
      {open === "?" && <Help onClose={() => setOpen("")} />}
    </>
  );
};
