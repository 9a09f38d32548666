"""Provenance of results: versions, machine, commit, date."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from recoseg._version import VERSION

_PACKAGES = ("torch", "numpy", "scipy", "pillow", "timm")


def provenance(**more: Any) -> dict[str, Any]:
    """Provenance of a report, extended by ``more``."""
    return {
        "recoseg": VERSION,
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "system": platform.system(),
            "accelerator": _accelerator(),
        },
        "commit": _commit(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **more,
    }


def _commit() -> str | None:
    """The commit of the source tree, ``+`` if it was changed; None where it is installed."""
    tree = Path(__file__).parents[2]
    if not (tree / ".git").exists():
        return None
    commit = _git(tree, "rev-parse", "--short", "HEAD")
    changed = _git(tree, "status", "--porcelain", "--", "src")
    return None if not commit else commit + ("+" if changed else "")


def _git(tree: Path, *words: str) -> str:
    try:
        done = subprocess.run(
            ["git", *words], cwd=tree, capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text(encoding="utf-8").splitlines() if facts.exists() else []
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _accelerator() -> str | None:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None
