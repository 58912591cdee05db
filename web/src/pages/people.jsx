// Who else has to do with this server: accounts of people, tokens of scripts, systems that are told of events.
import { useState } from "preact/hooks";
import { call, may, post, session } from "../api.js";
import { moment } from "../format.js";
import { useResource, useTitle } from "../hooks.js";
import { Ago, Card, Code, Confirm, Empty, Field, Loading, Maker, ProblemBox, Table } from "../ui.jsx";
import { Webhooks } from "./webhooks.jsx";

const RoleChoice = ({ value, onChange, ...props }) => (
  <select {...props} value={value} onChange={(e) => onChange(e.target.value)}>
    <option value="viewer">viewer: looks</option>
    <option value="admin">admin: does everything</option>
  </select>
);

const Link = ({ made }) => (
  <div class="body">
    <p>Give this link to {made.name} over a channel you trust. It opens the account once, until {moment(made.expires)}, and is not shown again.</p>
    <Code label="Set-up link" text={made.setup_link} />
  </div>
);

const AddUser = ({ onClose }) => {
  const [name, setName] = useState("");
  const [role, setRole] = useState("viewer");
  return (
    <Maker title="Add a person" verb="Make the account" onClose={onClose} send={() => post("/users", { name, role })} shown={(made) => <Link made={made} />}>
      {(problem) => (
        <>
          <Field label="Name" help="1 to 63 letters, digits, “.”, “_” or “-”" problem={problem?.field === "name" ? problem.message : null}>
            {(props) => <input {...props} autofocus required value={name} onInput={(e) => setName(e.target.value)} />}
          </Field>
          <Field label="Role">{(props) => <RoleChoice {...props} value={role} onChange={setRole} />}</Field>
        </>
      )}
    </Maker>
  );
};

const AddToken = ({ onClose }) => {
  const [name, setName] = useState("");
  const [role, setRole] = useState("viewer");
  const [days, setDays] = useState("90");
  const shown = (made) => (
    <div class="body">
      <p>The token of {made.name} ({made.role}). It is not shown again.</p>
      <Code label="Token" text={made.token} />
    </div>
  );
  return (
    <Maker title="Make a token" verb="Make the token" onClose={onClose} send={() => post("/tokens", { name, role, expires_days: Number(days) })} shown={shown}>
      {(problem) => (
        <>
          <Field label="Name" help="What it is for" problem={problem?.field === "name" ? problem.message : null}>
            {(props) => <input {...props} autofocus required value={name} onInput={(e) => setName(e.target.value)} />}
          </Field>
          <Field label="Role">{(props) => <RoleChoice {...props} value={role} onChange={setRole} />}</Field>
          <Field label="Good for" help="days; 0: for ever" problem={problem?.field === "expires_days" ? problem.message : null}>
            {(props) => <input {...props} type="number" min="0" max="36500" required value={days} onInput={(e) => setDays(e.target.value)} />}
          </Field>
        </>
      )}
    </Maker>
  );
};

export const People = () => {
  useTitle("People, tokens, webhooks");
  const users = useResource("/users");
  const tokens = useResource("/tokens");
  const [open, setOpen] = useState(null);
  const [problem, setProblem] = useState(null);
  const close = () => {
    setOpen(null);
    users.reload();
    tokens.reload();
  };
  const changeRole = async (name, role) => {
    try {
      await call("PATCH", `/users/${name}`, { role });
      setProblem(null);
    } catch (failure) {
      setProblem(failure);
    }
    users.reload();
  };
  const userColumns = [
    { title: "Name", class: "main", value: (user) => <>{user.name}{user.name === session.current.name && <span class="quiet"> (you)</span>}</> },
    { title: "Role", value: (user) => (
      <select aria-label={`Role of ${user.name}`} value={user.role} onChange={(e) => changeRole(user.name, e.target.value)}>
        <option>viewer</option>
        <option>admin</option>
      </select>
    ) },
    { title: "Account", value: (user) => user.state },
    { title: "Signed in", value: (user) => <Ago time={user.signed_in} /> },
    { title: "", class: "actions", value: (user) => (
      <>
        <button type="button" class="small" onClick={() => setOpen({ what: "reset", name: user.name })}>New link</button>
        <button type="button" class="small danger" onClick={() => setOpen({ what: "remove", name: user.name })}>Remove</button>
      </>
    ) },
  ];
  const tokenColumns = [
    { title: "Name", class: "main", value: (token) => token.name },
    { title: "Role", value: (token) => token.role },
    { title: "Made", value: (token) => <Ago time={token.created} /> },
    { title: "Ends", value: (token) => (token.expires ? moment(token.expires) : "never") },
    { title: "", class: "actions", value: (token) => <button type="button" class="small danger" onClick={() => setOpen({ what: "revoke", name: token.name, id: token.id })}>Revoke</button> },
  ];
  if (!may("account.manage")) return <><h1>People, tokens, webhooks</h1><Empty>Your role may not see accounts. An administrator may.</Empty></>;
  return (
    <>
      <h1>People, tokens, webhooks</h1>
      <ProblemBox problem={problem || users.problem || tokens.problem} />
      <Card title="People" tools={<button type="button" class="primary" onClick={() => setOpen({ what: "add" })}>Add a person</button>}>
        {users.data ? <Table label="People" columns={userColumns} rows={users.data.items} keyOf={(user) => user.name} /> : <Loading problem={users.problem} />}
      </Card>
      <Card title="Tokens" tools={<button type="button" onClick={() => setOpen({ what: "token" })}>Make a token</button>}>
        {tokens.data ? <Table label="Tokens" columns={tokenColumns} rows={tokens.data.items} keyOf={(token) => token.id} /> : <Loading problem={tokens.problem} />}
      </Card>
      {may("webhook.manage") && <Webhooks />}
      {open?.what === "add" && <AddUser onClose={close} />}
      {open?.what === "token" && <AddToken onClose={close} />}
      {open?.what === "reset" && (
        <Maker title={`A new link for ${open.name}?`} verb="Make a new link" onClose={close} send={() => post(`/users/${open.name}/reset`)} shown={(made) => <Link made={made} />}>
          {() => <p class="body">The old password stops working and all sessions of {open.name} end.</p>}
        </Maker>
      )}
      {open?.what === "remove" && (
        <Confirm title={`Remove ${open.name}?`} verb="Remove the account" act={() => call("DELETE", `/users/${open.name}`)} onClose={close}>
          <p>The account and its sessions end at once. Jobs stay.</p>
        </Confirm>
      )}
      {open?.what === "revoke" && (
        <Confirm title={`Revoke the token ${open.name}?`} verb="Revoke it" act={() => call("DELETE", `/tokens/${open.id}`)} onClose={close}>
          <p>Whatever uses it is refused from now on.</p>
        </Confirm>
      )}
    </>
  );
};
