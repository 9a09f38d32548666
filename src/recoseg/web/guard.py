"""Request guard: host, token, origin and size checks, and security headers."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from fastapi.responses import RedirectResponse, Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recoseg.web.failures import Busy, refuse
from recoseg.web.settings import ServerSettings, is_loopback
from recoseg.web.worker import Worker

COOKIE = "recoseg-token"
SAFE = ("GET", "HEAD", "OPTIONS")
UPLOADS = ("/api/segment", "/api/concepts/preview")
# What a form adds to the file in it.
MARGIN = 2**20
# Seconds for which the rest of a refused upload is thrown away.
LINGER = 10
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Guard:
    """Middleware that refuses requests before they reach the application."""

    def __init__(self, app: ASGIApp, settings: ServerSettings, worker: Worker) -> None:
        """Guard ``app`` by ``settings``; no upload is taken that ``worker`` has no room for."""
        self.app = app
        self.worker = worker
        self.settings = settings
        self.local = is_loopback(settings.host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it before its body is read."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-cache")
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, _keep_open(receive, send_sealed))
        else:
            await self.app(scope, self._count_body(receive), send_sealed)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if self.local and not _is_local(headers.get("host", "")):
            return refuse("this server answers to localhost alone; open it by that name.", 403)
        if scope["method"] not in SAFE and _is_foreign(headers):
            return refuse("another site sent this request; use the server's own page.", 403)
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self._limit:
            return self._too_large()
        return self._refuse_stranger(scope, headers) or self._crowd(scope)

    def _crowd(self, scope: Scope) -> Response | None:
        if scope["method"] == "POST" and scope["path"] in UPLOADS:
            try:
                self.worker.check_room()
            except Busy as busy:
                return refuse(str(busy), busy.status, {"Retry-After": str(busy.wait)})
        return None

    def _refuse_stranger(self, scope: Scope, headers: Headers) -> Response | None:
        if self.settings.token is None:
            return None
        query = parse_qs(scope["query_string"].decode("latin-1"))
        if scope["path"] == "/" and self._is_token(query.get("token", [""])[0]):
            welcome = RedirectResponse("/", 303)
            welcome.set_cookie(COOKIE, self.settings.token, httponly=True, samesite="strict")
            return welcome
        kind, _, bearer = headers.get("authorization", "").partition(" ")
        if self._is_token(_cookie(headers)) or (
            kind.lower() == "bearer" and self._is_token(bearer)
        ):
            return None
        return refuse(
            "this server needs its secret; open /?token=SECRET, or send the header "
            "Authorization: Bearer SECRET.",
            401,
            {"WWW-Authenticate": "Bearer"},
        )

    def _is_token(self, secret: str) -> bool:
        expected = (self.settings.token or "").encode()
        return hmac.compare_digest(secret.strip().encode("utf-8", "replace"), expected)

    @property
    def _limit(self) -> int:
        return self.settings.max_bytes + MARGIN

    def _too_large(self) -> Response:
        return refuse(too_large(self.settings.max_bytes), 413, {"Connection": "close"})

    def _count_body(self, receive: Receive) -> Receive:
        """``receive``, but a body that was declared smaller than it is ends at the limit."""
        seen = 0

        async def receive_counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._limit:
                raise HTTPException(413, too_large(self.settings.max_bytes))
            return message

        return receive_counted


def _keep_open(receive: Receive, send: Send) -> Send:
    """``send``, but the connection stays open until the body that was refused has gone by.

    A client that is still sending when it is closed would lose the answer.
    """

    async def send_and_wait(message: Message) -> None:
        if message["type"] != "http.response.body" or message.get("more_body"):
            await send(message)
            return
        await send({**message, "more_body": True})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER):
                gone = await receive()
                while gone["type"] == "http.request" and gone.get("more_body"):
                    gone = await receive()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return send_and_wait


def too_large(most: int) -> str:
    """The sentence for an upload of more bytes than are allowed."""
    return (
        f"the upload has more than the {most / 2**20:g} MB that this server takes; shrink the "
        "image, or start the server with a larger --max-megabytes."
    )


def _is_local(host: str) -> bool:
    name = urlsplit(f"//{host}").hostname if _splits(host) else None
    return name is not None and is_loopback(name)


def _splits(host: str) -> bool:
    try:
        urlsplit(f"//{host}")
    except ValueError:
        return False
    return not set(host) & set("/@?#\\")


def _is_foreign(headers: Headers) -> bool:
    """Whether a browser says that a page of another site sent it; others say nothing."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return True
    origin = headers.get("origin")
    if origin is None:
        return False
    return origin.partition("://")[2] != headers.get("host", "")


def _cookie(headers: Headers) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found is not None else ""
