/** Gives the chosen bank the thresholds that "unknown" needs. */

import { call, form } from "./api.js";
import { $, announce, clear, fail, show } from "./dom.js";
import { cancel, follow, progressBar } from "./jobs.js";
import { state } from "./state.js";

export const STUDENT = "student";
let bank = null;
let work = null;
let after = () => {};

/** @param {() => Promise<void>} done called when a bank has changed */
export function startCalibrating(done) {
  after = done;
  $("calibrate").addEventListener("click", calibrate);
}

/** Say what the bank chosen lacks, if it lacks anything. */
export function showCalibration(chosen) {
  bank = chosen;
  const lacks = !chosen.calibrated;
  show($("unknown-help"), lacks);
  show($("calibrate"), lacks && chosen.id !== STUDENT);
  $("unknown-help").textContent = chosen.id === STUDENT ? "A student has no unknown."
    : "This needs a bank that is calibrated on an index of photos; this one is not yet.";
}

async function calibrate() {
  if (work) return;
  const box = $("calibrate-progress");
  clear($("calibrate-problem"));
  work = { job: null };
  const move = progressBar(box, "Calibrating", () => work?.job && cancel(work.job).catch(() => {}));
  move({ state: "waiting" });
  try {
    const indexes = (await call("/indexes")).filter(({ photos }) => photos > 0);
    const index = indexes.find(({ id }) => id === state.concepts.index) ?? indexes[0];
    if (!index) throw new Error("There is no index to calibrate on; make one under Archive.");
    const asked = await call(`/banks/${encodeURIComponent(bank.id)}/calibrate`, { form: form({ index: index.id }) });
    work.job = asked.job;
    await follow(asked.job, move);
    announce("The bank is calibrated");
    await after();
  } catch (error) {
    fail($("calibrate-problem"), error);
  } finally {
    work = null;
    move(null);
  }
}
