/* The server's answers. Paths are relative, so that the page works behind a proxy that adds a prefix.

Every failure is an `ApiError` with one line to show; `status` is 0 where no answer came. `onKeyNeeded` is called when the
server wants a key; the key lives in the session's storage and is sent to this server alone.
*/

const KEY = "stackwright-api-key";

export class ApiError extends Error {
  constructor(status, message) {
    super(message.replace(/\s+/g, " ").trim());
    this.status = status;
  }
}

let keyNeeded = () => {};

export function onKeyNeeded(listener) {
  keyNeeded = listener;
}

export function saveKey(key) {
  sessionStorage.setItem(KEY, key);
}

async function send(path, body, signal) {
  const headers = {};
  const key = sessionStorage.getItem(KEY);
  if (key) headers.Authorization = `Bearer ${key}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, {
      method: body === undefined ? "GET" : "POST",
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "the server does not answer");
  }
  if (response.ok) return response;
  if (response.status === 401) keyNeeded();
  throw new ApiError(response.status, await messageOf(response));
}

async function messageOf(response) {
  const wait = response.headers.get("Retry-After");
  const again = response.status === 429 && wait ? `; try again in ${wait} s` : "";
  try {
    return (await response.json()).error.message + again;
  } catch {
    return `the server answered ${response.status}${again}`;
  }
}

export async function get(path, signal) {
  return (await send(path, undefined, signal)).json();
}

export async function post(path, body, signal) {
  return (await send(path, body, signal)).json();
}

/** Yield the JSON of each server-sent event up to `[DONE]`. */
export async function* stream(path, body, signal) {
  const response = await send(path, body, signal);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) throw new ApiError(0, "the answer ended too early");
      held += value;
      const events = held.split(/\r?\n\r?\n/);
      held = events.pop();
      for (const event of events) {
        const data = dataOf(event);
        if (data === "[DONE]") return;
        if (data === "") continue;
        const parsed = JSON.parse(data);
        if (parsed.error) throw new ApiError(parsed.error.code ?? 0, parsed.error.message);
        yield parsed;
      }
    }
  } catch (error) {
    if (error instanceof ApiError || error.name === "AbortError") throw error;
    throw new ApiError(0, "the connection broke");
  } finally {
    reader.cancel().catch(() => {}); // of a stream that is over already
  }
}

function dataOf(event) {
  const lines = event.split(/\r?\n/).filter((line) => line.startsWith("data:"));
  return lines.map((line) => line.slice(5).trimStart()).join("\n");
}
