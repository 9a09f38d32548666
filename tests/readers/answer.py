"""The far side of tests/asking.py: ``answer.py TOOL QUESTION ANSWER LENT``.

What lies here runs in the environment of requirements/readers.txt and knows nothing of recoseg. A
tool's module has ``read(format, folder)``, which gives the names of the classes, or None where the
format does not list them, and for each image its list of (name of class, mask).
"""

from __future__ import annotations

import importlib
import json
import sys
import traceback
from pathlib import Path

# They need large packages that the tests' own environment has, and of which any version will do.
BORROWERS = ("by_datasets", "by_ultralytics")


def main(tool, question, answer, lent):
    """Read each folder of the question."""
    if tool in BORROWERS:
        sys.path.append(lent)
    read = importlib.import_module(tool).read
    folders = json.loads(Path(question).read_text())
    found = {key: _told(read, format, folder) for key, (format, folder) in folders.items()}
    Path(answer).write_text(json.dumps(found))


def _told(read, format, folder):
    try:
        names, images = read(format, Path(folder))
    # One format that cannot be read says nothing of the others.
    except Exception:
        return {"error": traceback.format_exc()}
    return {
        "error": None,
        "names": None if names is None else list(names),
        "images": {
            id: [(name, _rows(mask)) for name, mask in pairs] for id, pairs in images.items()
        },
    }


def _rows(mask):
    return ["".join("1" if value else "0" for value in row) for row in mask]


if __name__ == "__main__":
    main(*sys.argv[1:])
