"""The server's own description of its API, taken at its word by a fuzzer."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from recoseg.web import archive_routes, concept_routes, segment_routes, server_routes
from tests.test_cli import on_toys, paint_all
from tests.toys import paint
from tests.webs import HOME, done, preview, serving, upload

EXAMPLES = 12
MODULES = (server_routes, segment_routes, archive_routes, concept_routes)
ROUTES = sorted(
    (method, f"/api{route.path_format}")
    for module in MODULES
    for route in module.router.routes
    for method in route.methods
)
PROMISES = [response_schema_conformance, status_code_conformance, content_type_conformance]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server that has something of every kind, its description, and the ids of what it has."""
    folder = tmp_path_factory.mktemp("fuzzed")
    with pytest.MonkeyPatch.context() as patch:
        on_toys(patch)
        paint_all(folder / "root" / "photos")
        with serving(folder, bound=4) as client:
            asked = client.post("/api/indexes", json={"root": "r0", "path": "photos"})
            index = done(client, asked)["index"]
            draft = done(client, preview(client, ["red"], index=index))["draft"]
            order = {"bank": "mine", "name": "red"}
            bank = client.post(f"/api/drafts/{draft}/save", json=order).json()["bank"]
            photo = paint(folder / "look.png", "red").read_bytes()
            result = done(client, upload(client, photo, bank=bank))["id"]
            ids = {
                "banks": bank,
                "indexes": index,
                "drafts": draft,
                "results": result,
                "roots": "r0",
                "jobs": asked.json()["job"],
            }
            yield endless(client.app), ids


def endless(app):
    """The application without its shutdown, which the fuzzer would ask for after each case."""

    async def served(scope, receive, send):
        if scope["type"] == "http":
            await app(scope, receive, send)
        else:
            for answer in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{answer}.complete"})

    served.openapi = app.openapi
    return served


def test_every_route_is_described(server):
    described = server[0].openapi()["paths"]
    listed = [(method.upper(), path) for path, item in described.items() for method in item]
    assert sorted(listed) == ROUTES


@pytest.mark.parametrize("real", [False, True], ids=["strange", "real"])
@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_whatever_is_asked_is_answered_as_described(server, method, path, real):
    app, ids = server
    api = schemathesis.openapi.from_asgi("/api/openapi.json", app, headers={"host": "localhost"})
    kind = path.split("/")[2]

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=api[path][method].as_strategy())
    def ask(case):
        if real and method != "DELETE" and kind in ids:
            for name in ("id", "draft"):
                if name in case.path_parameters:
                    case.path_parameters[name] = ids[kind]
        if real and isinstance(case.body, dict):
            known = {"index": ids["indexes"], "root": "r0", "bank": ids["banks"], "path": "photos"}
            case.body.update({key: known[key] for key in case.body if key in known})
        response = case.call(base_url=HOME, headers={"host": "127.0.0.1:8000"})
        assert response.status_code < 500 or response.status_code == 503, response.text
        assert b"ending" not in response.content
        case.validate_response(response, checks=PROMISES)

    ask()
