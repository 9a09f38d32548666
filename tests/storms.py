"""Storms: every verb is killed at random moments, and every file damaged in random places.

A ``Verb`` knows how to lay out its inputs, how to run to its end, what a reader sees at any moment,
and what must be there at the end. Models are toys, so that a kill costs a fraction of a second.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import random
import shutil
import signal
import tarfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image

from recoseg import exporting
from recoseg.building.calibration import calibrate
from recoseg.concepts import bankfile
from recoseg.concepts.bank import ConceptBank
from recoseg.errors import IndexDamaged, RecosegError
from recoseg.index import blocks, journal, update
from recoseg.index.index import Index
from recoseg.learning import adaptation
from recoseg.models.registry import Models
from recoseg.recipe import LITE
from recoseg.runs import batch, inputs, manifest, record
from recoseg.segmenting.result import Segmentation
from recoseg.segmenting.segmenter import Segmenter
from recoseg.student.student import Student
from recoseg.video import clip_record, segment_video
from tests import pupils
from tests.nursery import OneByOne
from tests.toys import COLOURS, paint

RECIPE = LITE.replace(archive_size=32, image_size=32, k=2, ce=False)
TOY = OneByOne()
MODELS = Models(TOY, TOY, TOY)
LONGEST = 60.0


# What ``small_steps`` sets.
SMALL = (
    (journal, "FLUSH_ROWS"),
    (update, "SHARD_ROWS"),
    (blocks, "BLOCK_BYTES"),
    (record, "SAVE_EVERY"),
    (clip_record, "SAVE_EVERY"),
)


def small_steps() -> None:
    """Many shards, blocks and commits for few photos, so that kills meet every step."""
    torch.set_num_threads(1)
    journal.FLUSH_ROWS, update.SHARD_ROWS, blocks.BLOCK_BYTES = 3, 11, 4 * 2 * 16
    record.SAVE_EVERY = clip_record.SAVE_EVERY = 0.0


def photos(folder: Path, count: int, seed: int = 0) -> Path:
    dice = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    names = list(COLOURS)
    for i in range(count):
        paint(folder / f"{i:02d}.png", names[i % 4], names[int(dice.integers(4, 6))], 32 + 2 * i)
    return folder


def packed(folder: Path, source: Path) -> Path:
    folder.mkdir()
    for number in range(3):
        with tarfile.open(folder / f"{number}.tar", "w") as tar:
            for path in sorted(source.iterdir())[number::3]:
                tar.add(path, path.name)
    return folder


def bank() -> ConceptBank:
    examples = {
        name: [Image.new("RGB", (32, 32), COLOURS[name])] for name in ("red", "blue", "green")
    }
    return ConceptBank.build(
        list(examples), None, RECIPE, examples=examples, models=MODELS, progress=False
    )


def segmenter(home: Path) -> Segmenter:
    return Segmenter(ConceptBank.open(home / "b.bank"), models=MODELS)


@dataclasses.dataclass(frozen=True)
class Verb:
    """What is stormed.

    Attributes:
        name: of the verb.
        inputs: lays them out in a folder.
        run: works in that folder to the end; again and again without harm.
        look: what a reader sees, in any state: how much is done; raises if something is torn.
        made: the end's facts, equal only if nothing was lost, repeated or torn.
        out: what is damaged, below the folder: what the verb writes or, to export, reads.
        mend: as ``run``, but after damage.
    """

    name: str
    inputs: Callable[[Path], object]
    run: Callable[[Path], object]
    look: Callable[[Path], int]
    made: Callable[[Path], object]
    out: str
    mend: Callable[[Path], object] | None = None


def indexed(source: str, check: bool = False) -> Callable[[Path], object]:
    def run(home: Path) -> Index:
        return Index.build(
            home / source, home / "x.index", model=TOY, batch_size=2, workers=2, check=check,
            progress=False,
        )  # fmt: skip

    return run


def look_at_index(home: Path) -> int:
    try:
        index = Index.open(home / "x.index")
    except IndexDamaged:
        if (home / "x.index/manifest.json").exists():
            raise
        return 0
    ids = index.ids
    if ids:
        hits = index.search(index.vectors(ids[:1]), len(ids))[0]
        assert sorted(hit.id for hit in hits) == ids
    return len(ids)


def facts_of_update(home: Path) -> object:
    index = Index.open(home / "x.index")
    rows = index.vectors(index.ids)
    found = index.search(rows[:3], 6)
    return index.ids, hashlib.sha256(rows.tobytes()).hexdigest(), index.hash, found


def facts_of_index(home: Path) -> object:
    """With the bytes that are stored, so that no row is there twice or half."""
    stored = sum(path.stat().st_size for path in (home / "x.index").glob("shards*/*"))
    return facts_of_update(home), stored


def outdated(home: Path) -> None:
    """An index, and photos that were deleted, changed and added since."""
    photos(home / "photos", 24)
    indexed("photos")(home)
    for i in range(8):
        (home / f"photos/{i:02d}.png").unlink()
        paint(home / f"photos/{i + 8:02d}.png", "yellow", "black", 40 + i)
        paint(home / f"photos/new{i:02d}.png", "white", "red", 40 + i)


def segment(home: Path) -> None:
    chosen = segmenter(home)
    given = inputs.gather([home / "photos"])
    for outcome in batch.run(given, chosen, home / "out", chosen.identity, progress=False):
        assert outcome.state != "failed", outcome.reason


def look_at_results(home: Path) -> int:
    if not (home / "out/manifest.json").exists():
        return 0
    known = manifest.list_finished(home / "out")
    for labels in known.values():
        labels.check()
    return len(known)


def files_of(home: Path, out: str, pattern: str = "*") -> dict[str, str]:
    return {
        path.relative_to(home).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((home / out).rglob(pattern))
        if path.is_file() and path.name != ".lock"
    }


def change_bank(change: Callable[[ConceptBank], ConceptBank]) -> Callable[[Path], object]:
    def run(home: Path) -> None:
        path = home / "b.bank"
        with bankfile.exclusive(path):
            opened = ConceptBank.open(path)
            change(opened).save(path, evidence="full")

    return run


def grow(opened: ConceptBank) -> ConceptBank:
    for name in ("white", "yellow", "black"):
        if name not in opened.names:
            example = {name: [Image.new("RGB", (32, 32), COLOURS[name])]}
            opened = opened.add([], None, examples=example, models=MODELS, progress=False)
    return opened


def facts_of_bank(home: Path) -> object:
    opened = ConceptBank.open(home / "b.bank")
    levels = [(c.name, c.threshold, c.thresholds) for c in opened.concepts]
    return levels, opened.references.numpy().tobytes()


def with_photos(count: int) -> Callable[[Path], None]:
    def inputs(home: Path) -> None:
        photos(home / "photos", count)
        bank().save(home / "b.bank", evidence="full")

    return inputs


def with_index(home: Path) -> None:
    with_photos(10)(home)
    indexed("photos")(home)


def with_results(home: Path) -> None:
    with_photos(12)(home)
    segment(home)


def export(home: Path) -> None:
    if not (home / "coco").exists():
        exporting.write(home / "out", "coco-rle", home / "coco", progress=False)


def export_anew(home: Path) -> None:
    shutil.rmtree(home / "coco")
    export(home)


def look_at_export(home: Path) -> int:
    if not (home / "coco").exists():
        return 0
    json.loads((home / "coco/recoseg.json").read_bytes())
    json.loads((home / "coco/annotations.json").read_bytes())
    return 1


def film(home: Path) -> None:
    segment_video(home / "photos", segmenter(home), home / "out", smooth=0.5, progress=False)


def with_frames(home: Path) -> None:
    bank().save(home / "b.bank")
    (home / "photos").mkdir()
    for i in range(10):
        paint(home / f"photos/{i:02d}.png", "red", "blue" if i % 3 else "green", 48)


def facts_of_film(home: Path) -> object:
    """The film by what it shows: x264 gives one of several hundred encodings other bytes."""
    files = files_of(home, "out").items()
    kept = {k: v for k, v in files if not k.endswith((".json", ".backup", ".mp4"))}
    overlay = home / "out/overlay.mp4"
    recorded = manifest.read(home / "out")["overlay"]
    is_recorded = recorded == record.digest_files(home / "out", [overlay])
    return {**kept, "recorded": is_recorded, "shown": shown(home)}


def shown(home: Path) -> object:
    """When each frame of the overlay is shown, and whether it is what its labels ask for."""
    found = []
    names = tuple(ConceptBank.open(home / "b.bank").names)
    try:
        with av.open(str(home / "out/overlay.mp4")) as film:
            for number, frame in enumerate(film.decode(video=0)):
                labels = np.asarray(Image.open(home / f"out/labels/{number:02d}.png"))
                pixels = np.asarray(Image.open(home / f"photos/{number:02d}.png").convert("RGB"))
                drawn = Segmentation(
                    labels, names, np.zeros(labels.shape, np.float32), pixels, torch.zeros(0, 1, 1)
                ).overlay()
                error = np.abs(frame.to_ndarray(format="rgb24") - np.asarray(drawn, np.float32))
                found.append((frame.time, bool(error.mean() < 8)))
    except av.FFmpegError as error:
        return type(error).__name__
    return found


def scenes(home: Path) -> None:
    pupils.paint_scenes(home / "photos")
    pupils.student(seed=3).save(home / "teacher")


def adapt(home: Path) -> None:
    adaptation.adapt(
        Student.open(home / "teacher", "cpu"), home / "photos", home / "out", save_every=0.0,
        preset=pupils.PLAN, device="cpu", progress=False,
    )  # fmt: skip


def look_at_student(home: Path) -> int:
    path = home / "out/student.safetensors"
    return len(Student.open(path, "cpu").names) if path.exists() else 0


def facts_of_student(home: Path) -> object:
    opened = Student.open(home / "out/student.safetensors", "cpu")
    return opened.digest, files_of(home, "out", "*.png")


VERBS = (
    Verb("index", lambda home: photos(home / "photos", 24), indexed("photos"), look_at_index,
         facts_of_index, "x.index", indexed("photos", check=True)),
    Verb("update", outdated, indexed("photos"), look_at_index, facts_of_update, "x.index",
         indexed("photos", check=True)),
    Verb("tars", lambda home: packed(home / "t", photos(home / "photos", 24)), indexed("t"),
         look_at_index, facts_of_index, "x.index", indexed("t", check=True)),
    Verb("segment", with_photos(12), segment, look_at_results,
         lambda home: files_of(home, "out"), "out"),
    Verb("concept", with_photos(1), change_bank(grow),
         lambda home: len(ConceptBank.open(home / "b.bank").names), facts_of_bank, "b.bank"),
    Verb("calibrate", with_index, change_bank(
         lambda opened: calibrate(opened, Index.open(HOME[0] / "x.index"), models=MODELS,
                                  progress=False)),
         lambda home: sum(c.threshold is not None for c in
                          ConceptBank.open(home / "b.bank").concepts), facts_of_bank, "b.bank"),
    Verb("export", with_results, export, look_at_export, lambda home: files_of(home, "coco"),
         "out", export_anew),
    Verb("video", with_frames, film, look_at_results, facts_of_film, "out"),
    Verb("adapt", scenes, adapt, look_at_student, facts_of_student, "out"),
)  # fmt: skip
# The folder that is worked in, for changes that are given a bank alone.
HOME = [Path()]


def is_lock(path: Path) -> bool:
    return path.name in ("lock", ".lock")


def names_in(home: Path) -> list[str]:
    """All files, for a comparison that finds strays."""
    found = [p for p in home.rglob("*") if p.is_file() and not is_lock(p)]
    # How many shards there are depends on how often an index was compacted.
    names = [path.relative_to(home).as_posix() for path in found]
    return sorted(name for name in names if not name.startswith("x.index/shards"))


def begun(verb: Verb, home: Path) -> int:
    """The process id of a child that runs the verb."""
    (home.parent / "error").unlink(missing_ok=True)
    process = os.fork()
    if process:
        return process
    try:
        # torch replaces the parent's thread pool at the first use of it; two threads that did so at
        # once would find none ("Invalid thread pool").
        torch.set_num_threads(1)
        verb.run(home)
        os._exit(0)
    except BaseException as error:
        with suppress(OSError):
            (home.parent / "error").write_text(f"{type(error).__name__}: {error}")
        os._exit(1)


def ended(process: int) -> int:
    """How a child ended, as an exit code or minus a signal; None counts as hung."""
    deadline = time.monotonic() + LONGEST
    while time.monotonic() < deadline:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return 99


def differing(made: object, wanted: object) -> object:
    """What differs between two ends, for a note."""
    if isinstance(made, dict) and isinstance(wanted, dict):
        return sorted(k for k in made.keys() | wanted.keys() if made.get(k) != wanted.get(k))
    return str(made)[:200]


class Storm:
    """Kills of one verb until there were enough, and what came of them."""

    def __init__(self, verb: Verb, folder: Path, seed: int) -> None:
        small_steps()
        self.verb, self.folder, self.dice = verb, folder, random.Random(f"{verb.name} {seed}")
        self.counts: Counter[str] = Counter()
        self.notes: list[str] = []
        # All is done in one place, because an index remembers where its photos are.
        self.home = HOME[0] = folder / "home"
        self.home.mkdir(parents=True)
        verb.inputs(self.home)
        shutil.copytree(self.home, folder / "inputs")
        began = time.monotonic()
        verb.run(self.home)
        self.duration = time.monotonic() - began
        self.facts, self.names = verb.made(self.home), names_in(self.home)
        shutil.copytree(self.home, folder / "whole")

    def kill(self, times: int) -> Counter[str]:
        """Kill so many times; each start goes on where the last one was killed."""
        while self.counts["kills"] < times:
            home, done = self._anew("inputs"), 0
            while True:
                process = begun(self.verb, home)
                time.sleep(self.dice.uniform(0, 0.6 * self.duration))
                with suppress(ProcessLookupError):
                    os.kill(
                        process, self.dice.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGINT))
                    )
                status = ended(process)
                self.counts["kills"] += status in (-signal.SIGKILL, -signal.SIGINT, 1)
                done = self._seen(home, done)
                if status == 0 or self.counts["kills"] >= times:
                    break
            self._finish(home)
        return self.counts

    def _seen(self, home: Path, before: int) -> int:
        try:
            now = self.verb.look(home)
        except Exception as error:
            return self._note("torn", f"{type(error).__name__}: {error}", before)
        if now < before and self.verb.name != "update":
            self._note("lost", f"{before} became {now}", before)
        return now

    def _finish(self, home: Path) -> None:
        status = ended(begun(self.verb, home))
        if status:
            said = (home.parent / "error").read_text() if status == 1 else f"status {status}"
            self._note("failed", said, 0)
            return
        self.counts["finished"] += 1
        if (made := self.verb.made(home)) != self.facts:
            self._note("lost or repeated", f"the end differs: {differing(made, self.facts)}", 0)
        if strays := set(names_in(home)) ^ set(self.names):
            self._note("stray", str(sorted(strays)), 0)

    def damage(self, times: int) -> Counter[str]:
        """Damage a file, use it, mend it; each time from a whole state."""
        mend = self.verb.mend or self.verb.run
        for number in range(times):
            home = self._anew("whole")
            what = self._harm(home, number)
            self.counts["damages"] += 1
            try:
                told = self._outcome(home)
                mend(home)
                healed = (made := self.verb.made(home)) == self.facts
                self.counts["healed" if healed else "refused"] += 1
                if not healed and not told:
                    self._note("silent", f"{what}: {differing(made, self.facts)}", 0)
            except RecosegError:
                self.counts["refused"] += 1
            except Exception as error:
                self._note("unexpected", f"{what}: {type(error).__name__}: {error}", 0)
        return self.counts

    def _outcome(self, home: Path) -> bool:
        """Use what is damaged as it is; whether that was told."""
        try:
            self.verb.look(home)
            return False
        except (RecosegError, AssertionError):
            self.counts["told"] += 1
            return True
        except (OSError, ValueError):
            return True  # the test's own reading

    def _harm(self, home: Path, number: int) -> str:
        target = home / self.verb.out
        found = [target] if target.is_file() else target.rglob("*")
        files = [p for p in found if p.is_file() and p.stat().st_size and not is_lock(p)]
        path = self.dice.choice(sorted(files))
        data = bytearray(path.read_bytes())
        place = self.dice.randrange(len(data))
        kind = ("flip", "zeros", "cut")[number % 3]
        if kind == "flip":
            data[place] ^= 1 << self.dice.randrange(8)
        elif kind == "zeros":
            data[place : place + 64] = bytes(len(data[place : place + 64]))
        else:
            del data[place:]
        path.write_bytes(data)
        return f"{kind} at {place} of {path.relative_to(home)}"

    def _anew(self, state: str) -> Path:
        shutil.rmtree(self.home, ignore_errors=True)
        shutil.copytree(self.folder / state, self.home)
        return self.home

    def _note(self, kind: str, text: str, value: int) -> int:
        self.counts[kind] += 1
        self.notes.append(f"{self.verb.name}: {kind}: {text}")
        return value
