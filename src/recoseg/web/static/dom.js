/** Small tools for the page's elements: make, fill, say, format. No markup is ever parsed. */

export const $ = (id) => document.getElementById(id);

/**
 * Make an element. Properties: on* are listeners, `style` is an object, `data-*`, `aria-*` and
 * `role` are attributes, the rest are DOM properties; children are nodes or text, null is left out.
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") {
      for (const [key, text] of Object.entries(value)) element.style.setProperty(key, text);
    } else if (name.includes("-") || name === "role") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export const show = (element, yes) => { element.hidden = !yes; };

/** Let a button rest without taking the focus from it, as `disabled` would. */
export const rest = (button, yes) => { button.setAttribute("aria-disabled", String(yes)); };
export const rests = (button) => button.getAttribute("aria-disabled") === "true";

/** Say something to screen readers, now. */
export function announce(text) {
  $("said").textContent = text;
}

/** Show an error's sentence in its box, with a button that takes it away. */
export function fail(box, error) {
  if (error?.name === "AbortError") return;
  const text = typeof error === "string" ? error : error.message;
  const dismiss = h("button", { type: "button", className: "quiet", onclick: () => clear(box),
    "aria-label": "Dismiss the message" }, "Dismiss");
  box.replaceChildren(h("span", {}, text), dismiss);
  show(box, true);
}

export function clear(box) {
  box.replaceChildren();
  show(box, false);
}

/** Fill a select with {value, text}; keep `chosen` if it is among them, else the first. */
export function options(select, items, chosen) {
  select.replaceChildren(...items.map(({ value, text }) => h("option", { value }, text)));
  if (items.some(({ value }) => value === chosen)) select.value = chosen;
  select.disabled = items.length === 0;
  return select.value;
}

export const percent = (share, digits = 0) => `${(100 * share).toFixed(digits)} %`;
export const plural = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

/** Seconds in words: "4 s", "3 min", "2 h 5 min". */
export function duration(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 90) return `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Call `act` once things have been quiet for `wait` milliseconds. */
export function debounce(act, wait) {
  let timer = 0;
  return (...words) => {
    clearTimeout(timer);
    timer = setTimeout(() => act(...words), wait);
  };
}

/** Images from a file list, drop or paste; others are told to `refuse`. */
function images(list, refuse) {
  const files = [...list];
  const good = files.filter((file) => file.type.startsWith("image/"));
  if (good.length < files.length) {
    const bad = files.find((file) => !good.includes(file));
    refuse(`${bad.name || "What you dropped"} is not a photo; choose JPEG, PNG or another image.`);
  }
  return good;
}

/** A place for photos: its input, a drop onto it or onto `panel`, and paste while panel is shown. */
export function dropPlace(place, input, panel, take, refuse) {
  const handle = (list) => {
    const files = images(list, refuse);
    if (files.length) take(files);
  };
  input.addEventListener("change", () => {
    handle(input.files);
    input.value = "";
  });
  panel.addEventListener("dragover", (event) => {
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    place.classList.add("over");
  });
  panel.addEventListener("dragleave", () => place.classList.remove("over"));
  panel.addEventListener("drop", (event) => {
    event.preventDefault();
    place.classList.remove("over");
    handle(event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => {
    const files = event.clipboardData?.files ?? [];
    if (!panel.hidden && files.length) handle(files);
  });
}
