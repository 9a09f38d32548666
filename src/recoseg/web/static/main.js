/** Starts the page: tabs, the line to the server, and the three parts. */

import { call, capital, limits, link, retryNow } from "./api.js";
import { startArchive } from "./archive.js";
import { startConcepts } from "./concepts.js";
import { $, announce, show } from "./dom.js";
import { startSegment } from "./segment.js";
import { save, state } from "./state.js";

const TABS = ["segment", "concepts", "archive"];

/** The tab in the address; the slash keeps it from being an element's id, to which browsers jump. */
const asked = () => location.hash.replace(/^#\/?/, "");

export function open(name, focus = false) {
  if (!TABS.includes(name)) return;
  for (const tab of TABS) {
    const button = $(`tab-${tab}`);
    button.setAttribute("aria-selected", String(tab === name));
    button.tabIndex = tab === name ? 0 : -1;
    show($(tab), tab === name);
  }
  if (focus) $(`tab-${name}`).focus();
  state.tab = name;
  save();
  if (asked() !== name) history.replaceState(null, "", `#/${name}`);
  $(name).dispatchEvent(new CustomEvent("open"));
}

function startTabs() {
  for (const [place, name] of TABS.entries()) {
    $(`tab-${name}`).addEventListener("click", () => open(name));
    $(`tab-${name}`).addEventListener("keydown", (event) => {
      const last = TABS.length - 1;
      const to = { ArrowRight: (place + 1) % TABS.length, ArrowLeft: (place + last) % TABS.length,
        Home: 0, End: last }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      open(TABS[to], true);
    });
  }
  window.addEventListener("hashchange", () => open(asked()));
}

function startLink() {
  const banner = $("link");
  banner.querySelector("button").addEventListener("click", retryNow);
  link.addEventListener("link", ({ detail }) => {
    const was = !banner.hidden;
    show(banner, detail.state !== "ok");
    banner.classList.toggle("lost", detail.state === "lost");
    if (detail.state === "ok" && was) announce("The server answers again.");
    if (detail.state === "ok") return;
    const wait = `trying again in ${Math.max(1, Math.round(detail.wait))} s.`;
    const why = detail.state === "lost" ? "The server does not answer;" : `${capital(detail.message).replace(/[.;]$/, "")};`;
    banner.querySelector("span").textContent = `${why} ${wait}`;
  });
}

async function tellHealth() {
  const health = await call("/health");
  limits.bytes = health.max_bytes ?? Infinity;
  $("health").textContent = `${health.model} · ${health.version}`;
}

startTabs();
startLink();
const segment = startSegment();
startConcepts({ tryIt: async (bank, concept) => {
  await segment.choose(bank, concept);
  open("segment", true);
} });
startArchive({ learn: (words, index) => {
  $("concepts").dispatchEvent(new CustomEvent("learn", { detail: { words, index } }));
  open("concepts", true);
} });
open(TABS.includes(asked()) ? asked() : state.tab);
tellHealth().catch((error) => { $("health").textContent = error.message; });
