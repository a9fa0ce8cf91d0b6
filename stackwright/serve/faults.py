"""What a client is told when something is wrong: OpenAI's error object, with the value and the rule in its message.

{"error": {"message": "n is 9; give a number of 8 or less", "type": "invalid_request_error", "param": "n", "code": null}}
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from stackwright.errors import StackwrightError, TargetError, UsageError
from stackwright.log import get_logger

logger = get_logger("serve")

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "timeout_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "unavailable_error",
}

RETRY_SECONDS = 1
"""After which a client that came to a full queue may come again."""

_SHOWN_CHARACTERS = 80
"""Of a value that is named in a message: the value may be as long as a body."""


class ApiError(Exception):
    """A request cannot be answered. `retry_after` is in seconds."""

    def __init__(self, status: int, message: str, param: str | None = None, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.retry_after = status, message, param, retry_after

    def body(self) -> dict[str, Any]:
        kind = _TYPES.get(self.status, "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": None}}

    def headers(self) -> dict[str, str]:
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return headers


def told(error: Exception) -> ApiError:
    """Return what a client is told of an error; of one that is not the client's only that there was one."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, TargetError):
        return ApiError(404, str(error))
    if isinstance(error, UsageError):
        return ApiError(400, str(error))
    if isinstance(error, StackwrightError):
        logger.error("%s", error)
        return ApiError(503, str(error))
    logger.error("an error that the server does not know", exc_info=error)
    return ApiError(500, "the server failed; its log says how")


def response(error: ApiError) -> JSONResponse:
    return JSONResponse(error.body(), error.status, headers=error.headers())


def shown(value: object) -> str:
    """Return a value as a message names it."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}… ({len(text):,} characters)"


def install(app: FastAPI, fields: Mapping[str, Sequence[str]]) -> None:
    """Make every error of an application one of ours. `fields` are the known ones of each path, to name the nearest."""

    async def any_error(_: Request, error: Exception) -> JSONResponse:
        return response(told(error))

    async def http_error(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        messages = {
            404: f"there is no {request.url.path}; the paths are in /openapi.json",
            405: f"{request.url.path} does not take {request.method}",
        }
        return response(ApiError(error.status_code, messages.get(error.status_code, str(error.detail))))

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        problems = error.errors()
        # Of a field that takes several types, what is wrong with the value says more than which types it is not.
        problem = next((problem for problem in problems if not problem["type"].endswith("_type")), problems[0])
        return response(_invalid(problem, fields.get(request.url.path, ())))

    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, any_error)
    for kind in (ApiError, StackwrightError):
        app.add_exception_handler(kind, any_error)


def _invalid(problem: Mapping[str, Any], known: Sequence[str]) -> ApiError:
    """Return the error for what pydantic found."""
    place = [part for part in problem["loc"] if part != "body"]
    name = str(place[0]) if place else None
    if problem["type"] == "json_invalid":
        return ApiError(400, f"the body is not JSON: {problem['ctx']['error']}")
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(name), known, 1)
        return ApiError(400, f"unknown field {shown(name)}; {f'did you mean {near[0]}?' if near else 'leave it out'}", name)
    if problem["type"] == "value_error":  # of our own validators; those of a whole body name the value
        rule = str(problem["ctx"]["error"])
        return ApiError(400, rule if name is None else f"{name} is {shown(problem.get('input'))}: {rule}", name)
    if name is None:
        return ApiError(400, f"the body is {shown(problem.get('input'))}: {problem['msg']}")
    if problem["type"] == "missing":
        return ApiError(400, f"{name} is missing", name)
    return ApiError(400, f"{name} is {shown(problem.get('input'))}: {problem['msg']}", name)
