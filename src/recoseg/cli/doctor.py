"""Installation checks of ``recoseg doctor``, each with its remedy."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from recoseg.errors import RecosegError

NEEDED = (
    "torch",
    "torchvision",
    "timm",
    "open_clip_torch",
    "numpy",
    "scipy",
    "pillow",
    "safetensors",
)
EXTRAS = {
    "segmentation_models_pytorch": ("segmentation-models-pytorch", "student networks"),
    "onnx": ("onnx", "export of students"),
    "matplotlib": ("matplotlib", "the plots of `recoseg report`"),
    "contourpy": ("contourpy", "polygons of `recoseg export`"),
    "pycocotools": ("pycocotools", "run lengths of `recoseg export`"),
    "av": ("av", "`recoseg video`"),
    "fastapi": (
        "fastapi uvicorn python-multipart prometheus-client",
        "the page of `recoseg serve`",
    ),
}
ROOMY = 2 * 1024**3


@dataclass(frozen=True)
class Check:
    """One finding.

    Attributes:
        name: what was looked at.
        ok: whether it is as it should be.
        needed: whether the default model cannot work without it.
        detail: what was found.
        fix: what to do about it; empty if there is nothing to do.
    """

    name: str
    ok: bool
    needed: bool
    detail: str
    fix: str = ""

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        return asdict(self)


def examine() -> list[Check]:
    """Every check, in the order to read them; none of them raises."""
    groups: tuple[Callable[[], Iterator[Check]], ...] = (
        _python,
        _packages,
        _compute,
        _lite,
        _bank,
        _hub,
        _disk,
        _extras,
    )
    return [check for group in groups for check in _report_failure(group)]


def healthy(checks: list[Check]) -> bool:
    """Whether the default model and its bank work here."""
    return all(check.ok for check in checks if check.needed)


def _report_failure(group: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    # A doctor that falls ill of the patient's disease is of no use: any failure is a finding.
    try:
        yield from group()
    except Exception as error:
        name = group.__name__.strip("_")
        detail = f"{type(error).__name__}: {' '.join(str(error).split())}"
        yield Check(name, False, True, detail, "mend or reinstall what the message names")


def _python() -> Iterator[Check]:
    fine = sys.version_info >= (3, 11)
    detail = f"{platform.python_version()} at {sys.executable}"
    yield Check("python", fine, True, detail, "" if fine else "use Python 3.11 or newer")


def _packages() -> Iterator[Check]:
    for package in NEEDED:
        version = _version(package)
        fix = "" if version else f"pip install {package}"
        yield Check(package, bool(version), True, version or "not installed", fix)


def _compute() -> Iterator[Check]:
    import torch

    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        detail = f"{count} x {torch.cuda.get_device_name(0)}, CUDA {torch.version.cuda}"
    else:
        detail = f"CPU, {torch.get_num_threads()} threads of {os.cpu_count()} processors"
    yield Check("device", True, False, detail)


def _lite() -> Iterator[Check]:
    from recoseg.models import lite

    for name, ok, detail, fix in lite.status():
        yield Check(f"lite: {name}", ok, True, detail, "" if ok else fix)


def _bank() -> Iterator[Check]:
    from recoseg.concepts.bank import ConceptBank

    try:
        bank = ConceptBank.everyday()
    except (RecosegError, OSError) as error:
        yield Check("everyday bank", False, True, str(error), "reinstall recoseg")
    else:
        yield Check("everyday bank", True, True, f"{len(bank)} concepts")


def _hub() -> Iterator[Check]:
    from recoseg.models.weights import hub_cache, offline_switches

    switches = offline_switches()
    detail = f"offline by {', '.join(switches)}" if switches else "online allowed"
    yield Check("model hub", True, False, f"{detail}; `lite` needs no hub")
    cache = hub_cache()
    cached = sorted(path.name for path in cache.glob("models--*")) if cache.is_dir() else []
    yield Check("hub cache", True, False, f"{cache}, models cached: {len(cached)}")
    writable = _writable(cache)
    fix = "" if writable else "set HF_HOME to a folder that you may write"
    yield Check("cache writable", writable, False, "yes" if writable else f"no: {cache}", fix)


def _disk() -> Iterator[Check]:
    for name, folder in (("disk here", Path.cwd()), ("disk for temporary files", _temporary())):
        free = shutil.disk_usage(folder).free
        fix = "" if free >= ROOMY else "free some space: an index takes about 3 KB a photo"
        yield Check(name, free >= ROOMY, False, f"{free / 1024**3:.1f} GiB free at {folder}", fix)


def _extras() -> Iterator[Check]:
    for module, (package, purpose) in EXTRAS.items():
        found = importlib.util.find_spec(module) is not None
        detail = (_version(package) or "installed") if found else "not installed (optional)"
        fix = "" if found else f"pip install {package}"
        yield Check(package, found, False, f"{detail}, for {purpose}", fix)


def _temporary() -> Path:
    return Path(tempfile.gettempdir())


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _writable(folder: Path) -> bool:
    """Whether files can be made in ``folder``, or it can itself be made."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return os.access(existing, os.W_OK | os.X_OK)
