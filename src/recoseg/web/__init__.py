"""``recoseg serve``: HTTP API and web page.

One process, one worker thread, nothing kept in memory that can lie in a temporary folder. Needs
FastAPI and uvicorn: ``pip install 'recoseg[web]'``.
"""

from __future__ import annotations

import importlib.util

from recoseg.errors import RecosegError

for _name in ("fastapi", "uvicorn", "python_multipart", "prometheus_client"):
    if importlib.util.find_spec(_name) is None:
        raise RecosegError(f"the server needs {_name}; pip install 'recoseg[web]'.")
