"""Downloads of weights, with a reachability check and short time limits."""

from __future__ import annotations

import hashlib
import socket
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch

from recoseg.io import durable

T = TypeVar("T")
# Long enough for a TLS handshake across an ocean, short enough to wait for without a word.
PATIENCE = 1.5
# Seconds without a byte after which a download is given up.
_STALLED = 30.0
WAITING = "waiting for the network"


class Unavailable(Exception):
    """Reason why a download failed, as a part of a sentence."""


def download_from_hub(
    repository: str,
    files: Sequence[str],
    cache: Path,
    patience: float | None = None,
    revision: str = "",
) -> Path:
    """Download the first of ``files`` that the hub's ``repository`` has into its cache.

    Raises:
        Unavailable: the hub does not answer in time, has no such file, or refuses it.
    """
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, GatedRepoError

    _check_reachable(constants.ENDPOINT, patience)
    for name in files:
        try:
            path = hf_hub_download(
                repository, name, cache_dir=cache, etag_timeout=10, revision=revision or None
            )
        except EntryNotFoundError:
            continue
        except GatedRepoError:
            raise Unavailable(
                f"its owner asks for consent at {constants.ENDPOINT}/{repository} and then "
                "`hf auth login`"
            ) from None
        # The client has many errors of its own and of its transport.
        except Exception as error:
            raise Unavailable(f"the hub did not send it ({type(error).__name__})") from error
        _check_blob(Path(path))
        return Path(path)
    raise Unavailable(f"{repository} has none of {', '.join(files)}")


def download_url(url: str, folder: Path, sha256: str = "", patience: float | None = None) -> Path:
    """Download ``url`` into ``folder``, whole or not at all.

    Raises:
        Unavailable: no answer in time, or other bytes than those known by ``sha256``.
    """
    _check_reachable(url, patience)
    target = durable.make_folder(folder) / Path(urllib.parse.urlsplit(url).path).name
    before = socket.getdefaulttimeout()
    try:
        socket.setdefaulttimeout(_STALLED)
        shown = sys.stderr.isatty()
        torch.hub.download_url_to_file(url, str(target), sha256 or None, progress=shown)
    except RuntimeError as error:
        raise Unavailable(f"what {url} sent is not the file expected ({error})") from error
    except OSError as error:
        raise Unavailable(f"{url} could not be downloaded ({error})") from error
    finally:
        socket.setdefaulttimeout(before)
    return target


def _check_blob(path: Path) -> None:
    """The hub names a large file's blob by its sha256; a download that differs is thrown away."""
    blob = path.resolve()
    if len(blob.name) != 64:
        return
    with blob.open("rb") as stream:
        if hashlib.file_digest(stream, "sha256").hexdigest() != blob.name:
            path.unlink()
            blob.unlink(missing_ok=True)
            raise Unavailable("what the hub sent is damaged (its sha256 differs)")


def _check_reachable(url: str, patience: float | None) -> None:
    """Raise Unavailable unless the host of ``url`` answers, through a proxy if there is one."""
    seconds = patience or PATIENCE
    scheme, host = urllib.parse.urlsplit(url)[:2]

    def ask() -> None:
        request = urllib.request.Request(f"{scheme}://{host}/", method="HEAD")
        try:
            urllib.request.urlopen(request, timeout=seconds).close()
        except urllib.error.HTTPError:
            return  # an answer, if only a refusal of HEAD

    try:
        _run_with_timeout(ask, seconds)
    except Exception as error:
        raise Unavailable(f"{host} cannot be reached ({error})") from error


def _run_with_timeout(function: Callable[[], T], seconds: float) -> T:
    """Call ``function`` with a time limit; TimeoutError if it takes longer.

    A look-up of a name has no time limit of its own, so another thread waits for it.
    """
    results: list[T] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            results.append(function())
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run, name=WAITING, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError(f"no answer within {seconds:g} s")
    return results[0]
