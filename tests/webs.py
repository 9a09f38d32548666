"""A server on toys: in this process, with a client that waits for its jobs."""

from __future__ import annotations

import contextlib
import json
import time

import pytest
from starlette.testclient import TestClient

from recoseg.web.app import create
from recoseg.web.settings import ServerSettings
from tests.test_cli import on_toys

HOME = "http://127.0.0.1:8000"


@pytest.fixture(scope="module", autouse=True)
def toys():
    """The toy model in the place of every other, for a module that imports this."""
    with pytest.MonkeyPatch.context() as patch:
        on_toys(patch)
        yield


@contextlib.contextmanager
def serving(folder, *, headers=None, follow=True, **settings):
    """A client of a server whose state lies in ``folder``; its one root is ``folder/root``."""
    (folder / "root").mkdir(exist_ok=True)
    chosen = {"roots": (folder / "root",), "state": folder / "state", **settings}
    app = create(ServerSettings(**chosen))
    with TestClient(
        app, base_url=HOME, headers=headers, follow_redirects=follow, raise_server_exceptions=False
    ) as client:
        yield client


def over(client, response, patience=60.0):
    """The row of the job that ``response`` told of, when it is over."""
    assert response.status_code == 202, response.text
    end = time.monotonic() + patience
    while time.monotonic() < end:
        row = client.get(f"/api/jobs/{response.json()['job']}").json()
        if row["state"] in ("done", "failed", "cancelled"):
            return row
        time.sleep(0.01)
    raise TimeoutError(row)


def done(client, response):
    """The result of the job that ``response`` told of."""
    row = over(client, response)
    assert row["state"] == "done", row
    return row["result"]


def upload(client, data, name="photo.png", **fields):
    """Ask for a segmentation of encoded bytes."""
    fields = {k: json.dumps(v) if isinstance(v, list) else v for k, v in fields.items()}
    return client.post("/api/segment", data=fields, files={"image": (name, data)})


def preview(client, words, files=(), **fields):
    """Ask for a draft."""
    fields = {k: json.dumps(v) if isinstance(v, list) else v for k, v in fields.items()}
    given = [("examples", (name, data)) for name, data in files]
    return client.post(
        "/api/concepts/preview", data={"words": json.dumps(words), **fields}, files=given or None
    )


def sentence(response, status):
    """The one sentence of an answer that says no."""
    assert response.status_code == status, response.text
    body = response.json()
    assert set(body) == {"error"}
    text = body["error"]
    assert text.endswith(".")
    assert "\n" not in text
    assert "Traceback" not in text
    return text
