"""A real server in a process of its own: many clients at once, and Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest
from PIL import Image

from recoseg.io import images
from tests.test_cli import on_toys, paint_all, run
from tests.toys import paint

ROOT = Path(__file__).parents[1]
CLIENTS, REQUESTS, WARM = 32, 500, 100
SERVER = """
import pathlib, pytest, sys
from recoseg.concepts import bank
from recoseg.cli import main
from tests.test_cli import on_toys
on_toys(pytest.MonkeyPatch())
bank.EVERYDAY = pathlib.Path(sys.argv[1])
sys.argv = ["recoseg", *sys.argv[2:]]
main()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loaded")
    with pytest.MonkeyPatch.context() as patch:
        on_toys(patch)
        run("index", paint_all(folder / "photos"), folder / "photos.index", "-q")
        learn = ("--index", folder / "photos.index", "-q")
        run("concept", "build", folder / "two.bank", "red", "yellow", *learn)
        run("concept", "build", folder / "everyday.bank", "cat", "grass", *learn)
    paint(folder / "look.png", "yellow", "red")
    return folder


@pytest.fixture(scope="module")
def server(folder):
    """The process and its address; the last test ends it."""
    (folder / "tmp").mkdir()
    command = [
        *(sys.executable, "-c", SERVER, folder / "everyday.bank", "serve", "--json"),
        *("--port", "0", "--queue", "4", "--max-megabytes", "1"),
        *("--bank", folder / "two.bank", "--index", folder / "photos.index"),
        *("--root", folder / "photos", "--state", folder / "state"),
    ]
    process = subprocess.Popen(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder / "tmp")},
    )
    lines = []
    while not lines or lines[-1].rstrip() != "}":
        lines.append(process.stdout.readline())
        assert lines[-1], process.communicate()[1]
    yield process, json.loads("".join(lines))["url"]
    process.kill()
    process.communicate()


def insist(ask):
    """The first answer that is not "busy", and how often it was."""
    for busy in range(2000):
        answer = ask()
        if answer.status_code != 503:
            return answer, busy
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["error"]
        time.sleep(0.02)
    raise TimeoutError(answer.text)


def test_many_clients_lose_nothing_and_memory_stays_flat(server, folder):
    process, url = server
    photo = (folder / "look.png").read_bytes()
    limits = httpx.Limits(max_connections=CLIENTS)
    with httpx.Client(base_url=url, timeout=120, limits=limits, trust_env=False) as client:
        bank = next(b["id"] for b in client.get("/api/banks").json() if b["name"] == "two")
        index = client.get("/api/indexes").json()[0]["id"]
        kinds = [
            lambda: client.get("/api/health"),
            lambda: client.post(
                "/api/segment",
                data={"bank": bank, "refine": "false"},
                files={"image": ("look.png", photo)},
            ),
            lambda: client.post("/api/search", json={"index": index, "query": "red", "count": 3}),
            lambda: client.get(f"/api/indexes/{index}/photos/red1.png/thumb.jpg?size=32"),
            lambda: client.get("/api/jobs"),
        ]

        def ask(number):
            return insist(kinds[number % len(kinds)])

        with ThreadPoolExecutor(CLIENTS) as pool:
            first = list(pool.map(ask, range(WARM)))
            before = psutil.Process(process.pid).memory_info().rss
            rest = list(pool.map(ask, range(WARM, REQUESTS)))
            after = psutil.Process(process.pid).memory_info().rss
        answers = [answer for answer, _ in (*first, *rest)]
        assert {answer.status_code for answer in answers} == {200, 202}
        jobs = [answer.json()["job"] for answer in answers if answer.status_code == 202]
        assert len(set(jobs)) == REQUESTS // len(kinds)
        assert sum(busy for _, busy in (*first, *rest)) > 0  # the bound was reached
        while client.get("/api/health").json()["running"]:
            time.sleep(0.05)
        rows = {row["id"]: row for row in client.get("/api/jobs").json()}
        assert {rows[job]["state"] for job in jobs} == {"done"}
        shown = rows[jobs[-1]]["result"]["id"]
        assert client.get(f"/api/results/{shown}/overlay.png").status_code == 200
    assert after - before < 64 * 2**20


def test_an_upload_that_is_too_large_is_cut_off(server):
    _, url = server
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        answer = client.post("/api/segment", files={"image": ("big.png", bytes(9_000_000))})
        assert answer.status_code == 413
        assert "--max-megabytes" in answer.json()["error"]
        assert client.get("/api/health").json()["max_bytes"] == 2**20


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl; install it")
def test_the_documented_calls_run(server, folder, tmp_path):
    _, url = server
    text = (ROOT / "docs" / "serve.md").read_text(encoding="utf-8")
    (script,) = [b for b in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) if "curl" in b]
    script = script.replace("http://127.0.0.1:8000", url.rstrip("/"))
    Image.open(folder / "look.png").save(tmp_path / "photo.jpg")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert "error" not in done.stdout
    assert '"classes":' in done.stdout
    assert '"hits":' in done.stdout
    assert "street\n" in done.stdout
    for name in ("labels.png", "overlay.png"):
        assert images.read(tmp_path / name).shape == (64, 64, 3)
    assert (folder / "state" / "banks" / "street.bank").is_file()


def test_ctrl_c_ends_with_130_and_leaves_nothing(server, folder):
    process, url = server
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        assert client.get("/api/health").json()["status"] == "ok"
        assert any((folder / "tmp").iterdir())
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert not [p for p in (folder / "tmp").iterdir() if p.name.startswith("recoseg")]
