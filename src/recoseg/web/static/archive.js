/** The Archive tab: index folders of photos, and search what was indexed. */

import { call } from "./api.js";
import { drawHits } from "./board.js";
import { $, announce, clear, fail, h, options, plural, rest, rests, show } from "./dom.js";
import { startFolders } from "./folders.js";
import { cancel, follow, list, over, progressBar } from "./jobs.js";
import { save, state, tie } from "./state.js";

const mine = state.archive;
const watched = new Map();
let indexes = [];
let folders, learn;

export function startArchive(doors) {
  learn = doors.learn;
  folders = startFolders();
  tie($("query"), mine, "query");
  tie($("count"), mine, "count");
  $("search-index").addEventListener("change", () => { mine.index = $("search-index").value; save(); });
  $("search-form").addEventListener("submit", (event) => { event.preventDefault(); search(); });
  $("index-form").addEventListener("submit", (event) => { event.preventDefault(); begin(folders.asked()); });
  $("archive").addEventListener("open", () => open().catch((error) => fail($("index-problem"), error)));
}

async function open() {
  await Promise.all([folders.open(), refresh(), takeUp()]);
}

/** Find the indexing that an earlier visit started. */
async function takeUp() {
  for (const job of await list()) {
    if (job.kind === "index" && !over(job)) watch(job.id, job.index ?? job.result?.index ?? job.label);
  }
}

async function refresh() {
  indexes = await call("/indexes");
  const filled = indexes.filter(({ photos }) => photos > 0);
  mine.index = options($("search-index"), filled.map(({ id, name }) => ({ value: id, text: name })), mine.index);
  save();
  drawIndexes();
}

async function begin(asked) {
  if (rests($("index-go"))) return;
  clear($("index-problem"));
  rest($("index-go"), true);
  try {
    const { job, index } = await call("/indexes", { json: asked });
    announce(`Indexing ${asked.name} has begun`);
    watch(job, index ?? asked.name);
    await refresh();
  } catch (error) {
    fail($("index-problem"), error);
  } finally {
    rest($("index-go"), false);
  }
}

/** Follow an indexing job on the row of its index. */
async function watch(job, index) {
  if ([...watched.values()].some((one) => one.job === job)) return;
  const work = { job, live: { kind: "index", state: "waiting" }, move: () => {}, stopping: false };
  watched.set(index, work);
  drawIndexes();
  try {
    await follow(job, (live) => {
      work.live = { ...live, stopping: work.stopping };
      work.move(work.live);
    });
    announce("Indexing is done");
  } catch (error) {
    fail($("index-problem"), error);
  }
  watched.delete(index);
  await refresh().catch((error) => fail($("index-problem"), error));
}

function stop(work) {
  work.stopping = true;
  work.move({ ...work.live, stopping: true });
  cancel(work.job).catch((error) => fail($("index-problem"), error));
}

function drawIndexes() {
  const known = new Set(indexes.map(({ id }) => id));
  const begun = [...watched.keys()].filter((id) => !known.has(id)).map((id) => ({ id, name: id, photos: 0, state: "indexing" }));
  const all = [...indexes, ...begun];
  show($("no-indexes"), all.length === 0);
  $("indexes").replaceChildren(...all.map(row));
}

function row(index) {
  const work = watched.get(index.id);
  const bar = h("div", { className: "progress", hidden: true });
  if (work) {
    work.move = progressBar(bar, `Indexing ${index.name}`, () => stop(work), "Stop");
    work.move(work.live);
  }
  const partial = index.state === "partial";
  const standing = work ? "indexing" : partial ? "stopped" : index.state;
  const again = work || !index.root ? null : h("button", { type: "button", className: "quiet",
    "aria-label": `${partial ? "Resume" : "Update"} ${index.name}`,
    title: partial ? "Go on where it stopped" : "Follow what changed in the folder",
    onclick: () => begin({ root: index.root, path: index.folder, name: index.name }) }, partial ? "Resume" : "Update");
  return h("li", { className: "card", "data-index": index.id },
    h("div", { className: "row between" }, h("strong", { className: "name" }, index.name),
      h("span", { className: `state ${standing}` }, standing)),
    h("p", { className: "help" }, [plural(index.photos, "photo"), index.folder, index.model].filter(Boolean).join(" · ")),
    bar, again ? h("div", { className: "row" }, again) : null);
}

async function search() {
  clear($("search-problem"));
  const query = mine.query.trim();
  // The list may still be on its way, where somebody types fast.
  if (!mine.index) await refresh().catch(() => {});
  if (!query || !mine.index) {
    fail($("search-problem"), mine.index ? "There is nothing to search for; type a word." : "There is no index to search; make one first.");
    return;
  }
  $("search-said").textContent = "Searching …";
  show($("search-empty"), false);
  try {
    const { hits } = await call("/search", { json: { index: mine.index, query, count: Number(mine.count) } });
    $("search-said").replaceChildren(`${plural(hits.length, "photo")}, nearest to “${query}” first. `,
      h("button", { type: "button", className: "quiet", onclick: () => learn(query, mine.index) }, "Teach this concept"));
    drawHits($("hits"), mine.index, hits);
  } catch (error) {
    $("search-said").textContent = "";
    fail($("search-problem"), error);
  }
}
