// The hospitals: who is there, with what; inviting, draining and removing them.
import { useState } from "preact/hooks";
import { call, may, post } from "../api.js";
import { bytes, duration, moment } from "../format.js";
import { useResource, useThrottle, useTitle } from "../hooks.js";
import { useLive } from "../live.js";
import { Ago, Card, Code, Confirm, Dialog, Fact, Field, Loading, ProblemBox, Table } from "../ui.jsx";

const days = (time) => Math.floor((Date.parse(time) - Date.now()) / 86400e3);

// What a site chose to tell of a dataset; silence is not "none".
const whatIsTold = (table) => [
  ["rows", table?.rows?.toLocaleString("en-US")], ["label", table?.label], ["columns", table?.columns?.join(", ")],
].map(([what, told]) => `${what}: ${told ?? "not told"}`).join("; ");

export const Lamp = ({ site }) => (
  <span class={`lamp ${site.state === "removed" ? "off" : site.connected ? "up" : "down"}`}>
    {site.state === "removed" ? "removed" : site.state === "draining" ? (site.now ? "called off" : "draining") : site.connected ? "connected" : "away"}
  </span>
);

const Certificate = ({ site }) => (
  <span class={days(site.certificate_expires) < 25 ? "soon" : ""} title={moment(site.certificate_expires)}>
    {days(site.certificate_expires) < 0 ? "has ended" : `${days(site.certificate_expires)} days`}
  </span>
);

const Invite = ({ name: given = "", onClose }) => {
  const [name, setName] = useState(given);
  const [made, setMade] = useState(null);
  const [problem, setProblem] = useState(null);
  const [replace, setReplace] = useState(false);
  const invite = async (event) => {
    event.preventDefault();
    try {
      setMade(await post("/invitations", { site: name, replace }));
    } catch (failure) {
      setProblem(failure);
    }
  };
  return (
    <Dialog title={made ? `Invitation for ${made.site}` : "Invite a site"} onClose={onClose}>
      {made ? (
        <div class="body">
          <p>Give this to the site’s administrator over a channel you trust. It is good once, until {moment(made.expires)}, and is not shown again.</p>
          <Code label="Invitation" text={made.invitation} />
          <p>There, on the site’s machine:</p>
          <Code label="Command" text={`rounds-site join ${location.origin}`} />
          <p class="help">It asks for the invitation, makes a key that never leaves the machine, and stores the certificate.</p>
        </div>
      ) : (
        <form onSubmit={invite}>
          <Field label="The site’s name" help="1 to 63 letters, digits, “.”, “_” or “-”" problem={problem?.message}>
            {(props) => <input {...props} autofocus required value={name} onInput={(e) => setName(e.target.value)} />}
          </Field>
          {(problem?.status === 409 || replace) && (
            <label><input type="checkbox" checked={replace} onChange={(e) => setReplace(e.target.checked)} /> Another machine takes its place: the present certificate is refused once that one has joined</label>
          )}
          <footer>
            <button type="button" onClick={onClose}>Cancel</button>
            <button class="primary">Make an invitation</button>
          </footer>
        </form>
      )}
    </Dialog>
  );
};

// What becomes of the work that it has is a choice; what came of it is told by job.
const Drain = ({ site, onClose }) => {
  const [now, setNow] = useState(false);
  const [done, setDone] = useState(null);
  const choice = (value, words) => (
    <label><input type="radio" name="drain" checked={now === value} onChange={() => setNow(value)} /> {words}</label>
  );
  if (done) return (
    <Dialog title={`${site.name} is drained`} onClose={onClose}>
      <div class="body">
        {done.skipped.length + done.waiting.length === 0 && <p>It had no work.</p>}
        <ul>
          {done.skipped.map((entry) => <li key={entry.job}><a href={`#/jobs/${entry.job}`}>{entry.name}</a>: round {entry.round} goes on without it.</li>)}
          {done.waiting.map((entry) => <li key={entry.job}><a href={`#/jobs/${entry.job}`}>{entry.name}</a> cannot go on without it and waits, unless you abort it: {entry.reason}</li>)}
        </ul>
      </div>
    </Dialog>
  );
  let answer = null;
  const drain = async () => {
    answer = await call("PATCH", `/sites/${encodeURIComponent(site.name)}`, { state: "draining", now });
  };
  return (
    <Confirm title={`Drain ${site.name}?`} verb="Drain" act={drain} onClose={() => (answer?.now ? setDone(answer) : onClose())}>
      <p>It takes part in no new job from now on.</p>
      {choice(false, "Let it finish: jobs that it is in go on, with it")}
      {choice(true, "Now: what it works on is called off within ten seconds, and rounds go on without it until it takes part again")}
    </Confirm>
  );
};

function useSites(path) {
  const sites = useResource(path);
  const reload = useThrottle(sites.reload, 1000);
  useLive((kind) => kind === "site" && reload());
  return sites;
}

export const Sites = () => {
  useTitle("Sites");
  const { data, problem, reload } = useSites("/sites");
  const [inviting, setInviting] = useState(false);
  const [removed, showRemoved] = useState(false);
  const columns = [
    { title: "Site", class: "main", value: (site) => <a href={`#/sites/${encodeURIComponent(site.name)}`}>{site.name}</a> },
    { title: "State", value: (site) => <Lamp site={site} /> },
    { title: "Seen", value: (site) => (site.connected ? "now" : <Ago time={site.seen} />) },
    { title: "Slots", class: "number", value: (site) => site.slots },
    { title: "Datasets", value: (site) => site.datasets.join(", ") || "–" },
    { title: "Round trip", class: "number", value: (site) => duration(site.rtt_seconds) },
    { title: "Fetched", class: "number", value: (site) => bytes(site.received_bytes) },
    { title: "Delivered", class: "number", value: (site) => bytes(site.sent_bytes) },
    { title: "Certificate", value: (site) => <Certificate site={site} /> },
    { title: "Version", value: (site) => site.version || "–" },
  ];
  const rows = data?.items.filter((site) => removed || site.state !== "removed") || [];
  const hidden = data?.items.some((site) => site.state === "removed");
  return (
    <>
      <div class="heading">
        <h1>Sites</h1>
        {may("site.manage") && <button type="button" class="primary" onClick={() => setInviting(true)}>Invite a site</button>}
      </div>
      <ProblemBox problem={problem} retry={reload} />
      <Card>
        {data ? <Table label="Sites" columns={columns} rows={rows} keyOf={(site) => site.name} empty="No site has joined yet." /> : <Loading problem={problem} />}
        {hidden && (
          <p class="more">
            <button type="button" class="small" onClick={() => showRemoved(!removed)}>{removed ? "Hide removed sites" : "Show removed sites"}</button>
          </p>
        )}
      </Card>
      {inviting && <Invite onClose={() => { setInviting(false); reload(); }} />}
    </>
  );
};

export const Site = ({ name }) => {
  useTitle(name);
  const { data: site, problem, reload } = useSites(`/sites/${encodeURIComponent(name)}`);
  const [open, setOpen] = useState("");
  const [failure, setFailure] = useState(null);
  if (!site) return problem ? <ProblemBox problem={problem} retry={reload} /> : <Loading />;
  const change = async (state) => {
    try {
      await call("PATCH", `/sites/${encodeURIComponent(name)}`, { state });
      setFailure(null);
      reload();
    } catch (problem) {
      setFailure(problem);
    }
  };
  return (
    <>
      <p class="crumbs"><a href="#/sites">Sites</a></p>
      <div class="heading">
        <h1>{site.name} <Lamp site={site} /></h1>
        {may("site.manage") && (
          <span class="buttons">
            {(site.state === "active" || (site.state === "draining" && !site.now)) && <button type="button" onClick={() => setOpen("drain")}>{site.state === "active" ? "Drain" : "Drain now"}</button>}
            {site.state === "draining" && <button type="button" onClick={() => change("active")}>Let it take part again</button>}
            <button type="button" onClick={() => setOpen("invite")}>Invite again</button>
            {site.state !== "removed" && <button type="button" class="danger" onClick={() => setOpen("remove")}>Remove</button>}
          </span>
        )}
      </div>
      <ProblemBox problem={failure} />
      <div class="grid">
        <Card title="There">
          <dl class="facts">
            {site.doubled && <Fact name="A second program"><span class="bad">asks for its work since {moment(site.doubled)} and is refused: it has the same identity</span></Fact>}
            <Fact name="Seen">{site.connected ? "now" : <Ago time={site.seen} />}</Fact>
            <Fact name="Version">{site.version || "–"}</Fact>
            <Fact name="Round trip">{duration(site.rtt_seconds)}</Fact>
            <Fact name="Models fetched">{bytes(site.received_bytes)}</Fact>
            <Fact name="Updates delivered">{bytes(site.sent_bytes)}</Fact>
            <Fact name="Jobs at once">{site.slots}</Fact>
          </dl>
        </Card>
        <Card title="Offers">
          <dl class="facts">
            <Fact name="Datasets">{site.datasets.join(", ") || "–"}</Fact>
            <Fact name="Executors">{site.executors.join(", ") || "–"}</Fact>
            {site.datasets.map((name) => <Fact key={name} name={name}>{whatIsTold(site.tables?.[name])}</Fact>)}
          </dl>
          <p><a href={`#/jobs?site=${encodeURIComponent(site.name)}`}>Its jobs</a></p>
        </Card>
        <Card title="Certificate">
          <dl class="facts">
            <Fact name="Ends">{moment(site.certificate_expires)} (<Certificate site={site} />)</Fact>
            <Fact name="Serial"><span class="mono">{site.serial}</span></Fact>
            <Fact name="Joined">{moment(site.created)}</Fact>
            <Fact name="Key for other sites">{site.keys ? <span class="mono" title={site.keys.words}>{site.keys.fingerprint}</span> : "–"}</Fact>
          </dl>
        </Card>
      </div>
      {open === "invite" && <Invite name={site.name} onClose={() => setOpen("")} />}
      {open === "drain" && <Drain site={site} onClose={() => { setOpen(""); reload(); }} />}
      {open === "remove" && (
        <Confirm title={`Remove ${site.name}?`} verb="Remove the site" act={async () => { await call("DELETE", `/sites/${encodeURIComponent(name)}`); reload(); }} onClose={() => setOpen("")}>
          <p>Its certificate is refused from now on, and what it works on fails. It can be invited again later.</p>
        </Confirm>
      )}
    </>
  );
};
