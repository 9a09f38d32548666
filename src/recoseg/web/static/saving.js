/** Puts a draft into a bank, and leads on to trying it. */

import { call } from "./api.js";
import { $, clear, fail, h, options, rest, rests, show } from "./dom.js";
import { save, state, tie } from "./state.js";

const NEW = "";
const TAKEN = 409;
const mine = state.concepts;
let draft = null;
let tryIt = null;

export function startSaving(go) {
  tryIt = go;
  tie($("new-bank"), mine, "newBank");
  tie($("save-name"), mine, "name");
  $("save-bank").addEventListener("change", () => { mine.bank = $("save-bank").value; save(); askName(); });
  $("save-form").addEventListener("submit", (event) => { event.preventDefault(); put(); });
  $("replace").addEventListener("click", () => put(true));
}

function askName() {
  show($("new-bank-field"), $("save-bank").value === NEW);
  $("new-bank").required = $("save-bank").value === NEW;
}

/** Offer to save `built`, or hide the offer if it is null. */
export function showSave(built) {
  show($("save-form"), built !== null);
  if (built === null || built.draft === draft?.draft) return;
  const first = draft === null && mine.draft === built.draft;
  draft = built;
  mine.draft = built.draft;
  if (!first || !mine.name) mine.name = built.name;
  $("save-name").value = mine.name;
  save();
  clear($("save-problem"));
  for (const id of ["saved", "replace"]) show($(id), false);
  fillBanks().catch((error) => fail($("save-problem"), error));
}

async function fillBanks() {
  const banks = (await call("/banks")).filter(({ shipped }) => !shipped);
  const items = [...banks.map(({ id, name }) => ({ value: id, text: name })), { value: NEW, text: "New bank …" }];
  mine.bank = options($("save-bank"), items, mine.bank);
  askName();
}

const bankAsked = () => $("save-bank").value || mine.newBank.trim();

async function put(replace = false) {
  const button = $("save-form").querySelector("[type=submit]");
  if (rests(button)) return;
  clear($("save-problem"));
  show($("replace"), false);
  rest(button, true);
  try {
    const bank = bankAsked();
    const saved = await call(`/drafts/${encodeURIComponent(draft.draft)}/save`, { json: { bank, name: mine.name.trim(), replace } });
    mine.bank = saved.bank;
    mine.newBank = $("new-bank").value = "";
    save();
    await fillBanks();
    $("saved").replaceChildren(`Saved ${saved.concept} in ${$("save-bank").selectedOptions[0].text}. `,
      h("button", { type: "button", className: "quiet", onclick: () => tryIt(saved.bank, saved.concept) }, "Try it"));
    show($("saved"), true);
  } catch (error) {
    fail($("save-problem"), error);
    show($("replace"), error.status === TAKEN && bankAsked() !== NEW);
  } finally {
    rest(button, false);
  }
}
