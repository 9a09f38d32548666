"""What other tools read from an exported folder, asked of an interpreter that has them installed.

Their pins exclude this project's, so ``make test`` installs them into an environment of their own
(requirements/readers.txt); RECOSEG_READERS says where it is, if not beside the tests' own packages.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parent / "readers" / "answer.py"
OFFLINE = {"HF_HUB_OFFLINE": "1", "YOLO_OFFLINE": "true"}


def interpreter() -> Path:
    """The Python that has the tools; without it, the test is skipped with the fix named."""
    home = Path(os.environ.get("RECOSEG_READERS") or Path(sys.prefix, "readers"))
    python = home / "bin" / "python"
    if not python.exists():
        pytest.skip(f"SKIPPED LOUDLY: no other tools' readers at {home}: run `make readers`")
    return python


def ask(tool: str, folders: dict[str, tuple[str, Path]], scratch: Path) -> dict[str, dict]:
    """What a tool reads from folders.

    Args:
        tool: a module of ``tests/readers``.
        folders: format and folder under any keys.
        scratch: a new folder, which is the tool's home while it reads.

    Returns:
        Under each key ``error``, what went wrong or None; ``names``, the classes in their order, or
        None where the format does not list them; and ``images``, for each image that the tool
        found its (name of class, mask) pairs.
    """
    python = interpreter()
    scratch.mkdir()
    question, answer = scratch / "question.json", scratch / "answer.json"
    question.write_text(json.dumps({k: (f, str(path)) for k, (f, path) in folders.items()}))
    done = subprocess.run(
        [python, SCRIPT, tool, question, answer, sysconfig.get_path("purelib")],
        env=_environment(scratch),
        cwd=scratch,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return {key: {"error": done.stderr} for key in folders}
    return {key: _unpacked(one) for key, one in json.loads(answer.read_text()).items()}


def _environment(home: Path) -> dict[str, str]:
    """This one without what could lead a tool to settings, caches or packages outside ``home``."""
    foreign = ("PYTHON", "XDG_", "HF_", "YOLO_", "MPL")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return kept | {"HOME": str(home), "PYTHONUTF8": "1", **OFFLINE}


def _unpacked(one: dict) -> dict:
    one["images"] = {
        id: [(name, np.array([[c == "1" for c in row] for row in mask])) for name, mask in pairs]
        for id, pairs in one.get("images", {}).items()
    }
    return one
