"""``recoseg serve``: the method behind an HTTP API, and a page that uses it.

One process, one worker thread, nothing kept in memory that can lie in a temporary folder. Needs
FastAPI and uvicorn: ``pip install 'recoseg[web]'``.
"""

from __future__ import annotations

import importlib.util

from recoseg.errors import RecosegError

for _name, _package in (
    ("fastapi", "fastapi"),
    ("uvicorn", "uvicorn"),
    ("python_multipart", "python-multipart"),
):
    if importlib.util.find_spec(_name) is None:
        raise RecosegError(f"the server needs {_package}; pip install 'recoseg[web]'.")
