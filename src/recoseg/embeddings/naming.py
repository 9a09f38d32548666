"""Ids of photos from what others call them: a path, a URL, or the key of a webdataset's sample."""

from __future__ import annotations

import functools
import posixpath
from collections.abc import Mapping

from recoseg.io.imported import id_of
from recoseg.io.remote import RemoteTars
from recoseg.io.sources import ImageSource, suffix_of
from recoseg.io.tars import TarSource


class Naming:
    """Turns names that others gave photos into ids of the source that has the photos.

    In tar files, a name that is a sample's key, such as ``000000012``, means its photo; a key that
    several tar files have means none of them.
    """

    def __init__(self, photos: ImageSource | None) -> None:
        """``photos`` is where they are, None if that is unknown; it is listed when first needed."""
        self._root: str | None = getattr(photos, "root", None)
        self._tars = photos if isinstance(photos, TarSource | RemoteTars) else None

    @property
    def by_key(self) -> bool:
        """Whether keys of samples name photos."""
        return self._tars is not None

    def __call__(self, name: str) -> str:
        """The id of the photo that is called so, known or not."""
        id = id_of(name, self._root)
        return self._keys.get(id, id)

    @functools.cached_property
    def _keys(self) -> Mapping[str, str]:
        """Key to the id of its photo: the one that ends in .jpg if there are several."""
        found: dict[str, tuple[str, bool, str]] = {}
        doubtful = set[str]()
        for item in self._tars.scan().items if self._tars is not None else ():
            shard, key = _split(item.id)
            photo = (shard, suffix_of(item.id) != ".jpg", item.id)
            held = found.setdefault(key, photo)
            if held[0] != shard:
                doubtful.add(key)
            found[key] = min(held, photo)
        return {key: id for key, (_, _, id) in found.items() if key not in doubtful}


def _split(id: str) -> tuple[str, str]:
    """The tar file of a member's id, and the key: its path up to the first dot of its name."""
    parts = id.split("/")
    end = next(n for n, part in enumerate(parts, start=1) if part.endswith(".tar"))
    folder, name = posixpath.split("/".join(parts[end:]))
    return "/".join(parts[:end]), posixpath.join(folder, name.partition(".")[0])
