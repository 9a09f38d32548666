"""Where a benchmark ran: what every file in ``results`` says of its machine and its code."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]


def describe_machine() -> dict[str, object]:
    """Commit (``+`` if the code differs from it), processor, cores, load, Python, torch."""
    return {
        "commit": _git("rev-parse", "--short", "HEAD") + ("+" if _has_changes() else ""),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


def memory(field: str) -> float:
    """A memory field of this process, such as ``VmRSS`` or ``VmHWM``, in MiB (Linux)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:"))


def _has_changes() -> bool:
    return bool(_git("status", "--porcelain", "--", "src", "benchmarks/*.py", "tests/oracles"))


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
