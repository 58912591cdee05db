// Calls of the REST API as this browser's session; what goes wrong is a Problem (RFC 9457).
export class Problem extends Error {
  constructor(status, body) {
    super(body?.detail || `The server answered ${status}.`);
    this.status = status;
    this.field = body?.field;
    this.faults = body?.errors || (body?.field ? [{ field: body.field, message: body.detail }] : []);
  }
}

export const session = { current: null, onEnd: () => {} };

export const may = (permission) => Boolean(session.current?.may.includes(permission));

export async function call(method, path, body, headers = {}) {
  let response;
  try {
    response = await fetch(`/api/v1${path}`, {
      method,
      headers: {
        ...(body === undefined ? {} : { "Content-Type": "application/json" }),
        ...(session.current && method !== "GET" ? { "Rounds-CSRF": session.current.csrf } : {}),
        ...headers,
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new Problem(0, { detail: "The server cannot be reached; it will be tried again." });
  }
  const text = await response.text();
  let answer = null;
  try {
    answer = text ? JSON.parse(text) : null;
  } catch {
    throw new Problem(response.status, { detail: "The server's answer cannot be read." });
  }
  if (response.ok) return answer;
  if (response.status === 401 && session.current) session.onEnd();
  throw new Problem(response.status, answer);
}

export const get = (path) => call("GET", path);
export const post = (path, body = {}) => call("POST", path, body);

export const query = (parameters) => {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return given.length ? `?${new URLSearchParams(given)}` : "";
};
