import { useState } from "preact/hooks";
import { call, post, session } from "../api.js";
import { moment } from "../format.js";
import { useTitle } from "../hooks.js";
import { Card, Fact, Field, ProblemBox } from "../ui.jsx";

const Password = () => {
  const [old, setOld] = useState("");
  const [password, setPassword] = useState("");
  const [problem, setProblem] = useState(null);
  const change = async (event) => {
    event.preventDefault();
    try {
      await post("/session/password", { old, password });
      session.onEnd();
    } catch (failure) {
      setProblem(failure);
    }
  };
  return (
    <Card title="Password">
      <form onSubmit={change}>
        <Field label="Present password">
          {(props) => <input {...props} type="password" autocomplete="current-password" required value={old} onInput={(e) => setOld(e.target.value)} />}
        </Field>
        <Field label="New password" help="10 to 200 characters" problem={problem?.field === "password" ? problem.message : null}>
          {(props) => <input {...props} type="password" autocomplete="new-password" required value={password} onInput={(e) => setPassword(e.target.value)} />}
        </Field>
        <ProblemBox problem={problem?.field ? null : problem} />
        <button class="primary">Change it and sign in again</button>
      </form>
    </Card>
  );
};

export const Account = () => {
  useTitle("Your account");
  const leave = async (everywhere) => {
    await call("DELETE", `/session${everywhere ? "?everywhere=true" : ""}`);
    session.onEnd();
  };
  return (
    <>
      <h1>Your account</h1>
      <div class="grid">
        <Card title="Session">
          <dl class="facts">
            <Fact name="Name">{session.current.name}</Fact>
            <Fact name="Role">{session.current.role}</Fact>
            <Fact name="Signed in until">{moment(session.current.expires)}</Fact>
            <Fact name="May">{session.current.may.filter((p) => p !== "self").join(", ")}</Fact>
          </dl>
          <p class="buttons">
            <button type="button" onClick={() => leave(false)}>
              Sign out
            </button>
            <button type="button" onClick={() => leave(true)}>
              Sign out everywhere
            </button>
          </p>
        </Card>
        <Password />
      </div>
    </>
  );
};
