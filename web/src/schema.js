// What the form needs of JSON Schema: the rules that job.schema.json uses, said as the server says them.

// The fault of one value, or null.
export function faultOf(schema, value) {
  if (value === undefined) return null;
  switch (schema.type) {
    case "integer":
    case "number": {
      if (typeof value !== "number" || !Number.isFinite(value) || (schema.type === "integer" && !Number.isInteger(value)))
        return `must be a ${schema.type === "integer" ? "whole " : ""}number`;
      if (schema.minimum !== undefined && value < schema.minimum) return `must be at least ${schema.minimum}`;
      if (schema.exclusiveMinimum !== undefined && value <= schema.exclusiveMinimum) return `must be above ${schema.exclusiveMinimum}`;
      if (schema.maximum !== undefined && value > schema.maximum) return `must be at most ${schema.maximum}`;
      return null;
    }
    case "string":
      if (typeof value !== "string") return "must be text";
      if (schema.enum && !schema.enum.includes(value)) return `must be one of ${schema.enum.join(", ")}`;
      if (schema.minLength && value.length < schema.minLength) return "is needed";
      if (schema.maxLength !== undefined && value.length > schema.maxLength) return `may have at most ${schema.maxLength} characters`;
      if (schema.pattern && !new RegExp(schema.pattern).test(value)) return value ? "must be letters, digits, “.”, “_” or “-”" : "is needed";
      return null;
    case "array": {
      if (!Array.isArray(value)) return "must be a list";
      if (value.length < (schema.minItems || 0)) return `must have at least ${schema.minItems} entries`;
      if (schema.uniqueItems && new Set(value).size < value.length) return "names something twice";
      const wrong = value.find((item) => faultOf(schema.items || {}, item));
      return wrong === undefined ? null : `“${wrong}” ${faultOf(schema.items, wrong)}`;
    }
    case "object":
      return value && typeof value === "object" && !Array.isArray(value) ? null : "must be a JSON object";
    default:
      return null;
  }
}

// Every fault of an object's members, as {"params.rounds": "must be ..."}.
export function faultsOf(schema, value, path = "") {
  const found = {};
  for (const name of schema.required || []) if (value[name] === undefined || value[name] === "") found[path + name] = "is needed";
  for (const [name, given] of Object.entries(value)) {
    const own = schema.properties?.[name];
    if (!own || found[path + name]) continue;
    const fault = faultOf(own, given);
    if (fault) found[path + name] = fault;
    else if (own.properties) Object.assign(found, faultsOf(own, given, `${path}${name}.`));
  }
  return found;
}

export const paramsOf = (schema, workflow) => schema.allOf.find((rule) => rule.if.properties.workflow.const === workflow)?.then.properties.params;
