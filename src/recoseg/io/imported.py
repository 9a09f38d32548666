"""Image source of photos whose vectors were imported: some may be beyond reach."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from recoseg.errors import ArchiveError
from recoseg.io.images import printable
from recoseg.io.sources import ImageSource, Listing, from_id, to_id

KIND = "imported"
# The size of a photo's file in the ledger, if the file itself was never looked at.
UNREAD = -1


@runtime_checkable
class Looking(Protocol):
    """Optional: a source that knows at little cost whether it has a photo."""

    def has(self, id: str) -> bool:
        """Whether ``read`` may be expected to succeed."""
        ...


class ImportedSource:
    """Photos of imported vectors; only those below the place of the photos are ever read."""

    def __init__(self, form: str, path: str, photos: ImageSource | None) -> None:
        """``form`` and ``path`` of the vectors, and where the photos are, if that is known."""
        self.form, self.path, self.photos = form, path, photos

    @property
    def where(self) -> str:
        """The path of the vectors."""
        return printable(self.path)

    def describe(self) -> dict[str, Any]:
        """Kind, form and path, and the description of the photos."""
        photos = None if self.photos is None else self.photos.describe()
        return {"kind": KIND, "form": self.form, "path": self.path, "photos": photos}

    def has(self, id: str) -> bool:
        """Whether the photo can be expected to be read."""
        if self.photos is None or not is_inside(id):
            return False
        if isinstance(self.photos, Looking):
            return self.photos.has(id)
        root = getattr(self.photos, "root", None)
        if root is None or "://" in str(root):
            return True
        try:
            return os.path.isfile(f"{root}/{from_id(id)}")  # noqa: PTH113
        except ValueError:  # a name that no file can have
            return False

    def read(self, id: str) -> bytes:
        """The bytes of a photo; ArchiveError if it is beyond reach."""
        if self.photos is None or not is_inside(id):
            raise ArchiveError(
                f"{id} cannot be fetched: it does not lie below a folder of photos that is known; "
                "import again and say where the photos are (--photos)."
            )
        return self.photos.read(id)

    def scan(self) -> Listing:
        """ArchiveError: what follows the vectors of others is an import, not a look at photos."""
        raise ArchiveError(
            f"the vectors of {self.where} were imported; bring the index up to date with `recoseg "
            "index import`."
        )


def is_imported(description: Mapping[str, Any]) -> bool:
    """Whether an archive's description is that of an ``ImportedSource``."""
    return description.get("kind") == KIND


def is_inside(id: str) -> bool:
    """Whether an id leads to something below its source: no URL, no absolute path, no ``..``."""
    name = from_id(id)
    return not ("://" in name or name.startswith("/") or ".." in name.split("/"))


def id_of(path: str, root: str | None) -> str:
    """The id of a photo from the path or URL that others gave it.

    Args:
        path: as they wrote it.
        root: the folder or URL of the photos; a path or URL below it becomes relative to it.
    """
    if "://" in path:
        return _storable(path if root is None else path.removeprefix(f"{root}/"))
    name = posixpath.normpath(path.replace(os.sep, "/"))
    if root is not None and name.startswith("/") and Path(name).is_relative_to(root):
        name = str(Path(name).relative_to(root))
    return _storable(name)


def _storable(name: str) -> str:
    # No file has such a name, and not every database takes one.
    return to_id(name).replace("\0", "\\x00")
