// The models of the rounds: to take away, and to look into.
import { useState } from "preact/hooks";
import { may } from "../api.js";
import { Histogram } from "../charts/bars.jsx";
import { bytes, number, shortDigest } from "../format.js";
import { useResource, useThrottle } from "../hooks.js";
import { useLive } from "../live.js";
import { Card, Copy, Fact, Loading, ProblemBox, Table } from "../ui.jsx";

const listed = (value) => (Array.isArray(value) ? value.join(", ") : value ? "agreed, not told" : "–");

// What the sites have agreed on before they trained; a site that differs fails with the column's name in the events.
const Schema = ({ schema }) => (
  <dl class="facts">
    <Fact name="Columns, in order">{listed(schema.features)}</Fact>
    {Object.entries(schema.categories || {}).map(([column, values]) => <Fact key={column} name={`Categories of ${column}`}>{listed(values)}</Fact>)}
    <Fact name="Label">{schema.label || "–"}</Fact>
    <Fact name="Classes">{listed(schema.classes)}</Fact>
  </dl>
);

const Tensors = ({ digest }) => {
  const { data, problem } = useResource(`/blobs/${digest}/tensors?histogram=30`);
  if (!data) return problem ? <ProblemBox problem={problem} /> : <Loading />;
  const columns = [
    { title: "Tensor", class: "main mono", value: (t) => t.name },
    { title: "Shape", class: "mono", value: (t) => (t.shape.length ? t.shape.join(" × ") : "one number") },
    { title: "Type", value: (t) => t.dtype },
    { title: "Bytes", class: "number", value: (t) => bytes(t.bytes) },
    { title: "Mean", class: "number", value: (t) => number(t.summary.mean) },
    { title: "Deviation", class: "number", value: (t) => number(t.summary.sd) },
    { title: "Values", value: (t) => (t.summary.min === null ? "–" : <Histogram counts={t.summary.histogram} low={t.summary.min} high={t.summary.max} label={`Histogram of ${t.name}: from ${number(t.summary.min)} to ${number(t.summary.max)}`} height={36} width={140} />) },
  ];
  return (
    <>
      {data.schema ? <Schema schema={data.schema} /> : <p class="help">It says nothing of the columns that it was trained on.</p>}
      <Table label="Tensors" columns={columns} rows={data.items} keyOf={(t) => t.name} empty="The file holds no tensor." />
    </>
  );
};

const NAMES = { initial: "begun with", model: "round", best: "best, round" };

export const Models = ({ job }) => {
  const { data, problem, reload } = useResource(`/jobs/${job.id}/models`);
  const again = useThrottle(reload, 2000);
  const [open, setOpen] = useState(null);
  useLive((kind, event) => kind === "event" && event.job === job.id && event.kind === "aggregated" && again());
  if (!data) return problem ? <ProblemBox problem={problem} /> : <Loading />;
  const rows = [...data.items].reverse();
  const columns = [
    { title: "Model", class: "main", value: (m) => `${NAMES[m.role] || m.role} ${m.role === "initial" ? "" : m.round}` },
    { title: "Size", class: "number", value: (m) => bytes(m.size) },
    { title: "Digest", class: "mono", value: (m) => <span title={m.digest}>{shortDigest(m.digest)} <Copy text={m.digest} /></span> },
    {
      title: "",
      class: "actions",
      value: (m) =>
        may("blob.read") && (
          <>
            <button type="button" class="small" aria-expanded={open === m} onClick={() => setOpen(open === m ? null : m)}>Look into it</button>
            <a class="button small" href={`/api/v1/blobs/${m.digest}`} download={`${job.name.replace(/[^\w-]+/g, "-")}-round-${m.round}.safetensors`}>Download</a>
          </>
        ),
    },
  ];
  return (
    <>
      <Card>
        <Table label="Models" columns={columns} rows={rows} keyOf={(m) => `${m.role} ${m.round} ${m.digest}`} empty="No model has been made yet." />
        {!may("blob.read") && <p class="help">Your role may see which models there are, not their weights.</p>}
      </Card>
      {open && (
        <Card title={`Tensors of ${NAMES[open.role] || open.role} ${open.round}`} tools={<button type="button" class="small" onClick={() => setOpen(null)}>Close</button>}>
          <Tensors digest={open.digest} />
        </Card>
      )}
    </>
  );
};
