/** What the colours mean, how much of the photo each covers, and the files to take away. */

import { at } from "./api.js";
import { announce, h, percent, show } from "./dom.js";

const MANY = 40;
const GUESSES = 3;

export class Legend {
  constructor(list, absent, showAll, view) {
    Object.assign(this, { list, absent, showAll, view, hidden: new Set(), names: new Map() });
    showAll.addEventListener("click", () => this.reveal());
  }

  /** List a result's classes, the largest first; of the same photo, what was hidden stays so. */
  draw(result, same) {
    const names = new Set(same ? [...this.hidden].map((index) => this.names.get(index)) : []);
    this.names = new Map(result.classes.map(({ index, name }) => [index, name]));
    this.hidden = new Set([...this.names.keys()].filter((index) => names.has(this.names.get(index))));
    const classes = result.classes.filter(({ area }) => area > 0).sort((one, other) => other.area - one.area);
    const absent = result.classes.filter(({ area }) => area === 0).map(({ name }) => name);
    this.absent.textContent = absent.length && absent.length <= MANY ? `Not found here: ${absent.join(", ")}.` : "";
    this.list.replaceChildren(...classes.map((one) => this.entry(one, result)));
    this.view.setHidden(this.hidden);
    show(this.showAll, this.hidden.size > 0);
  }

  entry({ index, name, colour, area, confidence }, { unknown_index: unknown, guesses }) {
    const sure = index === unknown || confidence === null || confidence === undefined
      ? null : h("span", { className: "sure" }, `${percent(confidence)} sure`);
    const light = () => this.view.setHighlight(this.hidden.has(index) ? null : index);
    const dark = () => this.view.setHighlight(null);
    // A click's focus is no wish to see the region alone; the keyboard's is.
    const focused = () => { if (button.matches(":focus-visible")) light(); };
    const button = h("button", { type: "button", "aria-pressed": String(!this.hidden.has(index)), title: "Click to hide or show",
      onpointerenter: light, onpointerleave: dark, onfocus: focused, onblur: dark,
      onclick: () => this.toggle(button, index, name) },
    h("span", { className: "swatch", style: { background: colour } }),
    h("span", { className: "name" }, name), sure,
    h("span", { className: "area" }, area > 0 && area < 0.001 ? "< 0.1 %" : percent(area, 1)),
    h("span", { className: "share", style: { width: `${100 * area}%`, background: colour } }));
    return h("li", {}, button, index === unknown ? perhaps(guesses) : null);
  }

  toggle(button, index, name) {
    const hide = !this.hidden.delete(index);
    if (hide) this.hidden.add(index);
    button.setAttribute("aria-pressed", String(!hide));
    this.view.highlight = null;
    this.view.setHidden(this.hidden);
    show(this.showAll, this.hidden.size > 0);
    announce(`${name} ${hide ? "hidden" : "shown"}`);
  }

  reveal() {
    this.hidden = new Set();
    for (const button of this.list.querySelectorAll("button")) button.setAttribute("aria-pressed", "true");
    this.view.setHidden(this.hidden);
    this.list.querySelector("button")?.focus();
    show(this.showAll, false);
  }
}

/** What the regions without a name are nearest to, and how much of the photo each of these is. */
function perhaps(guesses) {
  if (!guesses?.length) return null;
  const shares = guesses.slice(0, GUESSES).map(({ name, area }) => `${name} ${area < 0.001 ? "< 0.1 %" : percent(area, 1)}`);
  return h("p", { className: "help perhaps" }, `Not sure enough for a name. Nearest to: ${shares.join(", ")}.`);
}

const FORMATS = [
  ["coco-rle", "COCO, RLE"], ["coco-polygons", "COCO, polygons"], ["yolo", "YOLO"], ["voc", "PASCAL VOC"],
  ["cvat", "CVAT"], ["labelstudio", "Label Studio, brush"], ["labelstudio-polygons", "Label Studio, polygons"],
  ["huggingface", "Hugging Face"], ["masks", "Masks and names"],
];

/** A choice of other tools' formats that gives a zip; the choice is kept from photo to photo. */
function drawExport(id, stem) {
  const link = h("a", { className: "button" }, "Export");
  const choice = h("select", { "aria-label": "Format for other tools", onchange: () => aim() },
    ...FORMATS.map(([value, text]) => h("option", { value }, text)));
  choice.value = drawExport.chosen ?? "coco-rle";
  const aim = () => {
    drawExport.chosen = choice.value;
    link.href = at(["results", id, "export", choice.value]);
    link.download = `${stem}-${choice.value}.zip`;
  };
  aim();
  return [choice, link];
}

/** Links to a photo's mask, overlay, confidence and numbers, and to other tools' formats. */
export function drawDownloads(box, photo, opacity) {
  if (!photo?.result) return;
  const stem = photo.name.replace(/\.[^.]*$/, "");
  const { id } = photo.result;
  const files = [
    ["Mask", "labels.png", `${stem}-mask.png`, {}],
    ["Overlay", "overlay.png", `${stem}-overlay.png`, { opacity }],
    ["Confidence", "confidence.png", `${stem}-confidence.png`, {}],
    ["JSON", "result.json", `${stem}.json`, {}],
  ];
  box.replaceChildren(h("span", { className: "help" }, "Download"), ...files.map(([text, file, name, query]) =>
    h("a", { className: "button", href: at(["results", id, file], query), download: name }, text)),
    ...drawExport(id, stem));
}
