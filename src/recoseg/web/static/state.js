/** What the page remembers over a reload: one plain object in localStorage. */

const KEY = "recoseg";
const VERSION = 2;

const FRESH = {
  version: VERSION,
  tab: "segment",
  segment: {
    bank: "everyday", chosen: {}, strength: 1, temperature: null, strictness: null, opacity: 0.55,
    settings: false, photos: [], unsent: 0, current: null,
  },
  concepts: {
    words: "", index: "", k: 0, job: null, asked: "", draft: null, excluded: [], seeds: true, heat: false,
    bank: "", newBank: "", name: "",
  },
  archive: { root: "", path: "", index: "", query: "", count: "48" },
};

function load() {
  let kept = {};
  try {
    kept = JSON.parse(localStorage.getItem(KEY) ?? "{}");
  } catch { /* storage is off or damaged: start afresh */ }
  const state = structuredClone(FRESH);
  if (kept?.version !== VERSION) return state;
  for (const [part, fresh] of Object.entries(state)) {
    const value = kept[part];
    if (typeof fresh === "object" && value && typeof value === "object") {
      for (const name of Object.keys(fresh)) if (name in value) fresh[name] = value[name];
    } else if (typeof fresh === typeof value) state[part] = value;
  }
  return state;
}

export const state = load();

/** Write the state down; call after every change. */
export function save() {
  try {
    localStorage.setItem(KEY, JSON.stringify(state));
  } catch { /* private windows may refuse: the page works, it only forgets */ }
}

/** Tie a control to `part[name]`: shows it, follows it, saves it; `after` hears of changes. */
export function tie(control, part, name, after = () => {}) {
  const property = control.type === "checkbox" ? "checked" : "value";
  control[property] = part[name];
  control.addEventListener(control.tagName === "SELECT" ? "change" : "input", () => {
    part[name] = control.type === "range" ? Number(control.value) : control[property];
    save();
    after(part[name]);
  });
}
