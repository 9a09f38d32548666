/** Chooses concepts of a bank: search, groups, chips; a listbox for the keyboard. */

import { announce, h, plural, show } from "./dom.js";

const OTHER = "other";

export class Picker {
  /** @param {HTMLElement} box to fill  @param {(names: string[]) => void} onChange */
  constructor(box, onChange) {
    this.onChange = onChange;
    this.concepts = [];
    this.chosen = new Set();
    this.search = h("input", { type: "search", placeholder: "Find a concept", autocomplete: "off",
      "aria-label": "Find a concept", oninput: () => this.filter(),
      onkeydown: (event) => this.fromSearch(event) });
    this.chips = h("ul", { className: "chips", "aria-label": "Chosen concepts" });
    this.list = h("div", { className: "concepts", role: "listbox", "aria-multiselectable": "true",
      "aria-label": "Concepts of the bank", onkeydown: (event) => this.walk(event),
      onclick: (event) => this.toggle(event.target.closest("[role=option]")) });
    this.none = h("p", { className: "help", hidden: true }, "No concept of this bank has such a name.");
    this.note = h("p", { className: "help" });
    this.all = h("button", { type: "button", className: "quiet", onclick: () => this.chooseAll() }, "Choose all");
    this.clearing = h("button", { type: "button", className: "quiet", onclick: () => this.set([]) }, "Clear");
    box.replaceChildren(this.search, this.list, this.none, this.chips, this.note,
      h("div", { className: "row" }, this.all, this.clearing));
  }

  /** Show a bank's concepts with those of `names` chosen. */
  fill(concepts, names) {
    this.concepts = concepts;
    const known = new Set(concepts.map(({ name }) => name));
    this.chosen = new Set(names.filter((name) => known.has(name)));
    const groups = groupBy(concepts);
    const alone = groups.size === 1;
    this.list.replaceChildren(...[...groups].map(([group, members]) => h("div",
      { role: "group", "aria-label": group }, alone ? null : h("p", { className: "group", "aria-hidden": "true" }, group),
      ...members.map((concept) => this.option(concept)))));
    this.search.value = "";
    this.filter();
    this.refresh();
  }

  option({ name, words }) {
    const also = (words ?? []).filter((word) => word !== name);
    return h("span", { role: "option", className: "option", tabIndex: -1, "data-name": name,
      "data-words": [name, ...also].join(" ").toLowerCase(), title: also.length ? `also: ${also.join(", ")}` : "" },
    h("span", { className: "swatch" }), name);
  }

  /** The colour each concept will have in the photos: by its place among those chosen. */
  colours() {
    const asked = this.chosen.size ? [...this.chosen] : this.concepts.map(({ name }) => name);
    return new Map(asked.map((name, place) => [name, this.concepts[place].colour]));
  }

  options(all = false) {
    return [...this.list.querySelectorAll("[role=option]")].filter((one) => all || !one.hidden);
  }

  filter() {
    const asked = this.search.value.trim().toLowerCase();
    for (const one of this.options(true)) show(one, one.dataset.words.includes(asked));
    for (const group of this.list.children) {
      show(group, [...group.querySelectorAll("[role=option]")].some((one) => !one.hidden));
    }
    const left = this.options();
    show(this.none, left.length === 0 && this.concepts.length > 0);
    this.all.textContent = asked ? `Choose ${plural(left.length, "match", "matches")}` : "Choose all";
    this.rove(left[0]);
  }

  rove(option) {
    for (const one of this.options(true)) one.tabIndex = one === option ? 0 : -1;
  }

  fromSearch(event) {
    const [first] = this.options();
    if (event.key === "ArrowDown" && first) {
      event.preventDefault();
      first.focus();
    } else if (event.key === "Enter") {
      event.preventDefault();
      if (this.search.value.trim() && first) {
        this.toggle(this.meant());
        this.search.select();
      }
    }
  }

  /** What Enter chooses: the concept of just this name before those that only contain it. */
  meant() {
    const asked = this.search.value.trim().toLowerCase();
    const options = this.options();
    const named = (test) => options.find(({ dataset }) => test(dataset.name.toLowerCase()));
    return named((name) => name === asked) ?? named((name) => name.startsWith(asked)) ?? options[0];
  }

  walk(event) {
    const options = this.options();
    const here = options.indexOf(event.target);
    if (event.key === " " || event.key === "Enter") {
      event.preventDefault();
      this.toggle(event.target);
      return;
    }
    const to = { ArrowDown: here + 1, ArrowRight: here + 1, ArrowUp: here - 1, ArrowLeft: here - 1,
      Home: 0, End: options.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    if (to < 0) this.search.focus();
    else if (to < options.length) {
      this.rove(options[to]);
      options[to].focus();
    }
  }

  toggle(option) {
    if (!option) return;
    const { name } = option.dataset;
    if (!this.chosen.delete(name)) this.chosen.add(name);
    this.rove(option);
    this.changed();
    announce(`${name} ${this.chosen.has(name) ? "chosen" : "no longer chosen"}`);
  }

  chooseAll() {
    for (const one of this.options()) this.chosen.add(one.dataset.name);
    this.changed();
  }

  set(names) {
    this.chosen = new Set(names);
    this.changed();
  }

  changed() {
    this.refresh();
    this.onChange([...this.chosen]);
  }

  refresh() {
    const colours = this.colours();
    for (const one of this.options(true)) {
      one.setAttribute("aria-selected", String(this.chosen.has(one.dataset.name)));
      one.firstChild.style.setProperty("background", colours.get(one.dataset.name) ?? "none");
    }
    this.chips.replaceChildren(...[...this.chosen].map((name) => h("li", {}, h("button",
      { type: "button", className: "chip", "aria-label": `Remove ${name}`, onclick: () => this.remove(name) },
      h("span", { className: "swatch", style: { background: colours.get(name) } }), name,
      h("span", { className: "cross-out", "aria-hidden": "true" }, "×")))));
    show(this.chips, this.chosen.size > 0);
    show(this.clearing, this.chosen.size > 0);
    this.note.textContent = this.chosen.size
      ? `${plural(this.chosen.size, "concept")} chosen.`
      : `None chosen: a shortlist of all ${this.concepts.length} is made for each photo.`;
  }

  remove(name) {
    this.chosen.delete(name);
    this.changed();
    (this.chips.querySelector("button") ?? this.search).focus();
  }
}

function groupBy(concepts) {
  const groups = new Map();
  for (const concept of concepts) {
    const group = concept.group || OTHER;
    groups.set(group, [...(groups.get(group) ?? []), concept]);
  }
  return groups;
}
