/** How to segment: sliders for the CRF's strength, its temperature, and what is left unknown. */

import { STUDENT, showCalibration } from "./calibrate.js";
import { $, percent } from "./dom.js";
import { save, state } from "./state.js";

const mine = state.segment;
const ofStudent = () => mine.bank === STUDENT;
/** The sliders' left ends, which mean "off": one step before the least that can be asked for. */
const OFF = { strength: 0, strictness: 0.49 };

/** The temperature of the chosen bank's recipe. */
let usual = 0.1;

/** Each slider: what it shows of the state, what it makes of its place, and its words. */
const SLIDERS = {
  strength: {
    // A student's CRF is on or off.
    place: () => ofStudent() ? Math.sign(mine.strength) : mine.strength,
    take: (place) => place,
    words: () => mine.strength === OFF.strength ? "off" : ofStudent() ? "on"
      : mine.strength === 1 ? "usual" : `× ${mine.strength}`,
  },
  // The place is the exponent: a temperature is felt in ratios.
  temperature: {
    place: () => Math.log10(mine.temperature ?? usual),
    take: (place) => Number((10 ** place).toPrecision(2)),
    words: () => mine.temperature === null ? "usual" : mine.temperature.toPrecision(2),
  },
  strictness: {
    place: () => mine.strictness ?? OFF.strictness,
    take: (place) => place <= OFF.strictness ? null : place,
    words: () => mine.strictness === null || $("strictness").disabled ? "off" : percent(mine.strictness),
  },
};

/**
 * Tie the sliders to the state.
 *
 * @param {() => void} moved called while one is moved
 * @param {() => void} settled called when one was let go
 */
export function startSettings(moved, settled) {
  for (const [name, { take }] of Object.entries(SLIDERS)) {
    $(name).addEventListener("input", () => {
      mine[name] = take(Number($(name).value));
      say(name);
      save();
      moved();
    });
    $(name).addEventListener("change", settled);
  }
  $("settings").open = mine.settings;
  $("settings").addEventListener("toggle", () => { mine.settings = $("settings").open; save(); });
}

function say(name) {
  const words = SLIDERS[name].words();
  $(`${name}-said`).textContent = words;
  $(name).setAttribute("aria-valuetext", words);
}

/** Offer what a bank or the student can be asked for. */
export function suit(bank) {
  Object.assign($("strength"), ofStudent() ? { max: 1, step: 1 } : { max: 3, step: 0.1 });
  $("strictness").disabled = !bank.calibrated;
  $("temperature").disabled = ofStudent();
  usual = bank.temperature ?? usual;
  for (const [name, { place }] of Object.entries(SLIDERS)) {
    $(name).value = place();
    say(name);
  }
  showCalibration(bank);
}

/** The fields of a request to segment. */
export function settings() {
  const refine = mine.strength > OFF.strength;
  const common = { bank: mine.bank, concepts: mine.chosen[mine.bank] ?? [], refine };
  if (ofStudent()) return common;
  const strictness = $("strictness").disabled ? null : mine.strictness;
  return { ...common, strength: refine ? mine.strength : 1, temperature: mine.temperature, strictness };
}
