"""Error responses: one sentence of JSON and a status."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from recoseg.errors import Locked, RecosegError, UnknownConcept

LOG = logging.getLogger("recoseg.web")


class Refused(RecosegError):
    """A request that cannot be served as it is."""

    status = 400


class Missing(Refused):
    """What an address names is not there, or no more."""

    status = 404


class Conflict(Refused):
    """It does not fit what is there."""

    status = 409


class Unprocessable(Refused):
    """A field is not of the form it must have."""

    status = 422


class Busy(Refused):
    """Too much is waiting already.

    Attributes:
        wait: seconds after which asking again makes sense.
    """

    status = 503

    def __init__(self, sentence: str, wait: int = 2) -> None:
        """Say why, and when to ask again."""
        super().__init__(sentence)
        self.wait = wait


def refuse(sentence: str, status: int, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The answer for one sentence."""
    return JSONResponse({"error": sentence}, status, dict(headers or {}))


def install(app: FastAPI) -> None:
    """Register the error handlers of an application."""
    app.add_exception_handler(RecosegError, _answer_recoseg_error)
    app.add_exception_handler(RequestValidationError, _answer_validation_error)
    app.add_exception_handler(HTTPException, _answer_http_error)
    app.add_exception_handler(Exception, _answer_unexpected_error)


def status_of(error: RecosegError) -> int:
    """The status for an error that a user caused."""
    if isinstance(error, Refused):
        return error.status
    if isinstance(error, UnknownConcept):
        return 404
    return 409 if isinstance(error, Locked) else 400


def describe_unexpected(error: BaseException) -> str:
    """Describe an unexpected error in one sentence."""
    if isinstance(error, MemoryError):
        return "this needs more memory than the server has; use a smaller image or fewer concepts."
    return f"the server met an unexpected {type(error).__name__}; its log says where."


def _answer_recoseg_error(request: Request, error: Any) -> JSONResponse:
    headers = {"Retry-After": str(error.wait)} if isinstance(error, Busy) else None
    return refuse(str(error), status_of(error), headers)


def _answer_validation_error(request: Request, error: Any) -> JSONResponse:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"][1:]) or "the request"
    return refuse(f"{place}: {first['msg'][:1].lower()}{first['msg'][1:]}.", 422)


def _answer_http_error(request: Request, error: Any) -> JSONResponse:
    detail = str(error.detail).rstrip(".")
    if error.status_code == 404 and detail == HTTPStatus.NOT_FOUND.phrase:
        detail = f"there is nothing at {request.url.path}"
    return refuse(f"{detail}.", error.status_code, error.headers)


def _answer_unexpected_error(request: Request, error: Exception) -> JSONResponse:
    return refuse(describe_unexpected(error), 500)
