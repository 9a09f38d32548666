/** The Segment tab: photos in, concepts chosen, regions out. */

import { call } from "./api.js";
import { startCalibrating } from "./calibrate.js";
import { RegionView } from "./canvas.js";
import { $, announce, clear, dropPlace, fail, options, percent, plural, rest, rests, show } from "./dom.js";
import { progressBar } from "./jobs.js";
import { drawDownloads, Legend } from "./legend.js";
import { Photos } from "./photos.js";
import { Picker } from "./picker.js";
import { settings, startSettings, suit } from "./settings.js";
import { save, state, tie } from "./state.js";
import { Strip } from "./strip.js";

const mine = state.segment;
const photos = new Photos();
let banks = [];
let view, picker, legend, strip, moveBar;
let shown = null;
/** Whether the photo that is shown is to be brought up to the settings. */
let following = false;

export function startSegment() {
  view = new RegionView($("canvas"), (text) => { $("reading").textContent = text; });
  picker = new Picker($("picker"), (names) => {
    mine.chosen[mine.bank] = names;
    save();
    refresh();
  });
  legend = new Legend($("legend"), $("absent"), $("show-all"), view);
  strip = new Strip($("strip"), photos, select);
  moveBar = progressBar($("view-progress"), "Segmenting", () => stop([current()]));
  startControls();
  startCalibrating(loadBanks);
  photos.addEventListener("change", ({ detail }) => changed(detail));
  dropPlace($("seg-drop"), $("seg-files"), $("segment"), add, (text) => fail($("seg-photo-problem"), text));
  photos.restore();
  if (mine.unsent) {
    fail($("seg-photo-problem"), `${plural(mine.unsent, "photo")} had not been segmented when the page was reloaded; add ${mine.unsent === 1 ? "it" : "them"} again.`);
  }
  refresh();
  loadBanks().catch((error) => fail($("seg-problem"), error));
  $("segment").addEventListener("open", () => loadBanks().catch((error) => fail($("seg-problem"), error)));
  return { choose };
}

function startControls() {
  $("bank").addEventListener("change", () => useBank($("bank").value));
  startSettings(refresh, () => { following = true; follow(); });
  tie($("opacity"), mine, "opacity", () => {
    $("opacity-said").textContent = percent(mine.opacity);
    if (current()?.result) view.setOpacity(mine.opacity);
    drawDownloads($("downloads"), current(), mine.opacity);
  });
  $("opacity-said").textContent = percent(mine.opacity);
  $("seg-go").addEventListener("click", go);
  $("seg-stop").addEventListener("click", () => stop(photos.all.filter((one) => one.live)));
}

async function loadBanks() {
  const news = await call("/banks");
  if (JSON.stringify(news) === JSON.stringify(banks)) return;
  banks = news;
  useBank(options($("bank"), banks.map(({ id, name, concepts }) =>
    ({ value: id, text: `${name} (${concepts.length})` })), mine.bank));
}

function useBank(id) {
  const bank = banks.find((one) => one.id === id);
  if (!bank) return;
  mine.bank = id;
  save();
  picker.fill(bank.concepts, mine.chosen[id] ?? []);
  suit(bank);
  refresh();
}

/** Choose a bank and one of its concepts, as "Try it" asks. */
async function choose(bank, concept) {
  const others = (mine.chosen[bank] ?? []).filter((name) => name !== concept);
  mine.chosen[bank] = [...others, concept];
  mine.bank = bank;
  banks = [];
  await loadBanks();
}

const current = () => photos.all.find(({ key }) => key === mine.current) ?? null;

function todo() {
  const asked = JSON.stringify(settings());
  const idle = photos.all.filter((one) => !one.live);
  const stale = idle.filter((one) => one.asked !== asked || one.error);
  return stale.length ? stale : idle;
}

function go() {
  if (rests($("seg-go"))) return;
  clear($("seg-problem"));
  clear($("seg-photo-problem"));
  photos.start(todo(), settings());
  if (window.matchMedia("(max-width: 52rem)").matches) $("strip").scrollIntoView({ behavior: "smooth" });
}

/** After a slider was let go: the models have seen the photo, so this takes but the CRF's time. */
function follow() {
  const photo = current();
  if (!following || photo?.live) return;
  following = false;
  if (photo?.result && photo.asked !== JSON.stringify(settings())) photos.start([photo], settings());
}

function stop(some) {
  following = false;
  some.forEach((one) => photos.stop(one));
}

function add(files) {
  clear($("seg-photo-problem"));
  const [first] = photos.add(files);
  announce(`${plural(files.length, "photo")} added`);
  select(first);
}

function select(photo) {
  mine.current = photo.key;
  save();
  changed(photo);
}

function changed(photo) {
  if (!current() && photos.all.length) mine.current = photos.all.at(-1).key;
  refresh();
  if (photo === current() || !photos.all.includes(photo)) drawCurrent();
  follow();
}

/** Bring buttons and strip up to date with photos and settings. */
function refresh() {
  const idle = todo();
  const again = idle.length > 0 && idle.every((one) => one.asked === JSON.stringify(settings()));
  const working = photos.all.length > idle.length && (again || idle.length === 0);
  const what = photos.all.length > 1 ? ` ${plural(idle.length, "photo")}` : "";
  $("seg-go").textContent = working ? "Segmenting …" : `Segment${what}${again ? " again" : ""}`;
  rest($("seg-go"), working || idle.length === 0 || banks.length === 0);
  show($("seg-stop"), photos.all.filter((one) => one.live).length > 1);
  show($("seg-empty"), photos.all.length === 0);
  show($("view"), photos.all.length > 0);
  strip.draw(current(), JSON.stringify(settings()));
  if (photos.all.length && !shown) drawCurrent();
}

function drawCurrent() {
  const photo = current();
  if (!photo) {
    shown = null;
    return;
  }
  moveBar(photo.live);
  if (photo.error) fail($("view-problem"), photo.error);
  else clear($("view-problem"));
  const mark = `${photo.key} ${photo.result?.id}`;
  if (shown === mark) return;
  const same = shown?.startsWith(photo.key) && photo.result !== null;
  shown = mark;
  // What was found with other settings stays until there is something in its place.
  if (same) view.setPhoto(photo.url);
  else view.showPhoto(photo.url, photo.name);
  for (const id of ["view-done", "reading-line"]) show($(id), photo.result !== null);
  if (!photo.result) return;
  legend.draw(photo.result, same);
  drawDownloads($("downloads"), photo, mine.opacity);
  view.showResult(photo.result, mine.opacity).then(
    () => announce(`${photo.name} is segmented: ${plural(photo.result.classes.filter(({ area }) => area > 0).length, "concept")}`),
    (error) => { if (shown === mark) fail($("view-problem"), error); },
  );
}
