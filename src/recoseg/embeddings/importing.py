"""Import of a table of embeddings into an index: only the difference, by one writer at a time."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from recoseg.embeddings.agreement import Agreement, compare
from recoseg.embeddings.intake import Intake
from recoseg.embeddings.table import Table
from recoseg.errors import ArchiveError
from recoseg.index import compaction, ledgerfile, repair, update
from recoseg.index.index import Index
from recoseg.index.manifest import NAME, Manifest
from recoseg.index.update import Changes
from recoseg.io import durable, locks
from recoseg.io.imported import is_imported
from recoseg.io.progress import Progress, reporting
from recoseg.models import registry
from recoseg.models.base import JointModel


@dataclass(frozen=True)
class Imported:
    """Result of an import.

    Attributes:
        index: the index.
        changes: as those of an update; rows left out are ``skipped``.
        agreement: of the vectors with the model.
        unreachable: photos that cannot be fetched now; their vectors can be searched.
        repeated: rows whose photo had a row before; the first counts.
        nameless: rows that name no photo; they are left out.
    """

    index: Index
    changes: Changes
    agreement: Agreement
    unreachable: int
    repeated: int
    nameless: int


def import_table(
    table: Table,
    out: str | Path,
    *,
    model: str | JointModel,
    trust: bool = False,
    moved: bool = False,
    check: bool = False,
    progress: Progress = True,
) -> Imported:
    """Put a table's vectors into an index; run again, it goes on, or follows what has changed.

    Args:
        table: what ``recognise.open_table`` gives.
        out: folder of the index; made, or continued if it has the same model and table.
        model: the model that made the vectors, or its id.
        trust: go on if no photo can be read, so that vectors and model cannot be compared.
        moved: the table of the index that exists is now here.
        check: repair ``out`` first: what is damaged is imported again.
        progress: False, True (stderr) or a function of (done, total), counted in files.

    Raises:
        IndexMismatch: the vectors are of another model, or ``out`` is.
        ArchiveError: no photo can be read, or ``out`` has another archive.
        Locked: another writer is at work on ``out``.
        IndexDamaged: ``out`` is something else, or broken.
    """
    folder = Path(out)
    update.check_folder(folder, None)  # wrong paths before slow models
    joint = registry.load_joint(model)
    agreement = compare(table, joint, trust=trust)
    durable.make_folder(folder)
    with locks.hold(folder / update.LOCK, str(folder)):
        manifest = _manifest(folder, table, joint, moved)
        if check:
            repair.repair(folder, folder / update.LEDGER, manifest.dim, manifest.shard_rows)
        counts = _take_over(folder, manifest, table, progress)
    changes = Changes(*(counts[name] for name in Changes._fields))
    passed = (counts["unreachable"], counts["repeated"], counts["nameless"])
    return Imported(Index(folder, manifest), changes, agreement, *passed)


def _take_over(folder: Path, manifest: Manifest, table: Table, progress: Progress) -> Counter[str]:
    """Bring the index into line with the table; the caller holds the lock."""
    with ledgerfile.open_writing(folder / update.LEDGER) as writer:
        shards = update.prepare_rows(folder, manifest, writer)
        with (
            Intake(shards, writer, table.source) as intake,
            reporting("importing", len(table.parts), progress) as advance,
        ):
            for part in table.parts:
                intake.take(part)
                advance(1)
            intake.finish()
        if compaction.is_wasteful(writer):
            compaction.compact(folder, shards, writer)
    return intake.counts


def _manifest(folder: Path, table: Table, model: JointModel, moved: bool) -> Manifest:
    """The manifest of the index, made if there is none; the place of the photos may change."""
    now = table.source.describe()
    if not (folder / NAME).exists():
        update.create(folder, Manifest.of(model, now, update.SHARD_ROWS))
    manifest = Manifest.read(folder)
    manifest.check(model, folder)
    held = manifest.archive
    same = (held.get("form"), held.get("path")) == (now["form"], now["path"])
    if not is_imported(held) or not (same or moved):
        raise ArchiveError(
            f"{folder} was built from {held.get('path') or held.get('paths')}, not from "
            f"{table.source.where}; give another output or, if the archive was moved, say so "
            "(--moved)."
        )
    if held != now:
        manifest = dataclasses.replace(manifest, archive=now)
        manifest.write(folder)
    return manifest
