/** The photos to segment: each its own job, two at a time, remembered over a reload. */

import { at, call, form } from "./api.js";
import { cancel, follow } from "./jobs.js";
import { save, state } from "./state.js";

const LANES = 2;

/**
 * A photo: {key, name, file, url, job, settings, live, result, asked, error}. `file` is null after a reload,
 * `job` the id of work under way, `settings` what it was asked for and `live` its last news;
 * `result` is what was found, `asked` the settings it was found with.
 */
export class Photos extends EventTarget {
  constructor() {
    super();
    this.all = [];
    this.queue = [];
    this.busy = 0;
  }

  changed(photo) {
    const kept = this.all.filter(({ job, result }) => job || result);
    state.segment.photos = kept.map(({ key, name, job, settings, result, asked }) =>
      ({ key, name, job, settings, result, asked }));
    state.segment.unsent = this.all.length - kept.length;
    save();
    this.dispatchEvent(new CustomEvent("change", { detail: photo }));
  }

  /** Take up what an earlier visit left, jobs under way included. */
  restore() {
    for (const kept of state.segment.photos) {
      const photo = { ...kept, file: null, live: null, error: null };
      photo.url = photo.result ? at(["results", photo.result.id, "photo.jpg"]) : "";
      this.all.push(photo);
      if (photo.job) this.run(photo, null);
    }
  }

  add(files) {
    const added = files.map((file) => ({ key: crypto.randomUUID?.() ?? String(Math.random()),
      name: file.name || "pasted photo", file, url: URL.createObjectURL(file), job: null, live: null,
      result: null, asked: null, error: null }));
    this.all.push(...added);
    this.changed(added[0]);
    return added;
  }

  remove(photo) {
    this.stop(photo);
    this.all = this.all.filter((one) => one !== photo);
    if (photo.file) URL.revokeObjectURL(photo.url);
    if (photo.result) this.forget(photo.result);
    this.changed(photo);
  }

  /** Segment photos with `settings`, the fields of the form beside the image. */
  start(photos, settings) {
    for (const photo of photos.filter((one) => !one.live)) {
      Object.assign(photo, { live: { state: "waiting" }, error: null });
      this.queue.push({ photo, settings });
      this.changed(photo);
    }
    this.next();
  }

  next() {
    while (this.busy < LANES && this.queue.length) {
      const { photo, settings } = this.queue.shift();
      this.busy += 1;
      this.run(photo, settings).finally(() => {
        this.busy -= 1;
        this.next();
      });
    }
  }

  async run(photo, settings) {
    photo.control = new AbortController();
    const { signal } = photo.control;
    photo.live = { state: "waiting" };
    try {
      if (settings) {
        const image = photo.file ?? await call(`/results/${photo.result.id}/photo.jpg`, { signal });
        const sent = form({ ...settings, image });
        photo.job = (await call("/segment", { form: sent, signal })).job;
        photo.settings = JSON.stringify(settings);
      }
      this.changed(photo);
      const { result } = await follow(photo.job, (job) => this.news(photo, job), signal);
      this.found(photo, result);
    } catch (error) {
      if (error.name !== "AbortError") photo.error = error.message;
    } finally {
      photo.live = photo.job = null;
      this.changed(photo);
    }
  }

  news(photo, job) {
    photo.live = { ...job, stopping: photo.live?.stopping };
    this.dispatchEvent(new CustomEvent("change", { detail: photo }));
  }

  found(photo, result) {
    if (!this.all.includes(photo)) this.forget(result);
    if (photo.result) this.forget(photo.result);
    photo.result = result;
    photo.asked = photo.settings;
    if (!photo.file) photo.url = at(["results", result.id, "photo.jpg"]);
  }

  /** Stop a photo's work, wherever it is. */
  stop(photo) {
    this.queue = this.queue.filter((one) => one.photo !== photo);
    if (photo.job && photo.live) {
      photo.live = { ...photo.live, stopping: true };
      cancel(photo.job).catch(() => photo.control.abort());
    } else photo.control?.abort();
    if (!photo.job) photo.live = null;
    this.changed(photo);
  }

  forget(result) {
    // What cannot be deleted now goes when the server ends.
    call(`/results/${result.id}`, { method: "DELETE" }).catch(() => {});
  }
}
