"""Image sources behind a URL that fsspec opens (``s3://``, ``gs://``, ``memory://`` and others)."""

from __future__ import annotations

import tarfile
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from recoseg.errors import ArchiveError, optional_import
from recoseg.io.images import SUFFIXES, printable
from recoseg.io.remote_state import State, has_tag, state_of
from recoseg.io.sources import AGAIN, MAX_BYTES, Item, Listing, Skipped, from_id, listing, to_id
from recoseg.io.tars import WILD, Members, read_headers

KINDS = ("remote", "remote tar")
# Bytes fetched at a time while the headers of a tar file are read.
_STEP = 2**18


def is_url(source: str) -> bool:
    """Whether it names a place that is not on a drive of this machine."""
    return "://" in source


class RemoteFolder:
    """Every image file below a URL, whose suffix says that it is one; dots at the start hide.

    ``tagged`` is whether the last listing told a tag of each file that changes with its bytes.
    """

    kind = KINDS[0]

    def __init__(self, url: str) -> None:
        """Open the file system; ArchiveError if that takes a package that is not there."""
        self.url, self.files = url, _file_system(url)
        self.root = _cut_pattern(url).rstrip("/")
        self.base = str(self.files._strip_protocol(_cut_pattern(url))).rstrip("/")
        self.tagged = False
        self._listed: frozenset[str] | None = None

    @property
    def where(self) -> str:
        """The URL."""
        return printable(self.url)

    def describe(self) -> dict[str, Any]:
        """Kind and URL; what opens it (keys, regions) is in the environment and not kept."""
        return {"kind": self.kind, "path": self.url}

    def scan(self) -> Listing:
        """Ask for the names, sizes and times of all files below the URL."""
        items, others, tagged = list[Item](), list[str](), True
        for name, info in self._found():
            tagged = tagged and has_tag(info)
            suffix = PurePosixPath(name).suffix.lower()
            if suffix in SUFFIXES:
                items.append(Item(to_id(name), *state_of(info)))
            else:
                others.append(suffix)
        self.tagged, self._listed = tagged, frozenset(item.id for item in items)
        return listing(items, (), others)

    def has(self, id: str) -> bool:
        """Whether a file was there when they were listed, or is now if they never were."""
        if self._listed is not None:
            return id in self._listed
        try:
            return bool(self.files.exists(self._path(from_id(id))))
        except Exception:
            return False

    def read(self, id: str) -> bytes:
        """The bytes of a file."""
        return self._part(from_id(id), id, 0, None)

    def address(self, id: str) -> str:
        """The URL of an image, for messages, and to tell whether two are one."""
        return printable(self.files.unstrip_protocol(self._path(from_id(id))))

    def _found(self) -> Iterator[tuple[str, dict[str, Any]]]:
        try:
            look = self.files.glob if set(self.url) & set(WILD) else self.files.find
            listed = look(self.files._strip_protocol(self.url), detail=True)
            # Of a single file many file systems tell nothing here.
            found = {path: info or self.files.info(path) for path, info in listed.items()}
        # Every file system has errors of its own.
        except Exception as error:
            raise ArchiveError(
                f"{self.where} cannot be listed ({_reason(error)}); check the address, and what "
                "the environment says of keys and regions."
            ) from error
        for path, info in sorted(found.items()):
            name = str(path)[len(self.base) :].lstrip("/") or PurePosixPath(path).name
            if info.get("type") == "file" and not any(p[0] == "." for p in name.split("/") if p):
                yield name, info

    def _path(self, name: str) -> str:
        return self.base if self.base.endswith(f"/{name}") else f"{self.base}/{name}"

    def _part(self, name: str, id: str, start: int, size: int | None) -> bytes:
        stop = start + (MAX_BYTES + 1 if size is None else size)
        try:
            data: bytes = self.files.cat_file(self._path(name), start=start, end=stop)
        except Exception as error:
            raise ArchiveError(
                f"{id} cannot be read from {self.where} ({_reason(error)}); {AGAIN}."
            ) from error
        if size is not None and len(data) > size:
            data = data[start:stop]  # some web servers send the whole file for a part of it
        if len(data) > MAX_BYTES:
            raise ArchiveError(f"{id} is over the limit of {MAX_BYTES >> 20} MiB; shrink it.")
        if size is not None and len(data) < size:
            raise ArchiveError(f"{id} is cut short in {self.where}; restore the file.")
        return data


class RemoteTars(RemoteFolder):
    """Images in the tar files of a URL: one, a pattern, or all below; ids as in ``TarSource``."""

    kind = KINDS[1]

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._known: dict[str, tuple[State, Members]] = {}
        self._lock = threading.Lock()

    def scan(self) -> Listing:
        """Read the headers of every tar file that is there now."""
        items, problems, self.tagged = list[Item](), list[Skipped](), True
        for name, info in self._found():
            if not name.endswith(".tar"):
                continue
            self.tagged = self.tagged and has_tag(info)
            state = state_of(info)
            held = self._known.get(name)
            # What tells neither time nor tag may have changed all the same.
            if held is not None and (held[0] != state or state == state_of({"size": state[0]})):
                del self._known[name]
            try:
                members = self._members(name, state)
            except ArchiveError as error:
                problems.append(Skipped(to_id(name), str(error)))
                continue
            problems.extend(members.problems)
            items += [Item(id, size, *state[1:]) for id, (_, size) in members.places.items()]
        return listing(items, problems, ())

    def read(self, id: str) -> bytes:
        """The bytes of a member; ArchiveError if it or its tar file is gone."""
        found = self._place(id)
        if found is not None:
            return self._part(found[0], id, *found[1])
        raise ArchiveError(f"{id} is no longer in {self.where}; {AGAIN}.")

    def has(self, id: str) -> bool:
        """Whether a member was there when the headers were read."""
        try:
            return self._place(id) is not None
        except ArchiveError:
            return False

    def _place(self, id: str) -> tuple[str, tuple[int, int]] | None:
        """The tar file of a member, and its offset and size there."""
        parts = id.split("/")
        for end in range(1, len(parts)):
            if parts[end - 1].endswith(".tar"):
                name = from_id("/".join(parts[:end]))
                place = self._members(name).places.get(id)
                if place is not None:
                    return name, place
        return None

    def _members(self, name: str, state: State = (0, 0, 0, 0)) -> Members:
        with self._lock:
            if name not in self._known:
                try:
                    with (
                        self.files.open(self._path(name), "rb", block_size=_STEP) as stream,
                        tarfile.open(fileobj=stream, mode="r:") as tar,
                    ):
                        self._known[name] = state, read_headers(tar, to_id(name))
                except Exception as error:
                    raise ArchiveError(
                        f"{printable(name)} cannot be read as a plain tar file ({_reason(error)}); "
                        "if it is compressed, unpack it."
                    ) from error
            return self._known[name][1]


def open_url(url: str) -> RemoteFolder:
    """The images below a URL, or those in its tar files if it has no others."""
    if urllib.parse.urlsplit(url).password:
        raise ArchiveError(
            "the address holds a password, which would be kept and shown; leave it out and give it "
            "by the environment."
        )
    if url.endswith(".tar"):
        return RemoteTars(url)
    folder = RemoteFolder(url)
    found = folder.scan()
    return RemoteTars(url) if not found.items and found.others.get(".tar") else folder


def _file_system(url: str) -> Any:
    with optional_import("photos behind a URL need fsspec", "remote", ArchiveError):
        import fsspec
    try:
        return fsspec.core.url_to_fs(_cut_pattern(url))[0]
    except ImportError as error:
        raise ArchiveError(
            f"{printable(url)} needs a package that is not installed ({error}); for example s3fs "
            "for s3:// and gcsfs for gs://."
        ) from error
    except Exception as error:
        raise ArchiveError(
            f"{printable(url)} cannot be opened ({_reason(error)}); check the address."
        ) from error


def _cut_pattern(url: str) -> str:
    """The URL up to the first part that is a pattern, or up to the folder of a tar file."""
    scheme, _, path = url.partition("://")
    parts = path.split("/")
    fixed = next((i for i, part in enumerate(parts) if set(part) & set(WILD)), None)
    if fixed is None and path.endswith(".tar"):
        fixed = len(parts) - 1
    return f"{scheme}://{'/'.join(parts[:fixed])}"


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
