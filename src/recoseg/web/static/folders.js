/** Walks the folders that the server may index. */

import { at, call } from "./api.js";
import { $, clear, fail, h, options, plural, show } from "./dom.js";
import { save, state } from "./state.js";

const mine = state.archive;
let named = "";

export function startFolders() {
  $("root").addEventListener("change", () => {
    mine.root = $("root").value;
    enter("");
  });
  return { open, asked };
}

/** What the form asks for: {root, path, name}. */
function asked() {
  return { root: mine.root, path: mine.path, name: $("index-name").value.trim() };
}

async function open() {
  const roots = await call("/roots");
  const before = mine.root;
  mine.root = options($("root"), roots.map(({ id, name }) => ({ value: id, text: name })), mine.root);
  if (mine.root !== before) mine.path = "";
  show($("no-root"), roots.length === 0);
  $("index-go").disabled = $("index-name").disabled = roots.length === 0;
  if (roots.length) await enter(mine.path);
}

async function enter(path, focus = false) {
  clear($("folder-problem"));
  try {
    const address = at(["roots", mine.root, "folders"], { path });
    draw(await call(address.replace(/^\/api/, "")));
    mine.path = path;
    save();
    if (focus) ($("folders").querySelector("button") ?? $("crumbs").querySelector("button"))?.focus();
  } catch (error) {
    fail($("folder-problem"), error);
    if (path && error.status === 404) {
      mine.path = "";
      save();
    }
  }
}

function draw({ path, folders, photos }) {
  const steps = path ? path.split("/") : [];
  const root = $("root").selectedOptions[0]?.text ?? "";
  const crumb = (name, place) => h("button", { type: "button", className: "quiet",
    "aria-current": place === steps.length ? "location" : undefined,
    onclick: () => enter(steps.slice(0, place).join("/"), true) }, name);
  $("crumbs").replaceChildren(...[root, ...steps].flatMap((name, place) =>
    [place ? h("span", { "aria-hidden": "true" }, "/") : null, crumb(name, place)]).filter(Boolean));
  $("folders").replaceChildren(...folders.map((name) => h("li", {}, h("button",
    { type: "button", onclick: () => enter([...steps, name].join("/"), true) }, name))));
  show($("folders"), folders.length > 0);
  $("folder-photos").textContent = `${plural(photos, "photo")} directly in it${folders.length ? "; the folders inside are indexed with it" : ""}.`;
  const suggestion = steps.at(-1) ?? root;
  if (["", named].includes($("index-name").value)) $("index-name").value = suggestion;
  named = suggestion;
}
