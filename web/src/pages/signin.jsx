import { useState } from "preact/hooks";
import { call } from "../api.js";
import { useTitle } from "../hooks.js";
import { Field, ProblemBox } from "../ui.jsx";

const Door = ({ title, children }) => (
  <main class="door">
    <div class="card">
      <h1>
        <span class="logo" aria-hidden="true" /> {title}
      </h1>
      {children}
    </div>
  </main>
);

function useForm(send) {
  const [problem, setProblem] = useState(null);
  const [busy, setBusy] = useState(false);
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    setProblem(null);
    try {
      await send();
    } catch (failure) {
      setProblem(failure);
      setBusy(false);
    }
  };
  return { problem, busy, submit };
}

export const SignIn = ({ onIn }) => {
  useTitle("Sign in");
  const [name, setName] = useState("");
  const [password, setPassword] = useState("");
  const { problem, busy, submit } = useForm(async () => onIn(await call("POST", "/session", { name, password })));
  return (
    <Door title="Rounds">
      <p class="quiet">Federated learning between institutions that keep their data.</p>
      <form onSubmit={submit}>
        <Field label="Name">
          {(props) => <input {...props} autocomplete="username" autofocus required value={name} onInput={(e) => setName(e.target.value)} />}
        </Field>
        <Field label="Password">
          {(props) => (
            <input {...props} type="password" autocomplete="current-password" required value={password} onInput={(e) => setPassword(e.target.value)} />
          )}
        </Field>
        <ProblemBox problem={problem} />
        <button class="primary" disabled={busy}>
          {busy ? "Signing in…" : "Sign in"}
        </button>
      </form>
      <p class="help">No account? An administrator makes one with “rounds user add NAME” and gives you a link.</p>
    </Door>
  );
};

export const SetUp = ({ secret, onIn }) => {
  useTitle("Choose a password");
  const [password, setPassword] = useState("");
  const [again, setAgain] = useState("");
  const unlike = again && again !== password ? "The two are not the same." : null;
  const { problem, busy, submit } = useForm(async () => {
    const opened = await call("POST", "/session/setup", { setup: secret, password });
    location.replace("#/");
    onIn(opened);
  });
  return (
    <Door title="Choose a password">
      <p class="quiet">This link opens your account once. A few words in a row make a good password.</p>
      <form onSubmit={submit}>
        <Field label="Password" help="10 to 200 characters" problem={problem?.field === "password" ? problem.message : null}>
          {(props) => (
            <input {...props} type="password" autocomplete="new-password" minLength="10" maxLength="200" required value={password} onInput={(e) => setPassword(e.target.value)} />
          )}
        </Field>
        <Field label="Once more" problem={unlike}>
          {(props) => <input {...props} type="password" autocomplete="new-password" required value={again} onInput={(e) => setAgain(e.target.value)} />}
        </Field>
        <ProblemBox problem={problem?.field ? null : problem} />
        <button class="primary" disabled={busy || !password || again !== password}>
          Open the account
        </button>
      </form>
    </Door>
  );
};
