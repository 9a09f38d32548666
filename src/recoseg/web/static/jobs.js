/** Follows the server's jobs and shows their progress. */

import { ApiError, call, capital, sleep } from "./api.js";
import { duration, h, show } from "./dom.js";

const QUICK = 250;
const SLOW = 1000;
const HIDDEN = 4000;

export const over = (job) => ["done", "failed", "cancelled"].includes(job.state);

/**
 * Watch a job to its end.
 *
 * @param {string} id
 * @param {(job: object) => void} onStep called with every state, the last one included
 * @returns {Promise<object>} the job once done
 * @throws {ApiError} with the server's sentence if it failed; AbortError if it was cancelled
 */
export async function follow(id, onStep, signal) {
  for (let looks = 0; ; looks += 1) {
    const job = await call(`/jobs/${encodeURIComponent(id)}`, { signal });
    onStep(job);
    if (job.state === "done") return job;
    if (job.state === "failed") throw new ApiError(job.error ?? "The work failed.", 500);
    if (job.state === "cancelled") throw new DOMException("Cancelled.", "AbortError");
    await sleep(document.hidden ? HIDDEN : looks < 12 ? QUICK : SLOW, signal);
  }
}

export const cancel = (id) => call(`/jobs/${encodeURIComponent(id)}`, { method: "DELETE" });

/** All jobs, newest first. */
export const list = () => call("/jobs");

/** A bar with words and a button to stop; `update(job)` moves it, `update(null)` hides it. */
export function progressBar(box, what, onStop, stopWord = "Cancel") {
  const bar = h("progress", { "aria-label": what });
  const text = h("span", { className: "said" });
  const stop = h("button", { type: "button", className: "quiet", onclick: onStop }, stopWord);
  box.replaceChildren(h("div", { className: "row between" }, text, stop), bar);
  const pace = meter();
  return (job) => {
    show(box, job !== null && !over(job));
    if (job === null || over(job)) return;
    stop.disabled = job.stopping === true;
    if (job.total && job.state === "running") {
      bar.max = job.total;
      bar.value = job.done;
    } else bar.removeAttribute("value");
    text.textContent = job.stopping ? "Stopping …" : sentence(job, pace(job));
  };
}

function sentence(job, rate) {
  if (job.state === "waiting") return "Waiting for its turn …";
  const parts = [capital(job.label || "Working")];
  // A photo's steps are of no interest, and of no even pace.
  if (job.kind === "segment") return parts[0];
  if (job.total) parts.push(`${job.done.toLocaleString("en")} of ${job.total.toLocaleString("en")}`);
  if (rate && job.kind === "index") parts.push(`${rate.toFixed(rate < 10 ? 1 : 0)} photos a second`);
  if (job.seconds_left !== null && job.seconds_left !== undefined) parts.push(`${duration(job.seconds_left)} left`);
  return parts.join(" · ");
}

/** Steps per second over what has been seen of a job, or null before there is anything to tell. */
function meter() {
  let first = null;
  return (job) => {
    const now = performance.now() / 1000;
    if (job.state !== "running" || first === null || first.done > job.done) {
      first = { done: job.done, at: now };
      return null;
    }
    return job.done > first.done && now > first.at ? (job.done - first.done) / (now - first.at) : null;
  };
}
