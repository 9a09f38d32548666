/** Grids of photos: what a search found, and what a concept was learnt from. */

import { at } from "./api.js";
import { h } from "./dom.js";

const THUMB = 256;
const DRAFT = 360;

function caption(...parts) {
  return h("span", { className: "caption" }, ...parts.filter(Boolean).map((text, place) =>
    h("span", { className: place ? "fine" : "name", title: text }, text)));
}

const score = (value) => value.toFixed(3);

/** Give the photo's place its own shape within the square, so that rings and heat lie right. */
function fit({ target }) {
  const shape = target.naturalWidth / target.naturalHeight;
  target.parentElement.style.setProperty("aspect-ratio", String(shape));
  target.parentElement.style.setProperty("width", `${100 * Math.min(1, shape)}%`);
}

/** Photos of a search, nearest first. */
export function drawHits(list, index, hits) {
  list.className = "board";
  list.replaceChildren(...hits.map(({ photo, name, score: value }) => h("li", {},
    h("span", { className: "frame" }, h("img", { alt: name, loading: "lazy",
      src: at(["indexes", index, "photos", photo, "thumb.jpg"], { size: THUMB }) })),
    caption(name, score(value)))));
}

/**
 * Photos of a draft with seed rings and agreement; a click drops a photo or takes it back.
 *
 * @param {HTMLElement} list
 * @param {object} draft result of a preview job
 * @param {Set<string>} dropped ids
 * @param {(photo: object) => void} onToggle
 */
export function drawDraft(list, draft, dropped, onToggle) {
  const focused = list.contains(document.activeElement) ? document.activeElement.dataset.photo : null;
  list.replaceChildren(...draft.photos.map((photo) => draftPhoto(draft.draft, photo, dropped.has(photo.photo), onToggle)));
  if (focused) list.querySelector(`[data-photo="${CSS.escape(focused)}"]`)?.focus();
}

function draftPhoto(draft, photo, gone, onToggle) {
  const base = ["drafts", draft, "photos", photo.photo];
  const [x, y] = photo.seed ?? [];
  const ring = photo.seed ? h("span", { className: "ring", style: { left: `${100 * x}%`, top: `${100 * y}%` } }) : null;
  const button = h("button", { type: "button", className: "frame", "aria-pressed": String(gone),
    "aria-label": `Drop ${photo.name}`, "data-photo": photo.photo, title: gone ? "Take it back" : "Drop it",
    onclick: () => onToggle(photo) },
  h("span", { className: "fitted" },
    h("img", { alt: "", src: at([...base, "photo.jpg"], { size: DRAFT }), onload: fit }),
    h("img", { alt: "", className: "heat", loading: "lazy", src: at([...base, "heat.png"]) }), ring),
  gone ? h("span", { className: "badge" }, "dropped · undo") : null,
  photo.example ? h("span", { className: "badge example" }, "example") : null);
  const numbers = [photo.score === null || photo.example ? null : `text ${score(photo.score)}`, `support ${score(photo.similarity)}`];
  return h("li", { className: gone ? "gone" : "" }, button, caption(photo.name, ...numbers));
}
