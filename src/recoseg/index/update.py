"""Bring an index into line with its archive: only the difference, by one writer at a time."""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from recoseg.errors import ArchiveError, IndexDamaged
from recoseg.index import compaction, ledgerfile, parts, repair, spread
from recoseg.index.ingest import CHUNK, Due
from recoseg.index.journal import Journal
from recoseg.index.ledger import Seen, Writer
from recoseg.index.lookup import Lookup
from recoseg.index.manifest import NAME, Manifest
from recoseg.index.shards import Shards
from recoseg.io import durable, locks
from recoseg.io.archive import Archive, Item
from recoseg.io.machines import Cluster
from recoseg.io.progress import Progress, reporting
from recoseg.models.base import JointModel

LOCK = "lock"
LEDGER = "ledger.sqlite"
SHARD_ROWS = 65536
# File systems stamp files by clocks as coarse as this, so a younger one may change unnoticed.
COARSE_NS = 2 * 10**9

_OURS = re.compile(rf"{LOCK}|{re.escape(LEDGER)}.*|shards(-\d+)?|parts|\..*\.(recoseg|tmp)")


class Changes(NamedTuple):
    """How many images were added, changed, removed, left as they were, and left out."""

    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0
    skipped: int = 0


@dataclass(frozen=True)
class Effort:
    """How an update is to be done; the fields are arguments of ``Index.build``."""

    batch_size: int = 4
    workers: int | None = None
    check: bool = False
    compact: bool = False
    progress: Progress = True
    cluster: Cluster | None = None


def shards_of(folder: Path, manifest: Manifest, generation: int = 0) -> Shards:
    """The vectors of the index in ``folder``."""
    place = compaction.folder_of(folder, generation)
    return Shards(place, manifest.dim, manifest.shard_rows)


def build(folder: Path, archive: Archive, model: JointModel, effort: Effort) -> Manifest:
    """Make or continue the index in ``folder``; its manifest."""
    check_folder(folder, archive)
    durable.make_folder(folder)
    with locks.hold(folder / LOCK, str(folder)):
        if not (folder / NAME).exists():
            create(folder, Manifest.of(model, archive.describe(), SHARD_ROWS))
        manifest = Manifest.read(folder)
        manifest.check(model, folder)
        _check_same(folder, manifest, archive)
        changes = _update(folder, manifest, archive, model, effort)
    if not changes.added + changes.changed + changes.unchanged:
        with ledgerfile.open_reading(folder / LEDGER) as snapshot:
            raise ArchiveError(
                f"none of the {len(archive)} images of {archive.source} could be indexed; the "
                f"first reason: {snapshot.skipped()[0].reason}"
            )
    return manifest


def follow(
    folder: Path, moved: Archive | None, model: JointModel, effort: Effort
) -> tuple[Manifest, Changes]:
    """Bring the index in ``folder`` up to date; its archive may have ``moved``."""
    with locks.hold(folder / LOCK, str(folder)):
        manifest = Manifest.read(folder).require_followed(folder)
        manifest.check(model, folder)
        archive = Archive.reopen(manifest.archive).require_images() if moved is None else moved
        if archive.describe() != manifest.archive:
            _check_moved(folder, archive)
            manifest = dataclasses.replace(manifest, archive=archive.describe())
            manifest.write(folder)
        return manifest, _update(folder, manifest, archive, model, effort)


def _check_moved(folder: Path, archive: Archive) -> None:
    with ledgerfile.open_reading(folder / LEDGER) as snapshot:
        ids = snapshot.ids()
    if ids and not any(id in archive for id in ids):
        raise ArchiveError(
            f"{archive.source} holds none of the {len(ids)} images of {folder}; an index follows "
            "one archive, so build a new index, or bring all images under one folder."
        )


def check_folder(folder: Path, archive: Archive | None) -> None:
    """Accept ``folder`` if it is absent, empty, an index of ``archive`` (of any if None), or begun.

    Raises:
        ArchiveError: it is an index of another archive.
        IndexDamaged: it holds something else, which must not be mixed with an index.
    """
    if folder.exists() and not folder.is_dir():
        raise IndexDamaged(f"{folder} is a file, not an index; choose another name.")
    names = {path.name for path in folder.iterdir()} if folder.exists() else set()
    foreign = {name for name in names if not _OURS.fullmatch(name)}
    if names and NAME not in names and (foreign or LOCK not in names):
        raise IndexDamaged(f"{folder} holds other files and is not an index; choose another name.")
    if NAME in names and archive is not None:
        _check_same(folder, Manifest.read(folder), archive)


def _check_same(folder: Path, manifest: Manifest, archive: Archive) -> None:
    if manifest.archive != archive.describe():
        raise ArchiveError(
            f"{folder} was built from {Archive.reopen(manifest.archive).source}, not from "
            f"{archive.source}; give another output or, if the images were moved, say so (--moved, "
            "or Index.add)."
        )


def create(folder: Path, manifest: Manifest) -> None:
    """An empty index; the manifest comes last, so a folder that has one is complete."""
    for path in folder.glob(f"{LEDGER}*"):
        path.unlink()
    shutil.rmtree(folder / parts.FOLDER, ignore_errors=True)
    compaction.sweep(folder, 0)
    shards_of(folder, manifest).cut(0)
    with ledgerfile.open_writing(folder / LEDGER, create=True):
        pass
    manifest.write(folder)


def _update(
    folder: Path, manifest: Manifest, archive: Archive, model: JointModel, effort: Effort
) -> Changes:
    """Index what is new or changed and forget what is gone; the caller holds the lock.

    A file counts as unchanged while all that the file system says of it is; otherwise its content
    decides. What was left out before is tried again.
    """
    tally = dict.fromkeys(Changes._fields, 0)
    if effort.check:
        shutil.rmtree(folder / parts.FOLDER, ignore_errors=True)
        repair.repair(folder, folder / LEDGER, manifest.dim, manifest.shard_rows)
    with ledgerfile.open_writing(folder / LEDGER) as writer:
        shards = prepare_rows(folder, manifest, writer)
        tally["removed"] = _forget(archive, writer)
        tally["skipped"] = len(archive.problems)
        before: dict[str, bytes | None] = {}
        chunks = _find_differing(archive, writer, before)
        tally["unchanged"] = len(archive) - len(before)
        journal = Journal(shards, writer, _count(tally, before), lambda _: _add(tally, "skipped"))
        with reporting("indexing", len(before), effort.progress) as advance:
            spread.embed(
                *(folder, manifest, archive, chunks, model, journal, effort.cluster),
                batch_size=effort.batch_size,
                workers=effort.workers,
                advance=advance,
            )
        shutil.rmtree(folder / parts.FOLDER, ignore_errors=True)
        if effort.compact or compaction.is_wasteful(writer):
            compaction.compact(folder, shards, writer)
    return Changes(**tally)


def prepare_rows(folder: Path, manifest: Manifest, writer: Writer) -> Shards:
    """The rows, whole and with digests, and without what killed writers left."""
    compaction.sweep(folder, writer.generation())
    shards = shards_of(folder, manifest, writer.generation())
    repair.verify(shards, writer)
    shards.cut(writer.rows())
    repair.seal_all(shards, writer)
    return shards


def _forget(archive: Archive, writer: Writer) -> int:
    """Drop what the archive no longer lists; returns how many indexed images that were.

    What lies below a folder, link or tar file that cannot be listed now is kept.
    """
    problems = {problem.id for problem in archive.problems}
    gone = [id for id in writer.ids() if id not in archive and not _is_covered(id, problems)]
    skipped = [skipped.id for skipped in writer.skipped()]
    stale = [id for id in skipped if id not in archive and not _is_covered(id, problems)]
    if gone or stale or set(archive.problems) - set(writer.skipped()):
        writer.commit(skipped=archive.problems, gone=[*gone, *stale])
    return len(gone)


def _is_covered(id: str, problems: set[str]) -> bool:
    """Whether an id or a folder above it, written with or without a slash at its end, is there."""
    if not problems:
        return False
    ends = [place for place, letter in enumerate(id) if letter == "/"]
    return id in problems or any(id[:end] in problems or id[: end + 1] in problems for end in ends)


def _find_differing(
    archive: Archive, writer: Writer, before: dict[str, bytes | None]
) -> list[list[Due]]:
    """Files that may hold something else than when they were read, if they were, in chunks."""
    todo, adopted = dict[int, list[Due]](), list[tuple[Item, bytes]]()
    known = Lookup(writer)
    for place, item in enumerate(archive):
        held = known.find(item.id)
        if held is not None and _is_same(item, held[1]):
            if held[1].ctime_ns is None:
                adopted.append((item, held[0]))
            continue
        before[item.id] = old = held[0] if held is not None else None
        todo.setdefault(place // CHUNK, []).append(Due(item, old))
    if adopted:
        writer.commit(images=adopted)
    return list(todo.values())


def _is_same(item: Item, seen: Seen) -> bool:
    if seen.ctime_ns is None or seen.read_ns is None:  # noted by an older version
        return (item.size, item.mtime_ns) == seen[:2]
    settled = max(item.mtime_ns, item.ctime_ns) < seen.read_ns - COARSE_NS
    return settled and (item.size, item.mtime_ns, item.ctime_ns, item.inode) == seen[:4]


def _count(tally: dict[str, int], before: dict[str, bytes | None]) -> Callable[[Item, bytes], None]:
    def count(item: Item, digest: bytes) -> None:
        old = before[item.id]
        _add(tally, "added" if old is None else "unchanged" if old == digest else "changed")

    return count


def _add(tally: dict[str, int], name: str) -> None:
    tally[name] += 1
