// From the first model to the last: what went into each round, and the proof of it.
import { useEffect, useState } from "preact/hooks";
import { get, post } from "../api.js";
import { number, plural, shortDigest } from "../format.js";
import { useResource, useThrottle } from "../hooks.js";
import { useLive } from "../live.js";
import { Card, Empty, Loading, ProblemBox } from "../ui.jsx";

const Proof = ({ job }) => {
  const [state, setState] = useState({ busy: false, report: null, problem: null });
  useEffect(() => setState({ busy: false, report: null, problem: null }), [job.id]);
  const prove = async () => {
    setState({ busy: true, report: null, problem: null });
    try {
      const { id } = await post(`/jobs/${job.id}/verifications`);
      for (;;) {
        const { report, state: now } = await get(`/jobs/${job.id}/verifications/${id}`);
        if (report || now !== "running") return setState({ busy: false, report, problem: null });
        await new Promise((resolve) => setTimeout(resolve, 300));
      }
    } catch (problem) {
      return setState({ busy: false, report: null, problem });
    }
  };
  const bad = state.report?.rounds.filter((r) => !r.good) || [];
  return (
    <Card title="Proof">
      <p>Every round leaves a manifest that names what went in, what came out, and the manifest before it. The server can compute all of it again.</p>
      {job.state === "completed" && job.verified === null && <p class="quiet">Nobody has asked for the proof since the job completed.</p>}
      {job.verified === true && <p class="allwell">The last proof found it sound.</p>}
      {job.verified === false && <p class="fault">The last proof found it broken.</p>}
      <p class="buttons"><button type="button" class="primary" onClick={prove} disabled={state.busy}>{state.busy ? "Recomputing…" : "Recompute it"}</button></p>
      <ProblemBox problem={state.problem} />
      {state.report && (
        <p role="status" class={bad.length ? "fault" : "allwell"}>
          {bad.length ? `Broken: ${bad.map((r) => `round ${r.round} ${r.fault}`).join("; ")}` : `The lineage is sound: ${plural(state.report.rounds.length, "round")}, ${state.report.rounds.filter((r) => r.recomputed).length} of them recomputed from their updates.`}
        </p>
      )}
    </Card>
  );
};

const Round = ({ round }) => {
  const manifest = round.manifest;
  return (
    <li>
      <div class="line">
        <b>Round {round.number}</b>
        <span class="mono" title={round.model}>{shortDigest(round.model)}</span>
      </div>
      {manifest && (
        <details>
          <summary>{manifest.method} of {plural(manifest.inputs.length, "update")}{manifest.step ? `, then a step of ${manifest.step.kind || manifest.step.optimizer || "the server"}` : ""}</summary>
          <table class="rows">
            <thead><tr><th scope="col">Site</th><th scope="col" class="number">Weight</th><th scope="col">Update</th></tr></thead>
            <tbody>
              {manifest.inputs.map((input) => (
                <tr key={input.site}><td>{input.site}</td><td class="number">{number(input.weight)}</td><td class="mono" title={input.update}>{shortDigest(input.update)}</td></tr>
              ))}
            </tbody>
          </table>
          <p class="help">manifest <span class="mono">{shortDigest(round.manifest_digest)}</span>, after <span class="mono">{shortDigest(manifest.previous)}</span></p>
        </details>
      )}
    </li>
  );
};

export const Lineage = ({ job }) => {
  const [after, setAfter] = useState(Math.max(-1, job.round - 30));
  const { data, problem, reload } = useResource(`/jobs/${job.id}/rounds?limit=1000&cursor=${after}`);
  const again = useThrottle(reload, 1500);
  useLive((kind, event) => kind === "event" && event.job === job.id && event.kind === "aggregated" && again());
  const rounds = data?.items.filter((round) => round.model).reverse() || [];
  return (
    <div class="grid">
      <Proof job={job} />
      <Card title="From last to first" wide>
        <ProblemBox problem={problem} />
        {!data ? <Loading problem={problem} /> : rounds.length === 0 ? <Empty>No round is done yet.</Empty> : <ol class="plain chain">{rounds.map((round) => <Round key={round.number} round={round} />)}</ol>}
        {after > -1 && <p class="more"><button type="button" onClick={() => setAfter(Math.max(-1, after - 100))}>Earlier rounds</button></p>}
      </Card>
    </div>
  );
};
