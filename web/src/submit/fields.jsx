// A form made of a JSON Schema: one field for each property, its meaning below it, its default within.
import { useEffect, useState } from "preact/hooks";
import { Field } from "../ui.jsx";

// How a value is edited as text, and what the text means; undefined: the default.
function toText(schema, value) {
  if (value === undefined) return "";
  if (schema.type === "array") return value.join(", ");
  return String(value);
}
function fromText(schema, text) {
  if (text === "") return undefined;
  if (schema.type === "integer" || schema.type === "number") return Number.isNaN(Number(text)) ? text : Number(text);
  if (schema.type === "array") return text.split(",").map((part) => part.trim()).filter(Boolean);
  return text;
}

const show = (value) => (Array.isArray(value) ? value.join(", ") : String(value));

export const Input = ({ name, schema, value, onChange, fault, options, required }) => {
  const [text, setText] = useState(() => toText(schema, value));
  useEffect(() => {
    if (JSON.stringify(fromText(schema, text)) !== JSON.stringify(value)) setText(toText(schema, value));
  }, [value]);
  const put = (next) => {
    setText(next);
    onChange(fromText(schema, next));
  };
  const preset = schema.default === undefined ? "" : show(schema.default);
  return (
    <Field label={name.replaceAll("_", " ")} help={schema.description} problem={fault} required={required}>
      {(props) => {
        if (schema.type === "boolean")
          return (
            <select {...props} value={value === undefined ? "" : String(value)} onChange={(e) => onChange(e.target.value === "" ? undefined : e.target.value === "true")}>
              <option value="">{`default: ${preset === "true" ? "yes" : "no"}`}</option>
              <option value="true">yes</option>
              <option value="false">no</option>
            </select>
          );
        if (schema.enum)
          return (
            <select {...props} value={value ?? ""} onChange={(e) => put(e.target.value)}>
              <option value="">{`default: ${preset}`}</option>
              {schema.enum.map((choice) => <option key={choice}>{choice}</option>)}
            </select>
          );
        return (
          <>
            <input
              {...props}
              name={name}
              list={options ? `options-${name}` : undefined}
              inputMode={schema.type === "integer" || schema.type === "number" ? "decimal" : undefined}
              placeholder={preset}
              value={text}
              onInput={(e) => put(e.target.value)}
            />
            {options && <datalist id={`options-${name}`}>{options.map((option) => <option key={option} value={option} />)}</datalist>}
          </>
        );
      }}
    </Field>
  );
};

// A job's `trainer` as JSON, for executors of whose parameters nothing is known here.
export const JsonObject = ({ name, help, value, onChange, fault, setBroken }) => {
  const [text, setText] = useState(() => (Object.keys(value || {}).length ? JSON.stringify(value, null, 2) : ""));
  const [wrong, setWrong] = useState(null);
  useEffect(() => () => setBroken(false), []);
  const put = (next) => {
    setText(next);
    try {
      onChange(next.trim() ? JSON.parse(next) : undefined);
      setWrong(null);
      setBroken(false);
    } catch {
      setWrong("is not JSON yet");
      setBroken(true);
    }
  };
  return (
    <Field label={name} help={help} problem={wrong || fault}>
      {(props) => <textarea {...props} rows="6" spellcheck={false} class="mono" value={text} onInput={(e) => put(e.target.value)} />}
    </Field>
  );
};

// Many fields: those that people set first, the others folded. `faultAt(path)` with the path of a member.
export const Fields = ({ properties, first, value, onChange, faultAt, path, required = [], more }) => {
  const input = (name) => (
    <Input key={path + name} name={name} schema={properties[name]} value={value?.[name]} onChange={(v) => onChange(name, v)} fault={faultAt(path + name)} required={required.includes(name)} />
  );
  const shown = Object.keys(properties).filter((name) => first.includes(name) || required.includes(name) || faultAt(path + name) || value?.[name] !== undefined);
  const folded = Object.keys(properties).filter((name) => !shown.includes(name));
  return (
    <>
      <div class="fields">{shown.map(input)}</div>
      {folded.length > 0 && (
        <details>
          <summary>{more}: {folded.slice(0, 3).map((name) => name.replaceAll("_", " ")).join(", ")}{folded.length > 3 && ` and ${folded.length - 3} more`}</summary>
          <div class="fields">{folded.map(input)}</div>
        </details>
      )}
    </>
  );
};
