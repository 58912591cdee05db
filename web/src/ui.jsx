// The pieces that pages are made of.
import { useEffect, useId, useLayoutEffect, useRef, useState } from "preact/hooks";
import { ago, moment } from "./format.js";
import { useNow } from "./hooks.js";
import { Icon } from "./icons.jsx";

export const State = ({ state }) => (
  <span class={`state state-${state}`}>
    <Icon name={state} size={13} />
    {state}
  </span>
);

export const Progress = ({ value, of, label }) => (
  <div class="progress" role="progressbar" aria-valuemin="0" aria-valuemax={of} aria-valuenow={value} aria-label={label}>
    <div style={{ width: `${of ? Math.min(100, (100 * value) / of) : 0}%` }} />
  </div>
);

export const Ago = ({ time }) => {
  const now = useNow(5000);
  return time ? (
    <time dateTime={time} title={moment(time)}>
      {ago(time, now)}
    </time>
  ) : (
    <span class="quiet">never</span>
  );
};

export const Card = ({ title, tools, children, class: more = "", wide }) => {
  const id = useId();
  return (
    <section class={`card ${wide ? "wide" : ""} ${more}`} aria-labelledby={title ? id : undefined}>
      {(title || tools) && (
        <header>
          {title && <h2 id={id}>{title}</h2>}
          <div class="tools">{tools}</div>
        </header>
      )}
      {children}
    </section>
  );
};

export const Empty = ({ children }) => <p class="empty">{children}</p>;

export const ProblemBox = ({ problem, retry }) =>
  problem ? (
    <div class="problem" role="alert">
      <span>{problem.message}</span>
      {retry && (
        <button type="button" class="small" onClick={retry}>
          Try again
        </button>
      )}
    </div>
  ) : null;

// Waits a moment before it says so: most answers are there sooner. What has failed is not loading any more.
export const Loading = ({ problem }) => {
  const [shown, show] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => show(true), 300);
    return () => clearTimeout(timer);
  }, []);
  if (problem) return null;
  return (
    <p class="empty" role="status">
      {shown ? "Loading…" : "\u00a0"}
    </p>
  );
};

// columns: [{title, value(row), class?, sort?}]. Stacks into cards on a narrow screen.
export const Table = ({ columns, rows, keyOf, label, empty = "Nothing yet.", sort, onSort, onRow }) => (
  <div class="scroll" tabIndex="0" role="region" aria-label={`${label}, table`}>
    <table class="rows">
      <thead>
        <tr>
          {columns.map((column) => (
            <th
              key={column.title}
              scope="col"
              class={column.class}
              aria-sort={!column.sort ? undefined : sort === column.sort ? "ascending" : sort === `-${column.sort}` ? "descending" : "none"}
            >
              {column.sort ? (
                <button type="button" class="sort" onClick={() => onSort(sort === `-${column.sort}` ? column.sort : `-${column.sort}`)}>
                  {column.title}
                  {sort === column.sort && <Icon name="up" size={13} />}
                  {sort === `-${column.sort}` && <Icon name="down" size={13} />}
                </button>
              ) : (
                column.title || <span class="hidden">Actions</span>
              )}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {rows.map((row) => (
          <tr key={keyOf(row)} class={onRow ? onRow(row) : undefined}>
            {columns.map((column) => (
              <td key={column.title} class={column.class} data-label={column.title}>
                {column.value(row)}
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
    {rows.length === 0 && <Empty>{empty}</Empty>}
  </div>
);

// A modal dialog of the browser's own: keyboard, focus and Escape are its business, from its first rendering on.
export const Dialog = ({ title, onClose, children }) => {
  const element = useRef(null);
  const id = useId();
  useLayoutEffect(() => {
    element.current.showModal();
  }, []);
  return (
    <dialog ref={element} aria-labelledby={id} onClose={onClose}>
      <header>
        <h2 id={id}>{title}</h2>
        <button type="button" class="quiet" aria-label="Close" onClick={() => element.current.close()}>
          <Icon name="close" />
        </button>
      </header>
      {children}
    </dialog>
  );
};

// Asks before something that cannot be taken back; `act` may fail, and says so here.
// A form in a dialog that ends by showing a secret once.
export const Maker = ({ title, verb, send, shown, children, onClose }) => {
  const [made, setMade] = useState(null);
  const [problem, setProblem] = useState(null);
  const submit = async (event) => {
    event.preventDefault();
    try {
      setMade(await send());
    } catch (failure) {
      setProblem(failure);
    }
  };
  return (
    <Dialog title={title} onClose={onClose}>
      {made ? (
        shown(made)
      ) : (
        <form onSubmit={submit}>
          {children(problem)}
          <ProblemBox problem={problem?.field ? null : problem} />
          <footer>
            <button type="button" onClick={onClose}>Cancel</button>
            <button class="primary">{verb}</button>
          </footer>
        </form>
      )}
    </Dialog>
  );
};

export const Confirm = ({ title, children, verb, act, onClose }) => {
  const [problem, setProblem] = useState(null);
  const [busy, setBusy] = useState(false);
  const go = async () => {
    setBusy(true);
    try {
      await act();
      onClose();
    } catch (failure) {
      setProblem(failure);
      setBusy(false);
    }
  };
  return (
    <Dialog title={title} onClose={onClose}>
      <div class="body">{children}</div>
      <ProblemBox problem={problem} />
      <footer>
        <button type="button" onClick={onClose}>
          Cancel
        </button>
        <button type="button" class="danger" onClick={go} disabled={busy}>
          {verb}
        </button>
      </footer>
    </Dialog>
  );
};

export const Copy = ({ text, label = "Copy" }) => {
  const [done, setDone] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    setDone(true);
    setTimeout(() => setDone(false), 2000);
  };
  return (
    <button type="button" class="small" onClick={copy}>
      {done ? "Copied" : label}
    </button>
  );
};

export const Code = ({ text, label }) => (
  <div class="code">
    <pre tabIndex="0" aria-label={label}>
      <code>{text}</code>
    </pre>
    <Copy text={text} />
  </div>
);

export const Tabs = ({ tabs, current, href, label = "Views" }) => (
  <nav class="tabs" aria-label={label}>
    {tabs.map(([name, title]) => (
      <a key={name} href={href(name)} aria-current={name === current ? "page" : undefined}>
        {title}
      </a>
    ))}
  </nav>
);

export const Field = ({ label, help, problem, children, required }) => {
  const id = useId();
  return (
    <div class={`field ${problem ? "wrong" : ""}`}>
      <label for={id}>
        {label}
        {required && <span class="needed"> required</span>}
      </label>
      {children({ id, "aria-describedby": `${id}-help`, "aria-invalid": problem ? "true" : undefined })}
      <p id={`${id}-help`} class={problem ? "fault" : "help"}>
        {problem || help}
      </p>
    </div>
  );
};

export const Fact = ({ name, children }) => (
  <div class="fact">
    <dt>{name}</dt>
    <dd>{children}</dd>
  </div>
);
