/** A photo with its regions painted over it in the browser: opacity, hiding and pointing are local. */

import { at, call } from "./api.js";
import { h, percent, show } from "./dom.js";

const LONGEST_SIDE = 1600;
const STEP = 0.02;
const BIG_STEP = 0.1;
const FAINT = 0.12;
const BORDER = 360;

/** Values 0..255 of a grey PNG at most LONGEST_SIDE wide or high: {width, height, values}. */
async function grey(address, signal) {
  const blob = await call(address.replace(/^\/api/, ""), { signal });
  const kept = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
  const bitmap = await createImageBitmap(blob, kept);
  const scale = Math.min(1, LONGEST_SIDE / Math.max(bitmap.width, bitmap.height));
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)));
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  // Class numbers must not be mixed with their neighbours'.
  context.imageSmoothingEnabled = false;
  context.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  const { data } = context.getImageData(0, 0, width, height);
  const values = new Uint8Array(width * height);
  for (let i = 0; i < values.length; i += 1) values[i] = data[4 * i];
  return { width, height, values };
}

const channels = (colour) => [1, 3, 5].map((start) => parseInt(colour.slice(start, start + 2), 16));

export class RegionView {
  /** @param {HTMLElement} box to fill  @param {(text: string) => void} onRead what is pointed at */
  constructor(box, onRead) {
    this.onRead = onRead;
    this.hidden = new Set();
    this.highlight = null;
    this.photo = h("img", { alt: "", draggable: false });
    this.canvas = h("canvas");
    this.unreadable = h("p", { className: "unreadable", hidden: true });
    this.cross = h("span", { className: "cross", hidden: true });
    this.tip = h("span", { className: "tip", hidden: true, "aria-hidden": "true" });
    this.frame = h("div", { className: "frame", tabIndex: -1, role: "group" },
      this.photo, this.canvas, this.unreadable, this.cross, this.tip);
    box.replaceChildren(this.frame);
    this.photo.addEventListener("load", () => {
      this.readable(true);
      this.fit(this.photo.naturalWidth, this.photo.naturalHeight);
    });
    this.photo.addEventListener("error", () => this.readable(false));
    this.frame.addEventListener("pointermove", (event) => this.follow(event));
    this.frame.addEventListener("pointerdown", (event) => this.follow(event));
    this.frame.addEventListener("pointerleave", () => this.leave());
    this.frame.addEventListener("keydown", (event) => this.walk(event));
    this.frame.addEventListener("blur", () => this.leave());
  }

  /** Show a photo without regions. */
  showPhoto(url, name) {
    this.result = this.labels = this.confidence = null;
    this.loading?.abort();
    this.leave();
    show(this.canvas, false);
    this.frame.tabIndex = -1;
    this.setPhoto(url);
    this.photo.alt = name;
    this.frame.setAttribute("aria-label", name);
    this.setOpacity(0);
  }

  /** Say where the photo lies now; its regions stay. */
  setPhoto(url) {
    if (this.photo.getAttribute("src") !== url) this.photo.src = url;
  }

  /** Show the photo, or a sentence in its place. */
  readable(can) {
    this.unreadable.textContent = can ? "" : `This browser cannot show ${this.photo.alt || "the photo"}: it is damaged or of a kind that browsers do not read.`;
    show(this.photo, can);
    show(this.unreadable, !can);
  }

  /** Add the regions of a job's result to the photo shown. */
  async showResult(result, opacity) {
    this.loading?.abort();
    this.loading = new AbortController();
    const { signal } = this.loading;
    const [labels, confidence] = await Promise.all([
      grey(at(["results", result.id, "labels.png"], { plain: true }), signal),
      grey(at(["results", result.id, "confidence.png"]), signal),
    ]);
    if (signal.aborted) return;
    Object.assign(this, { result, labels, confidence, highlight: null });
    this.classes = new Map(result.classes.map((one) => [one.index, one]));
    this.fit(result.width, result.height);
    this.canvas.width = labels.width;
    this.canvas.height = labels.height;
    this.frame.tabIndex = 0;
    this.frame.setAttribute("aria-label", "Photo with its regions; arrow keys read what is where");
    show(this.canvas, true);
    this.setOpacity(opacity);
    this.paint();
  }

  /** Make the frame as large as the room allows, in the photo's own shape. */
  fit(width, height) {
    const shape = width / height || 1;
    this.frame.style.setProperty("aspect-ratio", String(shape));
    this.frame.style.setProperty("--shape", String(shape));
  }

  setOpacity(opacity) {
    this.canvas.style.setProperty("opacity", String(opacity));
    // As in the files made by the command line: a paler photo lets the colours be told apart.
    this.photo.style.setProperty("filter", `saturate(${1 - opacity / 2})`);
  }

  setHidden(hidden) {
    this.hidden = hidden;
    this.paint();
  }

  setHighlight(index) {
    if (this.highlight === index) return;
    this.highlight = index;
    this.paint();
  }

  /** Colour and strength of each class number, as one 32-bit word of RGBA. */
  table() {
    const bytes = new Uint8ClampedArray(4 * 256);
    for (const { index, colour } of this.classes.values()) {
      const strength = this.hidden.has(index) ? 0
        : this.highlight === null || this.highlight === index ? 1 : FAINT;
      bytes.set([...channels(colour), 255 * strength], 4 * index);
    }
    return new Uint32Array(bytes.buffer);
  }

  paint() {
    if (!this.labels) return;
    const { width, height, values } = this.labels;
    const colours = this.table();
    const picture = new ImageData(width, height);
    const words = new Uint32Array(picture.data.buffer);
    const edge = Math.max(1, Math.round(Math.min(width, height) / BORDER));
    const white = new Uint32Array(new Uint8Array([255, 255, 255, 220]).buffer)[0];
    for (let y = 0, i = 0; y < height; y += 1) {
      for (let x = 0; x < width; x += 1, i += 1) {
        const label = values[i];
        const border = (x + edge < width && values[i + edge] !== label)
          || (y + edge < height && values[i + edge * width] !== label);
        words[i] = border && colours[label] >>> 24 === 255 ? white : colours[label];
      }
    }
    this.canvas.getContext("2d").putImageData(picture, 0, 0);
  }

  /** Read the map at fractions of width and height. */
  read(x, y) {
    const { width, height, values } = this.labels;
    const column = Math.min(width - 1, Math.floor(x * width));
    const row = Math.min(height - 1, Math.floor(y * height));
    const place = row * width + column;
    const found = this.classes.get(values[place]);
    return found && { ...found, confidence: this.confidence.values[place] / 255 };
  }

  point(x, y, byKey = false) {
    if (!this.labels) return;
    this.at = [x, y];
    const found = this.read(x, y);
    const known = found && found.index !== this.result.unknown_index;
    const text = !found ? "" : known ? `${found.name}, ${percent(found.confidence)} sure` : found.name;
    this.onRead(text, found?.colour);
    this.tip.textContent = text;
    show(this.tip, text !== "");
    show(this.cross, byKey);
    for (const part of [this.tip, this.cross]) {
      part.style.setProperty("left", percent(x, 2).replace(" ", ""));
      part.style.setProperty("top", percent(y, 2).replace(" ", ""));
    }
    this.tip.classList.toggle("leftwards", x > 0.6);
  }

  follow(event) {
    const box = this.frame.getBoundingClientRect();
    const clip = (value) => Math.min(1, Math.max(0, value));
    this.point(clip((event.clientX - box.left) / box.width), clip((event.clientY - box.top) / box.height));
  }

  walk(event) {
    if (event.key === "Escape") this.leave();
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!way || !this.labels) return;
    event.preventDefault();
    const step = event.shiftKey ? BIG_STEP : STEP;
    const [x, y] = this.at ?? [0.5, 0.5];
    const clip = (value) => Math.min(0.999, Math.max(0, value));
    this.point(clip(x + step * way[0]), clip(y + step * way[1]), true);
  }

  leave() {
    show(this.tip, false);
    show(this.cross, false);
    this.onRead("");
  }
}
