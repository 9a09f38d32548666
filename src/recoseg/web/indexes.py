"""The indexes that the server offers: those given, and those made on the page."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from recoseg.errors import IndexDamaged, RecosegError
from recoseg.index.index import Index
from recoseg.index.manifest import Manifest
from recoseg.io import durable, locks
from recoseg.models import registry
from recoseg.models.prompts import embed_concepts
from recoseg.recipe import preset
from recoseg.web.failures import Missing
from recoseg.web.folders import path_id
from recoseg.web.worker import OnStep


@dataclass(frozen=True)
class IndexInfo:
    """Description of an index made on the page, kept in a file beside it.

    Attributes:
        name: what people call it.
        root: id of the root its folder is below.
        folder: path of the folder below the root.
        source: path of the folder.
        complete: whether indexing ever came to its end.
    """

    name: str
    root: str
    folder: str
    source: str
    complete: bool = False


class IndexLibrary:
    """Indexes by id."""

    def __init__(self, given: tuple[Path, ...], state: Path, device: str | None) -> None:
        """Offer some folders and what lies under ``state``."""
        self.device = device
        self._folder = state.absolute() / "indexes"
        self._given = {path_id("i", path.absolute()): path.absolute() for path in given}
        self._opened: dict[str, Index] = {}
        self._lock = threading.Lock()
        for id in self._given:
            self.open(id)

    def ids(self) -> list[str]:
        """All, those given first."""
        made = sorted(self._folder.glob("*.json")) if self._folder.is_dir() else []
        return [*self._given, *(path.stem for path in made)]

    def find(self, id: str) -> Path:
        """The folder of an index; Missing if there is none of this id."""
        if id not in self.ids():
            raise Missing("there is no such index; see /api/indexes.")
        return self._given.get(id) or self._folder / f"{id}.index"

    def open(self, id: str) -> Index:
        """The index of an id; safe to use from several threads."""
        path = self.find(id)
        with self._lock:
            if id not in self._opened:
                self._opened[id] = Index.open(path)
            return self._opened[id]

    def about(self, id: str) -> IndexInfo:
        """Where an index came from."""
        path = self.find(id)
        if id in self._given:
            where = Manifest.read(path).archive.get("path", "")
            return IndexInfo(path.stem, "", str(where), str(where), complete=True)
        try:
            return IndexInfo(**json.loads((self._folder / f"{id}.json").read_bytes()))
        except (OSError, ValueError, TypeError) as error:
            raise IndexDamaged(
                f"the note on the index {id} is damaged; delete {self._folder / id}.json, and "
                "index the folder again."
            ) from error

    def prepare(self, about: IndexInfo) -> str:
        """Note an index that is going to be made; its id, the same for the same folder."""
        id = path_id("i", Path(about.source))
        durable.make_folder(self._folder)
        with locks.hold(self._folder / "notes.lock", "the notes on indexes", wait=_say):
            if id in self.ids():
                with contextlib.suppress(IndexDamaged):
                    about = dataclasses.replace(about, complete=self.about(id).complete)
            self._note(id, about)
        return id

    def build(self, id: str, step: OnStep) -> dict[str, Any]:
        """Make an index, or go on with it, or bring it up to date."""
        about = self.about(id)
        joint = registry.load_joint(preset("lite").retrieval, self.device)
        made = Index.build(about.source, self.find(id), model=joint, progress=step)
        with locks.hold(self._folder / "notes.lock", "the notes on indexes", wait=_say):
            self._note(id, dataclasses.replace(about, complete=True))
        with self._lock:
            self._opened[id] = made
        return {"index": id, "photos": len(made), "skipped": len(made.skipped)}

    def describe(self, id: str, busy: bool) -> dict[str, Any]:
        """An index in plain JSON types."""
        about = self.about(id)
        try:
            opened = self.open(id)
            photos, model = len(opened), opened.model_id
        except RecosegError:
            photos, model = 0, preset("lite").retrieval
        state = "indexing" if busy else "ready" if about.complete else "partial"
        return {
            "id": id,
            "name": about.name,
            "photos": photos,
            "model": model,
            "state": state,
            "root": about.root,
            "folder": about.folder,
        }

    def search(self, id: str, query: str, count: int) -> dict[str, Any]:
        """The photos that fit a phrase best."""
        opened = self.open(id)
        joint = registry.load_joint(opened.model_id, self.device)
        opened.check(joint)
        (hits,) = opened.search(
            embed_concepts(joint, {query: [query]}, preset("lite").templates), count
        )
        return {
            "hits": [
                {"photo": hit.id, "score": round(hit.score, 4), "name": Path(hit.id).name}
                for hit in hits
            ]
        }

    def _note(self, id: str, about: IndexInfo) -> None:
        data = json.dumps(asdict(about), ensure_ascii=False).encode("utf-8", "surrogateescape")
        durable.write(self._folder / f"{id}.json", data)


def _say(sentence: str) -> None:
    logging.getLogger(__name__).info(sentence)
