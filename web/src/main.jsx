// The frame: who is signed in, where we are, what stands around every page.
import { render } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import "uplot/dist/uPlot.min.css";
import "./style.css";
import { get, may, session } from "./api.js";
import { Finder } from "./finder.jsx";
import { Icon } from "./icons.jsx";
import { startLive, stopLive, useConnection } from "./live.js";
import { Audit } from "./pages/audit.jsx";
import { About } from "./pages/about.jsx";
import { Compare } from "./pages/compare.jsx";
import { Job } from "./pages/job.jsx";
import { Jobs } from "./pages/jobs.jsx";
import { Overview } from "./pages/overview.jsx";
import { People } from "./pages/people.jsx";
import { SetUp, SignIn } from "./pages/signin.jsx";
import { Site, Sites } from "./pages/sites.jsx";
import { Submit } from "./pages/submit.jsx";
import { Account } from "./pages/account.jsx";
import { Empty } from "./ui.jsx";

// The first that fits; a `:name` stands for one part of the path.
const PAGES = [
  ["", Overview],
  ["jobs", Jobs],
  ["jobs/new", Submit],
  ["jobs/compare", Compare],
  ["jobs/:id", Job],
  ["jobs/:id/:tab", Job],
  ["sites", Sites],
  ["sites/:name", Site],
  ["people", People],
  ["audit", Audit],
  ["account", Account],
  ["about", About],
  ["about/:view", About],
  ["about/:view/:name", About],
];

const NAVIGATION = [
  ["", "Overview", "overview"],
  ["jobs", "Jobs", "jobs"],
  ["sites", "Sites", "sites"],
  ["people", "People", "people", "account.manage"],
  ["audit", "Audit log", "audit", "audit.read"],
  ["about", "About", "about"],
];

function readLocation() {
  const [path, search = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return { parts: path.split("/").filter(Boolean).map(decodeURIComponent), search: new URLSearchParams(search) };
}

function findPage(parts) {
  for (const [pattern, page] of PAGES) {
    const wanted = pattern.split("/").filter(Boolean);
    if (wanted.length !== parts.length) continue;
    const parameters = {};
    if (wanted.every((w, i) => (w.startsWith(":") ? ((parameters[w.slice(1)] = parts[i]), true) : w === parts[i]))) return [page, parameters];
  }
  return [() => <><h1>No such page</h1><Empty>There is nothing here. <a href="#/">Go to the overview.</a></Empty></>, {}];
}

function useLocation() {
  const [place, setPlace] = useState(readLocation);
  useEffect(() => {
    const changed = () => setPlace(readLocation());
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  return place;
}

const Lost = () => {
  const state = useConnection();
  const [late, setLate] = useState(false);
  useEffect(() => {
    setLate(false);
    if (state !== "lost") return undefined;
    const timer = setTimeout(() => setLate(true), 1500);
    return () => clearTimeout(timer);
  }, [state]);
  return (
    <div class="lost" role="status">
      {late && "The connection to the server is lost. What you see may be old; it is being tried again."}
    </div>
  );
};

const Frame = ({ place, children }) => {
  const main = useRef(null);
  const here = place.parts.slice(0, 2).join("/");
  useEffect(() => {
    scrollTo(0, 0);
    main.current?.focus({ preventScroll: true });
  }, [here]);
  return (
    <div class="frame">
      <a class="skip" href="#main" onClick={(event) => { event.preventDefault(); main.current.focus(); }}>
        Skip to the page
      </a>
      <header class="side">
        <a class="brand" href="#/">
          <span class="logo" aria-hidden="true" />
          Rounds
        </a>
        <Finder />
        <nav aria-label="Main">
          {NAVIGATION.filter(([, , , permission]) => !permission || may(permission)).map(([path, title, sign]) => (
            <a key={path} href={`#/${path}`} aria-current={(place.parts[0] || "") === path ? "page" : undefined}>
              <Icon name={sign} />
              {title}
            </a>
          ))}
        </nav>
        <a class="me" href="#/account" aria-current={place.parts[0] === "account" ? "page" : undefined}>
          <b>{session.current.name}</b>
          <span class="quiet">{session.current.role}</span>
        </a>
      </header>
      <Lost />
      <main id="main" tabIndex="-1" ref={main}>{children}</main>
    </div>
  );
};

const App = () => {
  const place = useLocation();
  const [state, setState] = useState("asking");
  const begin = (opened) => {
    session.current = opened;
    startLive();
    setState("in");
  };
  session.onEnd = () => {
    session.current = null;
    stopLive();
    setState("out");
  };
  useEffect(() => {
    get("/session").then(begin, () => setState("out"));
  }, []);
  if (place.parts[0] === "setup" && state !== "in") return <SetUp secret={place.parts[1] || ""} onIn={begin} />;
  if (state === "asking") return null;
  if (state === "out") return <SignIn onIn={begin} />;
  const [Page, parameters] = findPage(place.parts[0] === "setup" ? [] : place.parts);
  return (
    <Frame place={place}>
      <Page key={`${place.parts[0]}/${place.parts[1] || ""}`} {...parameters} search={place.search} />
    </Frame>
  );
};

render(<App />, document.getElementById("app"));
