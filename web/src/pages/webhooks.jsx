// Other systems that are told what happens to jobs.
import { useEffect, useState } from "preact/hooks";
import { call, get, post } from "../api.js";
import { useResource } from "../hooks.js";
import { Ago, Card, Code, Confirm, Field, Loading, Maker, ProblemBox, State, Table } from "../ui.jsx";

// As server/observe/webhook_parts.c has them; the first seven are what one gets unasked.
const KINDS = [
  "running", "paused", "resumed", "completed", "failed", "aborted", "task_failed", "queued", "round_started", "aggregating", "aggregated",
  "task_leased", "task_retry", "task_released", "result", "metric_missing", "note", "log",
];

const Kinds = ({ chosen, onChange }) => (
  <fieldset class="choices">
    <legend>Events</legend>
    {KINDS.map((kind) => (
      <label key={kind}>
        <input type="checkbox" checked={chosen.includes(kind)} onChange={() => onChange(chosen.includes(kind) ? chosen.filter((k) => k !== kind) : [...chosen, kind])} />
        {kind}
      </label>
    ))}
  </fieldset>
);

const AddWebhook = ({ onClose }) => {
  const [url, setUrl] = useState("https://");
  const [events, setEvents] = useState(KINDS.slice(0, 7));
  const shown = (made) => (
    <div class="body">
      <p>The receiver checks each delivery with this secret, as Standard Webhooks 1.0 describes. It is not shown again.</p>
      <Code label="Secret" text={made.secret} />
    </div>
  );
  return (
    <Maker title="Add a webhook" verb="Add it" onClose={onClose} send={() => post("/webhooks", { url, events })} shown={shown}>
      {(problem) => (
        <>
          <Field label="URL" help="Gets a POST of JSON for each event" problem={problem?.field === "url" ? problem.message : null}>
            {(props) => <input {...props} autofocus required type="url" value={url} onInput={(e) => setUrl(e.target.value)} />}
          </Field>
          <Kinds chosen={events} onChange={setEvents} />
          {problem?.field === "events" && <p class="problem" role="alert">{problem.message}</p>}
        </>
      )}
    </Maker>
  );
};

const How = ({ hook }) => (
  <>
    <State state={hook.state} />{" "}
    <span class="quiet">
      {hook.state === "failed" ? hook.reason : hook.tried_fault ? <>{hook.tried_fault} <Ago time={hook.tried} />{hook.state === "active" && "; is tried again"}</> : hook.delivered ? <>last taken <Ago time={hook.delivered} /></> : "nothing sent yet"}
    </span>
  </>
);

export const Webhooks = () => {
  const hooks = useResource("/webhooks");
  const [open, setOpen] = useState(null);
  const [problem, setProblem] = useState(null);
  const [said, setSaid] = useState("");
  useEffect(() => {
    const timer = setInterval(hooks.reload, 5000);
    return () => clearInterval(timer);
  }, [hooks.reload]);
  const close = () => {
    setOpen(null);
    hooks.reload();
  };
  const act = async (work) => {
    try {
      setProblem(null);
      await work();
    } catch (failure) {
      setProblem(failure);
    }
    hooks.reload();
  };
  // The server tries soon; what came of it stands in the row then.
  const ping = (hook) =>
    act(async () => {
      setSaid("Sending a test…");
      const asked = await post(`/webhooks/${hook.id}/ping`);
      for (let tries = 0; tries < 60; tries++) {
        const now = await get(`/webhooks/${hook.id}`);
        if (now.tried !== asked.tried) return setSaid(now.tried_fault ? `The test was not taken: ${now.tried_fault}.` : "The receiver took the test.");
        await new Promise((done) => setTimeout(done, 500));
      }
      setSaid("The server has not tried yet.");
    });
  const columns = [
    { title: "URL", class: "main", value: (hook) => <span class="wrap">{hook.url}</span> },
    { title: "Events", value: (hook) => <span class="wrap">{hook.events.join(", ")}</span> },
    { title: "How it goes", value: (hook) => <How hook={hook} /> },
    { title: "Taken", class: "number", value: (hook) => hook.deliveries },
    { title: "", class: "actions", value: (hook) => (
      <>
        <button type="button" class="small" onClick={() => ping(hook)}>Test</button>
        {hook.state === "active"
          ? <button type="button" class="small" onClick={() => act(() => call("PATCH", `/webhooks/${hook.id}`, { state: "paused" }))}>Pause</button>
          : <button type="button" class="small" onClick={() => act(() => call("PATCH", `/webhooks/${hook.id}`, { state: "active" }))}>Resume</button>}
        <button type="button" class="small danger" onClick={() => setOpen(hook)}>Remove</button>
      </>
    ) },
  ];
  return (
    <Card title="Webhooks" tools={<button type="button" onClick={() => setOpen("add")}>Add a webhook</button>}>
      <ProblemBox problem={problem || hooks.problem} />
      <p class="help body" role="status">{said}</p>
      {hooks.data ? <Table label="Webhooks" columns={columns} rows={hooks.data.items} keyOf={(hook) => hook.id} empty="No other system is told of events." /> : <Loading problem={hooks.problem} />}
      {open === "add" && <AddWebhook onClose={close} />}
      {open?.id && (
        <Confirm title="Remove the webhook?" verb="Remove it" act={() => call("DELETE", `/webhooks/${open.id}`)} onClose={close}>
          <p>{open.url} is told nothing any more.</p>
        </Confirm>
      )}
    </Card>
  );
};
