/** Talks to the server: one way in, errors as its sentences, patience when it is busy or gone. */

export class ApiError extends Error {
  constructor(message, status) {
    super(capital(message));
    this.name = "ApiError";
    this.status = status;
  }
}

/** The server's sentences begin small, as those of the command line do; a file's name stays. */
export const capital = (text) => text.replace(/^[a-z]+(?=[ ,;])/, (word) => word[0].toUpperCase() + word.slice(1));

const FIRST_WAIT = 500;
const LONGEST_WAIT = 8000;

/** "link" events tell {state: "ok" | "lost" | "busy", wait: seconds, message}. */
export const link = new EventTarget();

/** What the server takes; a browser may show a mere network error where an upload is cut off. */
export const limits = { bytes: Infinity };

function checkSize(form) {
  const bytes = [...form.values()].reduce((sum, value) => sum + (value instanceof Blob ? value.size : 0), 0);
  const megabytes = (count) => (count / 2 ** 20).toFixed(count < 2 ** 20 ? 2 : 0);
  if (bytes <= limits.bytes) return;
  throw new ApiError(`That has ${megabytes(bytes)} MB, more than the ${megabytes(limits.bytes)} MB that the server takes; shrink it.`, 413);
}

const sleepers = new Set();
const troubled = new Map();
let calls = 0;

/** End every wait between two tries. */
export function retryNow() {
  for (const wake of [...sleepers]) wake();
}
window.addEventListener("online", retryNow);

export function sleep(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const end = (settle) => () => {
      clearTimeout(timer);
      sleepers.delete(wake);
      signal?.removeEventListener("abort", abort);
      settle();
    };
    const wake = end(resolve);
    const abort = end(() => reject(new DOMException("Stopped.", "AbortError")));
    const timer = setTimeout(wake, milliseconds);
    sleepers.add(wake);
    if (signal?.aborted) abort();
    else signal?.addEventListener("abort", abort);
  });
}

function tell(call, trouble) {
  if (trouble) troubled.set(call, trouble);
  else if (!troubled.delete(call)) return;
  const all = [...troubled.values()];
  const worst = all.find((one) => one.state === "lost") ?? all[0] ?? { state: "ok" };
  link.dispatchEvent(new CustomEvent("link", { detail: worst }));
}

async function sentence(response) {
  try {
    const body = await response.json();
    if (typeof body.error === "string") return body.error;
  } catch { /* not JSON: said below */ }
  return `The server answered ${response.status} without a reason; look at its log.`;
}

/** One try: {response}, or {trouble} that another try may mend. */
async function attempt(path, init) {
  let response;
  try {
    response = await fetch(path, init);
  } catch (error) {
    if (init.signal?.aborted) throw new DOMException("Stopped.", "AbortError");
    return { trouble: { state: "lost", message: error.message } };
  }
  if (response.status !== 503) return { response };
  const wait = 1000 * Number(response.headers.get("Retry-After") ?? 0);
  return { trouble: { state: "busy", wait, message: await sentence(response) } };
}

/**
 * Ask until the server answers; waits grow from half a second to eight.
 *
 * @param {string} path under /api
 * @param {{method?: string, json?: object, form?: FormData, signal?: AbortSignal}} asked
 * @returns {Promise<any>} the answer's JSON, a Blob of an image, or null
 */
export async function call(path, { method, json, form, signal } = {}) {
  const init = { signal, cache: "no-store", headers: {}, method: method ?? (json || form ? "POST" : "GET") };
  if (json) {
    init.body = JSON.stringify(json);
    init.headers["Content-Type"] = "application/json";
  } else if (form) init.body = form;
  if (form) checkSize(form);
  const me = ++calls;
  try {
    for (let wait = FIRST_WAIT; ; wait = Math.min(2 * wait, LONGEST_WAIT)) {
      const { response, trouble } = await attempt(`/api${path}`, init);
      if (response) {
        tell(me, null);
        return await answer(response);
      }
      const pause = Math.min(Math.max(wait, trouble.wait ?? 0), LONGEST_WAIT);
      tell(me, { ...trouble, wait: pause / 1000 });
      await sleep(pause, signal);
    }
  } finally {
    tell(me, null);
  }
}

async function answer(response) {
  if (!response.ok) throw new ApiError(await sentence(response), response.status);
  const kind = response.headers.get("Content-Type") ?? "";
  if (kind.startsWith("image/")) return response.blob();
  return kind.includes("json") ? response.json() : null;
}

/** An address under /api with its parts encoded. */
export const at = (parts, query = {}) => {
  const asked = new URLSearchParams(query).toString();
  return `/api/${parts.map(encodeURIComponent).join("/")}${asked ? `?${asked}` : ""}`;
};

/** A multipart form: lists become JSON, files stay files (a list of files repeats its name). */
export function form(fields) {
  const data = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    if (value === null || value === undefined) continue;
    const values = Array.isArray(value) && value[0] instanceof Blob ? value : [value];
    for (const one of values) {
      if (one instanceof Blob) data.append(name, one, one.name ?? "photo.jpg");
      else data.append(name, typeof one === "object" ? JSON.stringify(one) : String(one));
    }
  }
  return data;
}
