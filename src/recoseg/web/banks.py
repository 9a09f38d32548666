"""The banks that the server offers: the shipped one, those given, and those made on the page."""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import re
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from recoseg.concepts import bankfile
from recoseg.concepts.bank import EVERYDAY, ConceptBank
from recoseg.errors import BankError
from recoseg.io import durable
from recoseg.web.failures import Conflict, Missing, Unprocessable
from recoseg.web.folders import path_id

SHIPPED = "everyday"
GROUPS = Path(__file__).parents[1] / "data" / "everyday_groups.json"
# Seconds that a request waits for another program that changes the same bank.
PATIENCE = 10.0
_NAME = re.compile(r"\w[\w -]{0,59}")
Stamp = tuple[int, int]
Edit = Callable[[ConceptBank | None], ConceptBank | None]


@dataclasses.dataclass(frozen=True, eq=False)
class BankEntry:
    """A bank as it is on disk now.

    Attributes:
        id: how requests name it.
        name: how people do.
        path: its file.
        stamp: changes when the file does.
        bank: what it holds.
    """

    id: str
    name: str
    path: Path
    stamp: Stamp
    bank: ConceptBank

    @property
    def shipped(self) -> bool:
        """Whether it comes with the package and is never changed."""
        return self.id == SHIPPED

    @property
    def calibrated(self) -> bool:
        """Whether every concept has its thresholds, of any strictness."""
        return all(c.threshold is not None and c.thresholds is not None for c in self.bank.concepts)


@functools.cache
def groups() -> dict[str, str]:
    """Name of an everyday concept to the group in which a list shows it."""
    table: dict[str, list[str]] = json.loads(GROUPS.read_text(encoding="utf-8"))
    return {name: group for group, names in table.items() for name in names}


class BankLibrary:
    """Banks by id; files are read again when they change."""

    def __init__(self, given: tuple[Path, ...], state: Path) -> None:
        """Offer some files and what lies under ``state``."""
        self._given = [path.absolute() for path in given]
        self._state = state.absolute()
        self._folder = self._state / "banks"
        self._opened: dict[str, BankEntry] = {}
        self._reading = threading.Lock()
        self._saving = threading.Lock()
        for path in self._given:
            self._read(path_id("b", path), path)

    def entries(self) -> list[BankEntry]:
        """All banks that can be read, the shipped one first."""
        found = []
        for id, path in self._paths().items():
            try:
                found.append(self._read(id, path))
            except BankError:
                continue
        return found

    def find(self, id: str) -> BankEntry:
        """The bank of an id; Missing if there is none."""
        path = self._paths().get(id)
        if path is None:
            raise Missing(f"there is no bank {id!r}; see /api/banks.")
        return self._read(id, path)

    def change(self, named: str, edit: Edit) -> str:
        """Replace a bank's file by what ``edit`` makes of it, one change at a time.

        Args:
            named: a bank's id or name, or the name of a new one.
            edit: given the bank as it is now, or None for a new one; returns what to keep, or
                None to remove the file.

        Returns:
            The bank's id.

        Raises:
            Conflict: it is the shipped bank.
            Unprocessable: not a name for a new bank.
        """
        path = self._path_of(named)
        with self._saving, self._exclusive(path):
            old = self._read(path_id("b", path), path).bank if path.exists() else None
            new = edit(old)
            if new is not None:
                new.save(path, evidence="full")
            elif path in self._given:
                raise Conflict("this is the bank's last concept; delete the file itself instead.")
            else:
                path.unlink(missing_ok=True)
            return path_id("b", path)

    def _exclusive(self, path: Path) -> AbstractContextManager[None]:
        """By the lock that the command line takes too, so that neither loses the other's work."""
        durable.make_folder(self._folder)
        return bankfile.exclusive(path, logging.getLogger(__name__).info, PATIENCE)

    def _path_of(self, named: str) -> Path:
        paths = self._paths()
        by_name = {path.stem: path for id, path in paths.items() if id != SHIPPED}
        if named == SHIPPED:
            raise Conflict("the everyday bank is never changed; name a bank of your own.")
        if named in paths or named in by_name:
            return paths.get(named) or by_name[named]
        if not _NAME.fullmatch(named) or named != named.strip():
            raise Unprocessable(
                "a bank's name is 1 to 60 letters, digits, spaces, dashes or underscores."
            )
        return self._folder / f"{named}.bank"

    def _paths(self) -> dict[str, Path]:
        made = sorted(self._folder.glob("*.bank")) if self._folder.is_dir() else []
        return {SHIPPED: EVERYDAY, **{path_id("b", path): path for path in [*self._given, *made]}}

    def _read(self, id: str, path: Path) -> BankEntry:
        try:
            status = path.stat()
        except OSError:
            stamp = (0, 0)
        else:
            stamp = (status.st_mtime_ns, status.st_ino)
        with self._reading:
            known = self._opened.get(id)
            if known is None or known.stamp != stamp:
                name = SHIPPED if id == SHIPPED else path.stem
                known = BankEntry(id, name, path, stamp, ConceptBank.open(path))
                self._opened[id] = known
            return known
