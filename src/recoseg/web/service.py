"""Services behind the routes."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request

from recoseg.web.banks import BankLibrary
from recoseg.web.drafts import Drafts
from recoseg.web.folders import AllowedFolders
from recoseg.web.indexes import IndexLibrary
from recoseg.web.metrics import Metrics
from recoseg.web.results import Results
from recoseg.web.segmenters import Segmenters
from recoseg.web.settings import ServerSettings
from recoseg.web.worker import Worker


@dataclasses.dataclass(frozen=True, eq=False)
class Service:
    """What the routes use; ``close`` ends the work and removes the temporary folder."""

    settings: ServerSettings
    temporary: tempfile.TemporaryDirectory[str]
    worker: Worker
    metrics: Metrics
    shelf: BankLibrary
    segmenters: Segmenters
    results: Results
    roots: AllowedFolders
    catalogue: IndexLibrary
    drafts: Drafts

    @classmethod
    def start(cls, settings: ServerSettings) -> Service:
        """Open what the settings name; RecosegError if something of it is damaged."""
        shelf = BankLibrary(settings.banks, settings.state)
        catalogue = IndexLibrary(settings.indexes, settings.state, settings.device)
        segmenters = Segmenters(shelf, settings.student, settings.device)
        temporary = tempfile.TemporaryDirectory(prefix="recoseg-serve-")
        worker = Worker(settings.bound)
        return cls(
            settings,
            temporary,
            worker,
            Metrics(worker),
            shelf,
            segmenters,
            Results(Path(temporary.name) / "results", segmenters, settings.max_pixels),
            AllowedFolders(settings.roots),
            catalogue,
            Drafts(shelf, catalogue, settings.device, settings.max_pixels),
        )

    def close(self) -> None:
        """End the work, then remove what was only kept for it."""
        self.worker.close()
        self.temporary.cleanup()


def service_of(request: Request) -> Service:
    """The service of the application that a request reached."""
    found: Service = request.app.state.service
    return found


Serving = Annotated[Service, Depends(service_of)]
