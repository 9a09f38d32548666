/** The Concepts tab: words and examples in, the photos learnt from shown, dropped and learnt again. */

import { call, form } from "./api.js";
import { drawDraft, drawHits } from "./board.js";
import { $, announce, clear, debounce, dropPlace, fail, h, options, plural, rest, rests, show } from "./dom.js";
import { cancel, follow, progressBar } from "./jobs.js";
import { showSave, startSaving } from "./saving.js";
import { save, state, tie } from "./state.js";

const CANDIDATES = 24;
const TYPING = 500;
const NONE = "none";
const mine = state.concepts;

let examples = [];
let draft = null;
let near = null;
let looking = null;
let moveBar;
let building = null;

const words = () => mine.words.split(",").map((word) => word.trim()).filter(Boolean);
const index = () => (mine.index === NONE ? "" : mine.index);
/** What the photos were dropped from: another name or index is another concept. */
const subject = () => `${mine.index} ${words()[0] ?? ""}`;

export function startConcepts({ tryIt }) {
  tie($("words"), mine, "words", () => { draw(); lookSoon(); });
  tie($("seeds"), mine, "seeds", dress);
  tie($("heat"), mine, "heat", dress);
  tie($("k"), mine, "k", sayK);
  sayK();
  $("con-index").addEventListener("change", () => { mine.index = $("con-index").value; save(); draw(); look(); });
  $("build-form").addEventListener("submit", (event) => { event.preventDefault(); build(); });
  dropPlace($("ex-drop"), $("ex-files"), $("concepts"), addExamples, (text) => fail($("build-problem"), text));
  moveBar = progressBar($("build-progress"), "Building the concept", stop);
  startSaving(tryIt);
  $("concepts").addEventListener("open", () => refresh().catch((error) => fail($("build-problem"), error)));
  $("concepts").addEventListener("learn", ({ detail }) => learn(detail));
  if (mine.job) watch(mine.job);
  draw();
}

function sayK() {
  $("k-said").textContent = mine.k ? String(mine.k) : "automatic";
}

async function refresh() {
  const indexes = (await call("/indexes")).filter(({ photos }) => photos > 0);
  mine.index = options($("con-index"), indexes.map(({ id, name, photos }) =>
    ({ value: id, text: `${name} (${photos.toLocaleString("en")})` })).concat({ value: NONE, text: "none: examples alone" }), mine.index);
  save();
  show($("no-index"), indexes.length === 0);
  draw();
  look();
}

function learn(asked) {
  Object.assign(mine, { words: asked.words, index: asked.index });
  $("words").value = asked.words;
  save();
}

function addExamples(files) {
  examples = [...examples, ...files.map((file) => ({ file, url: URL.createObjectURL(file) }))];
  announce(`${plural(files.length, "example photo")} added`);
  drawExamples();
}

function dropExample(example) {
  examples = examples.filter((one) => one !== example);
  URL.revokeObjectURL(example.url);
  drawExamples();
}

function drawExamples() {
  $("examples").replaceChildren(...examples.map((example) => h("li", {}, h("button",
    { type: "button", className: "chip", "aria-label": `Remove ${example.file.name}`, onclick: () => dropExample(example) },
    h("img", { src: example.url, alt: "" }), h("span", { className: "name" }, example.file.name),
    h("span", { className: "cross-out", "aria-hidden": "true" }, "×")))));
  draw();
}

const lookSoon = debounce(() => look(), TYPING);

/** Show the archive's nearest photos to the words, before anything is built. */
async function look() {
  looking?.abort();
  const [query] = words();
  if (!query || !index() || building || shownDraft() || near?.subject === subject()) return;
  looking = new AbortController();
  const asked = subject();
  try {
    const found = await call("/search", { json: { index: index(), query, count: CANDIDATES }, signal: looking.signal });
    near = { ...found, subject: asked, query, index: mine.index };
    clear($("build-problem"));
    draw();
  } catch (error) {
    fail($("build-problem"), error);
  }
}

async function build() {
  if (rests($("build"))) return;
  clear($("build-problem"));
  if (draft && draft.subject !== subject()) mine.excluded = [];
  const again = keepsExamples() ? draft.draft : null;
  building = new AbortController();
  draw();
  moveBar({ state: "waiting" });
  try {
    const sent = form({ index: index(), words: words(), examples: examples.length ? examples.map(({ file }) => file) : null,
      exclude: mine.excluded.map(({ photo }) => photo), k: mine.k || null, draft: again });
    const { job } = await call("/concepts/preview", { form: sent, signal: building.signal });
    Object.assign(mine, { job, asked: subject() });
    save();
    await watch(job);
  } catch (error) {
    // A server that was started anew knows no draft: the next build is a fresh one.
    if (error.status === 404) draft = null;
    ended(error);
  }
}

/** Whether the draft shown was given examples, which only the server still has. */
function keepsExamples() {
  const all = [...(shownDraft()?.photos ?? []), ...mine.excluded];
  return shownDraft() !== null && all.some(({ example }) => example);
}

/** Follow a build to its end, also one that was under way when the page was left. */
async function watch(job) {
  building ??= new AbortController();
  try {
    const { result } = await follow(job, moveBar, building.signal);
    draft = { ...result, subject: mine.asked, excluded: mine.excluded.map(({ photo }) => photo).join() };
    examples.forEach(({ url }) => URL.revokeObjectURL(url));
    examples = [];
    announce(`${result.name} is learnt from ${plural(result.photos.length, "photo")}`);
    ended(null);
  } catch (error) {
    if (error.name === "AbortError" || error.status === 404) mine.job = null;
    ended(error);
  }
}

function ended(error) {
  building = null;
  moveBar(null);
  save();
  if (error) fail($("build-problem"), error);
  drawExamples();
}

function stop() {
  looking?.abort();
  if (mine.job && $("build-progress").hidden === false) cancel(mine.job).catch((error) => fail($("build-problem"), error));
  else building?.abort();
}

function toggle(photo) {
  const was = mine.excluded.some((one) => one.photo === photo.photo);
  mine.excluded = was ? mine.excluded.filter((one) => one.photo !== photo.photo)
    : [...mine.excluded, { photo: photo.photo, name: photo.name, example: photo.example }];
  save();
  announce(`${photo.name} ${was ? "kept" : "dropped"}; build again to learn without it`);
  draw();
}

const shownDraft = () => (draft && draft.subject === subject() ? draft : null);

function dress() {
  $("board").classList.toggle("with-seeds", mine.seeds);
  $("board").classList.toggle("with-heat", mine.heat);
}

function draw() {
  const built = shownDraft();
  const found = !built && near?.subject === subject() ? near : null;
  show($("con-empty"), !built && !found);
  show($("learnt"), Boolean(built || found));
  for (const id of ["board-toggles", "facts", "warnings"]) show($(id), Boolean(built));
  rest($("build"), building !== null || !words().length || (!index() && !examples.length && !built));
  const dropped = built ? mine.excluded : [];
  const changed = built && dropped.map(({ photo }) => photo).join() !== built.excluded;
  $("build").textContent = !built ? "Build" : changed || examples.length ? "Rebuild with these changes" : "Build again";
  showSave(built);
  drawDropped(built, dropped);
  if (built) drawBuilt(built, dropped, changed);
  else if (found) drawFound(found);
}

function drawBuilt(built, dropped, changed) {
  $("learnt-title").textContent = built.name;
  $("facts").replaceChildren(...[["Photos", built.photos.length], ["Agreement of the seeds", built.agreement],
    ["Stands out from the archive (1 is not at all)", built.margin]].filter(([, value]) => value !== null && value !== undefined)
    .map(([what, value]) => h("span", {}, `${what} `, h("strong", {}, Number.isInteger(value) ? value : value.toFixed(2)))));
  $("warnings").replaceChildren(...built.warnings.map((text) => h("li", {}, text)));
  $("board-help").textContent = changed
    ? `${plural(dropped.length, "photo")} dropped: rebuild to learn without.`
    : "Does a photo mislead? Click it to drop it, then build again.";
  $("board").className = "board draft";
  dress();
  drawDraft($("board"), built, new Set(dropped.map(({ photo }) => photo)), toggle);
}

function drawFound(found) {
  $("learnt-title").textContent = `Nearest to “${found.query}”`;
  $("board-help").textContent = "These are the archive's nearest photos by words alone. Build to see what they share.";
  drawHits($("board"), found.index, found.hits);
}

/** Photos left out of the build that is shown, each with its way back. */
function drawDropped(built, dropped) {
  const here = new Set(built?.photos.map(({ photo }) => photo));
  const away = dropped.filter(({ photo }) => !here.has(photo));
  show($("dropped-part"), away.length > 0);
  $("dropped").replaceChildren(...away.map((photo) => h("li", {}, h("button", { type: "button", className: "chip",
    "aria-label": `Take ${photo.name} back`, onclick: () => toggle(photo) },
  h("span", { className: "name" }, photo.name), h("span", { className: "cross-out", "aria-hidden": "true" }, "↺")))));
}
