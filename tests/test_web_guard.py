"""Who is let in, and what an upload or a path may do: the server's rules, attacked."""

from __future__ import annotations

import io
import itertools
import tempfile
import zlib
from pathlib import Path

import pytest
from PIL import Image

from recoseg.errors import InputError, RecosegError
from recoseg.web.settings import ServerSettings, home, is_loopback
from tests.test_cli import run
from tests.toys import paint
from tests.webs import (
    over,
    sentence,
    serving,
    toys,  # noqa: F401
    upload,
)

TOKEN = "correct-horse-battery"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("guarded")


@pytest.fixture(scope="module")
def client(folder):
    with serving(folder, max_bytes=300_000, max_pixels=250_000) as client:
        yield client


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    """A server that others can reach."""
    folder = tmp_path_factory.mktemp("locked")
    with serving(folder, host="0.0.0.0", token=TOKEN, follow=False) as client:
        yield client


def test_what_is_loopback():
    assert all(is_loopback(host) for host in ("127.0.0.1", "127.8.9.1", "::1", "localhost"))
    outside = ("0.0.0.0", "::", "192.168.1.2", "example.org", "localhost.example.org", "")
    assert not any(is_loopback(host) for host in outside)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"host": "0.0.0.0"}, "--token"),
        ({"token": "short"}, "8 to 200"),
        ({"token": "with space and ;"}, "8 to 200"),
        ({"port": 70_000}, "port"),
        ({"bound": 0}, "bound"),
        ({"roots": (Path("/nonexistent"),)}, "folder"),
    ],
)
def test_unsafe_settings_are_refused(wrong, words):
    with pytest.raises(InputError, match=words):
        ServerSettings(**wrong)


def test_the_state_lies_where_xdg_says(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert home() == tmp_path / "recoseg"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert home() == Path.home() / ".local" / "share" / "recoseg"


def test_a_host_beyond_this_machine_needs_a_token_on_the_command_line():
    said = run("serve", "--host", "0.0.0.0", status=2)
    assert "--token" in said.stderr


def test_a_port_in_use_is_told(tmp_path):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = run("serve", "--port", port, "--state", tmp_path, status=3)
    assert "--port" in said.stderr


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8000", "localhost:8000", "LOCALHOST", "[::1]:8000", "127.0.0.1"]
)
def test_local_hosts_are_let_in(client, host):
    assert client.get("/api/health", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "127.0.0.1@evil.example",
        "evil.example#127.0.0.1",
        "192.168.1.7:8000",
        "[::1",
        "",
    ],
)
def test_a_rebound_name_is_turned_away(client, host):
    assert "localhost" in sentence(client.get("/api/health", headers={"host": host}), 403)


FOREIGN = [
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "http://127.0.0.1:9999"},
    {"origin": "http://evil.example://127.0.0.1:8000"},
    {"origin": "http://127.0.0.1:8000.evil.example"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
]


@pytest.mark.parametrize("headers", FOREIGN)
@pytest.mark.parametrize(
    ("method", "address"), [("POST", "/api/search"), ("DELETE", "/api/jobs/x")]
)
def test_other_sites_change_nothing(client, method, address, headers):
    assert "another site" in sentence(client.request(method, address, headers=headers), 403)


@pytest.mark.parametrize(
    "headers",
    [{"origin": "http://127.0.0.1:8000", "sec-fetch-site": "same-origin"}, {}],
)
def test_the_own_page_and_programs_may_change(client, headers):
    sentence(client.delete("/api/jobs/x", headers=headers), 404)


def test_every_answer_carries_the_rules_for_browsers(client):
    for address in ("/", "/api/health", "/api/absent", "/static/main.js"):
        headers = client.get(address).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "access-control-allow-origin" not in headers
    refused = client.get("/api/health", headers={"host": "evil.example"})
    assert refused.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong-horse-battery"},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": "Bearer"},
        {"authorization": f"Bearer {TOKEN}x"},
        {"cookie": "recoseg-token="},
        {"cookie": "recoseg-token=\x7f; ;;=="},
    ],
)
@pytest.mark.parametrize("address", ["/", "/api/health", "/static/main.js", "/api/openapi.json"])
def test_without_the_secret_nothing_is_told(locked, address, headers):
    answer = locked.get(address, headers=headers)
    assert "secret" in sentence(answer, 401)
    assert TOKEN not in answer.text


def test_the_secret_opens_by_header_by_address_and_by_cookie(locked):
    held = {"authorization": f"Bearer {TOKEN}"}
    assert locked.get("/api/health", headers=held).status_code == 200
    sentence(locked.get("/?token=wrong-horse-battery"), 401)
    sentence(locked.get(f"/api/health?token={TOKEN}"), 401)
    welcome = locked.get(f"/?token={TOKEN}")
    assert (welcome.status_code, welcome.headers["location"]) == (303, "/")
    cookie = welcome.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert locked.get("/api/health").status_code == 200  # the client kept the cookie
    locked.cookies.clear()
    sentence(locked.get("/api/health"), 401)


TRAVERSALS = [
    "..",
    "../..",
    "photos/../..",
    "/etc",
    "//etc",
    "photos//deep",
    "./photos",
    "photos/",
    "..\\..",
    "a\x00b",
    "C:\\",
]


@pytest.mark.parametrize("path", TRAVERSALS)
def test_no_path_leads_out_of_a_root(client, path):
    sentence(client.get("/api/roots/r0/folders", params={"path": path}), 422)
    sentence(client.post("/api/indexes", json={"root": "r0", "path": path}), 422)


@pytest.mark.parametrize("path", ["absent", "p" * 4000, "...", "~", "%2e%2e"])
def test_a_folder_that_is_not_there_is_missing(client, path):
    sentence(client.post("/api/indexes", json={"root": "r0", "path": path}), 404)


def test_a_link_out_of_the_root_is_not_followed(client, folder):
    outside = folder / "outside"
    paint(outside / "secret.png", "red")
    root = folder / "root"
    paint(root / "linked" / "fine.png", "red")
    (root / "away").symlink_to(outside)
    sentence(client.get("/api/roots/r0/folders?path=away"), 422)
    sentence(client.post("/api/indexes", json={"root": "r0", "path": "away"}), 422)
    assert "away" not in client.get("/api/roots/r0/folders").json()["folders"]
    (root / "linked" / "deeper").symlink_to(outside)
    answer = client.post("/api/indexes", json={"root": "r0", "path": "linked"})
    assert "linked/deeper" in sentence(answer, 400)
    (root / "linked" / "deeper").unlink()
    (root / "linked" / "photo.png").symlink_to(outside / "secret.png")
    answer = client.post("/api/indexes", json={"root": "r0", "path": "linked"})
    assert "linked/photo.png" in sentence(answer, 400)
    (root / "linked" / "photo.png").unlink()
    (root / "elsewhere").mkdir()
    (root / "elsewhere" / "hop").symlink_to(outside)
    (root / "linked" / "hop").symlink_to(root / "elsewhere")
    answer = client.post("/api/indexes", json={"root": "r0", "path": "linked"})
    assert "elsewhere/hop" in sentence(answer, 400)


def test_links_that_stay_inside_are_followed_and_circles_end(client, folder):
    root = folder / "root"
    paint(root / "circle" / "one.png", "red")
    (root / "circle" / "again").symlink_to(root / "circle")
    (root / "circle" / "nowhere").symlink_to(root / "circle" / "nowhere")
    row = over(client, client.post("/api/indexes", json={"root": "r0", "path": "circle"}))
    assert (row["state"], row["result"]["photos"]) == ("done", 1)


def png(width, height):
    """A PNG of any size in a few bytes: what a bomb is made of."""

    def chunk(kind, data):
        body = kind + data
        return len(data).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x00\x00\x00\x00"
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(width + 1)) for _ in range(height)) + packer.flush()
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def whole():
    stream = io.BytesIO()
    Image.effect_noise((64, 64), 90).save(stream, "JPEG")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"<svg onload=alert(1)></svg>", "cannot be read"),
        (b"%!PS-Adobe-3.0\n%%BoundingBox: 0 0 9 9\n", "cannot be read"),
        (b"II*\x00" + b"\xff" * 400, "cannot be read"),
        (whole()[:300], "cannot be read"),
        (png(3000, 3000), "over the limit"),
    ],
)
def test_what_is_no_fit_image_fails_with_a_sentence(client, data, words):
    row = over(client, upload(client, data))
    assert row["state"] == "failed"
    assert row["result"] is None
    assert row["error"].endswith(".")
    assert words in row["error"]


def test_an_upload_of_too_many_bytes_is_refused_before_it_is_read(client):
    before = len(client.get("/api/jobs").json())
    answer = upload(client, bytes(2_000_000))
    assert "--max-megabytes" in sentence(answer, 413)
    assert len(client.get("/api/jobs").json()) == before


def test_an_upload_that_hides_its_length_ends_at_the_limit(client):
    taken = itertools.count()

    def body():
        yield b'--b\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\n'
        while next(taken) < 1000:
            yield bytes(100_000)

    headers = {"content-type": "multipart/form-data; boundary=b"}
    answer = client.post("/api/segment", content=body(), headers=headers)
    assert "--max-megabytes" in sentence(answer, 413)


@pytest.mark.parametrize("length", ["-1", "1e9", "99999999999", "x"])
def test_a_strange_length_is_refused(client, length):
    sentence(client.post("/api/segment", headers={"content-length": length}), 413)


@pytest.mark.parametrize(
    "body", [b"", b"--b", b"--b\r\n\r\n", b"\x00" * 100, b"--b\r\nContent-Disposition: x\r\n\r\n"]
)
def test_a_broken_form_is_told(client, body):
    headers = {"content-type": "multipart/form-data; boundary=b"}
    answer = client.post("/api/segment", content=body, headers=headers)
    assert answer.status_code in (400, 422)
    sentence(answer, answer.status_code)


def test_names_of_files_stay_names(client, folder):
    before = {path for path in folder.rglob("*") if "state" not in path.parts}
    for name in ("../../evil.png", "/etc/passwd", "C:\\x\\evil.png", "e\u202evil.png", "x" * 300):
        row = over(client, upload(client, b"no image", name=name))
        assert ".." not in row["label"]
        assert "/" not in row["label"]
        assert "\\" not in row["label"]
    assert {path for path in folder.rglob("*") if "state" not in path.parts} == before


def test_nothing_is_left_when_the_server_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    with serving(tmp_path) as client:
        (inside,) = (tmp_path / "tmp").iterdir()
        assert inside.name.startswith("recoseg-serve-")
        upload(client, b"x" * 2_000_000)
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_damaged_bank_ends_the_start_with_a_sentence(tmp_path):
    (tmp_path / "bad.bank").write_bytes(b"nonsense")
    with (
        pytest.raises(RecosegError, match=r"bad\.bank"),
        serving(tmp_path, banks=(tmp_path / "bad.bank",)),
    ):
        pass
