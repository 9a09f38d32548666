/** The row of photos: which is shown, and how far each has come. */

import { h, percent, show } from "./dom.js";

export class Strip {
  constructor(list, photos, onSelect) {
    Object.assign(this, { list, photos, onSelect, cards: new Map() });
  }

  /** Bring the cards up to date; those found with other settings than `asked` are marked. */
  draw(current, asked) {
    const { all } = this.photos;
    for (const [photo, card] of this.cards) {
      if (all.includes(photo)) continue;
      const near = card.item.nextElementSibling ?? card.item.previousElementSibling;
      if (card.item.contains(document.activeElement)) near?.querySelector("button").focus();
      card.item.remove();
      this.cards.delete(photo);
    }
    for (const photo of all) {
      if (!this.cards.has(photo)) this.add(photo);
      this.update(photo, current, asked);
    }
    show(this.list, all.length > 0);
  }

  add(photo) {
    const picture = h("img", { alt: "", onload: () => show(picture, true), onerror: () => show(picture, false) });
    const said = h("span", { className: "said" });
    const bar = h("progress", { "aria-hidden": "true", max: 1 });
    const choose = h("button", { type: "button", className: "thumb", onclick: () => this.onSelect(photo) },
      picture, said, bar);
    const away = h("button", { type: "button", className: "away", "aria-label": `Remove ${photo.name}`,
      title: "Remove", onclick: () => this.photos.remove(photo) }, "×");
    const item = h("li", {}, choose, away);
    this.cards.set(photo, { item, picture, said, bar, choose });
    this.list.append(item);
  }

  update(photo, current, asked) {
    const { item, picture, said, bar, choose } = this.cards.get(photo);
    const [kind, text] = standing(photo, asked);
    if (photo.url && picture.getAttribute("src") !== photo.url) picture.src = photo.url;
    item.className = kind;
    said.textContent = text;
    choose.setAttribute("aria-label", `${photo.name}: ${text}`);
    choose.title = photo.name;
    choose.setAttribute("aria-current", String(photo === current));
    const share = photo.live?.total ? photo.live.done / photo.live.total : null;
    show(bar, photo.live !== null);
    if (share !== null && photo.live.state === "running") bar.value = share;
    else bar.removeAttribute("value");
  }
}

function standing(photo, asked) {
  const { live } = photo;
  if (live?.stopping) return ["busy", "stopping"];
  if (live?.state === "running") return ["busy", live.total ? percent(live.done / live.total) : "at work"];
  if (live) return ["busy", "waiting"];
  if (photo.error) return ["bad", "failed"];
  if (!photo.result) return ["new", "new"];
  return photo.asked === asked ? ["good", "done"] : ["stale", "other settings"];
}
