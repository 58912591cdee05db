// Versions, health, licences; the API and the guides, to be read without a network.
import { useEffect, useState } from "preact/hooks";
import { get } from "../api.js";
import { useResource, useTitle } from "../hooks.js";
import { Card, Empty, Fact, Loading, ProblemBox, Tabs } from "../ui.jsx";

/* global GUIDES, LICENCES */

function useFile(path) {
  const [state, setState] = useState({ data: null, problem: null });
  useEffect(() => {
    fetch(path).then((answer) => answer.json()).then((data) => setState({ data, problem: null }), (problem) => setState({ data: null, problem }));
  }, [path]);
  return state;
}

const Health = () => {
  const { data: version } = useResource("/version");
  const [ready, setReady] = useState("asking");
  useEffect(() => {
    fetch("/readyz").then((answer) => setReady(answer.ok ? "ready" : "not ready"), () => setReady("cannot be reached"));
  }, []);
  return (
    <Card title="This server">
      <dl class="facts">
        <Fact name="Version">{version?.version ?? "…"}</Fact>
        <Fact name="Protocol with sites">{version?.protocol ?? "…"}</Fact>
        <Fact name="Health">{ready}</Fact>
        <Fact name="Fingerprint of its authority"><span class="mono">{version?.fingerprint ?? "…"}</span></Fact>
        <Fact name="For Prometheus"><span class="mono">{location.origin}/metrics</span></Fact>
        <Fact name="OpenAPI"><a href="/api/v1/openapi.json">openapi.json</a>, <a href="/api/v1/job.schema.json">job.schema.json</a></Fact>
      </dl>
    </Card>
  );
};

const Licences = () => {
  const { data, problem } = useFile(LICENCES);
  if (!data) return problem ? <ProblemBox problem={problem} /> : <Loading />;
  return (
    <Card title="Licences" wide>
      <details>
        <summary>Rounds: Apache-2.0</summary>
        <pre tabIndex="0">{data.own}</pre>
      </details>
      {data.bundled.map((one) => (
        <details key={one.name}>
          <summary>{one.name} {one.version}: {one.licence}</summary>
          <pre tabIndex="0">{one.text}</pre>
        </details>
      ))}
      <p class="help">The server also uses libmicrohttpd (LGPL-2.1), GnuTLS (LGPL-2.1), SQLite (public domain), jansson (MIT), OpenBLAS (BSD-3-Clause), OpenSSL (Apache-2.0) and libcurl (curl), as Debian ships them.</p>
    </Card>
  );
};

function resolve(api, schema) {
  return schema?.$ref ? schema.$ref.split("/").slice(1).reduce((at, part) => at[part], api) : schema;
}

const typeOf = (schema) => {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.type === "array") return `array of ${typeOf(schema.items) || "anything"}`;
  return [schema.type || (schema.allOf ? "object" : "anything")].flat().join(" or ");
};

const Members = ({ api, schema, label }) => {
  const whole = resolve(api, schema);
  const parts = whole?.allOf ? whole.allOf.map((part) => resolve(api, part)) : [whole];
  const rows = parts.flatMap((part) => Object.entries(part?.properties || {}).map(([name, own]) => [name, own, part.required?.includes(name)]));
  if (!rows.length) return <p class="quiet">{label}: {typeOf(whole) || "nothing"}</p>;
  return (
    <div class="scroll" tabIndex="0" role="region" aria-label={label}>
      <table class="rows">
        <caption>{label}{schema.$ref ? `: ${typeOf(schema)}` : ""}</caption>
        <thead><tr><th scope="col">Member</th><th scope="col">Type</th><th scope="col">What</th></tr></thead>
        <tbody>{rows.map(([name, own, required]) => <tr key={name}><td class="mono">{name}{required ? "" : "?"}</td><td>{typeOf(own)}</td><td>{own.description}</td></tr>)}</tbody>
      </table>
    </div>
  );
};

const Operation = ({ api, method, path, operation, shared }) => {
  const [open, setOpen] = useState(false);
  const body = operation.requestBody?.content?.["application/json"]?.schema;
  const [status, answer] = Object.entries(operation.responses).find(([code]) => code.startsWith("2")) || [];
  const schema = answer?.content?.["application/json"]?.schema;
  const parameters = [...(shared || []), ...(operation.parameters || [])];
  return (
    <li>
      <details onToggle={(e) => setOpen(e.currentTarget.open)}>
        <summary><span class={`method ${method}`}>{method.toUpperCase()}</span> <span class="mono">{path}</span> <span class="quiet">{operation.summary}</span></summary>
        {open && (
          <div class="body">
            {operation.description && <p>{operation.description}</p>}
            {operation.security?.length === 0 && <p class="quiet">Needs no credentials.</p>}
            {parameters.length > 0 && (
              <ul>{parameters.map((p) => <li key={p.name}><span class="mono">{p.name}</span> <span class="quiet">({p.in}{p.required ? ", needed" : ""})</span> {p.description}</li>)}</ul>
            )}
            {body && <Members api={api} schema={body} label="Body" />}
            {schema ? <Members api={api} schema={schema} label={`Answer ${status}`} /> : <p class="quiet">Answer {status}</p>}
          </div>
        )}
      </details>
    </li>
  );
};

const Api = () => {
  const [state, setState] = useState({ api: null, problem: null });
  const [text, setText] = useState("");
  useEffect(() => {
    get("/openapi.json").then((api) => setState({ api, problem: null }), (problem) => setState({ api: null, problem }));
  }, []);
  if (!state.api) return state.problem ? <ProblemBox problem={state.problem} /> : <Loading />;
  const fits = (path, operation) => !text || `${path} ${operation.summary}`.toLowerCase().includes(text.toLowerCase());
  const all = Object.entries(state.api.paths).flatMap(([path, item]) =>
    Object.entries(item).filter(([method]) => method !== "parameters").map(([method, operation]) => ({ path, method, operation, shared: item.parameters })));
  const shown = all.filter(({ path, operation }) => fits(path, operation));
  return (
    <Card title="REST API" wide>
      <form class="filter" role="search" onSubmit={(e) => e.preventDefault()}>
        <input type="search" aria-label="Search in the API" placeholder="Search" value={text} onInput={(e) => setText(e.target.value)} />
      </form>
      {shown.length === 0 ? <Empty>Nothing fits.</Empty> : <ul class="plain api">{shown.map((one) => <Operation key={`${one.method} ${one.path}`} api={state.api} {...one} />)}</ul>}
    </Card>
  );
};

const Guides = ({ name }) => {
  const { data, problem } = useFile(GUIDES);
  if (!data) return problem ? <ProblemBox problem={problem} /> : <Loading />;
  const guide = data.find((one) => one.path === name) || data[0];
  return (
    <>
      <Tabs label="Guides" tabs={data.map((one) => [one.path, one.title])} current={guide.path} href={(path) => `#/about/guide/${encodeURIComponent(path)}`} />
      {/* Made from the repository's own text when the dashboard was built. */}
      <Card class="guide"><div dangerouslySetInnerHTML={{ __html: guide.html }} /></Card>
    </>
  );
};

export const About = ({ view = "server", name }) => {
  useTitle("About");
  return (
    <>
      <h1>About</h1>
      <Tabs tabs={[["server", "Server"], ["api", "API"], ["guide", "Guides"]]} current={view} href={(tab) => `#/about/${tab}`} />
      {view === "api" ? <Api /> : view === "guide" ? <Guides name={name} /> : <div class="grid"><Health /><Licences /></div>}
    </>
  );
};
