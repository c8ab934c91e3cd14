"""Every error becomes an answer here, in the one shape that suits every client."""

from datetime import UTC, datetime
from http import HTTPStatus
from itertools import islice
from socket import socket
from typing import Any
from uuid import uuid4

import orjson
import structlog
from flask import Flask, Response, g, request
from gunicorn import util  # type: ignore[import-untyped]
from werkzeug.exceptions import HTTPException

from crm.api.schemas.outputs import ErrorSchema
from crm.errors import ConfigError, CRMError, UnavailableError
from crm.extensions import api
from crm.outages import is_outage

log = structlog.get_logger(__name__)

# What the document says of every error.
api.ERROR_SCHEMA = ErrorSchema

_MOST_ERRORS = 100
_CODES = {
    400: "VALIDATION_ERROR",
    401: "INVALID_TOKEN",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    413: "PAYLOAD_TOO_LARGE",
    415: "VALIDATION_ERROR",
    429: "RATE_LIMIT_EXCEEDED",
    500: "INTERNAL_ERROR",
    503: "UNAVAILABLE",
}
_UNREAD = {414: "URI_TOO_LONG", 431: "HEADERS_TOO_LARGE"}
_MESSAGES = {
    400: "Validation error",
    404: "Resource not found",
    413: "The body is larger than 1 MiB",
    500: "Internal server error",
}

_MOST_TO_READ_ON = 16 * 1024 * 1024


def register_errors(app: Flask) -> None:
    """Answer every exception of the app."""
    app.register_error_handler(CRMError, _answer_ours)
    app.register_error_handler(HTTPException, _answer_http)
    app.register_error_handler(Exception, _answer_unexpected)
    # gunicorn has no other place for that; its own answer is a page of HTML.
    util.write_error = write_refusal


def _answer_ours(error: CRMError) -> Response:
    if isinstance(error, ConfigError):
        return _answer_unexpected(error)
    if error.status >= 500:
        log.error("request failed", error_code=error.error_code, reason=error.message)
    if isinstance(error, UnavailableError):
        g.retry_after = error.retry_after
    return _answer(
        error.status,
        error.error_code,
        error.message,
        # Whoever sends a thousand wrong items sees what is wrong from a hundred.
        errors=dict(islice(error.errors.items(), _MOST_ERRORS)),
        details=error.details,
    )


def _answer_http(error: HTTPException) -> Response:
    status = error.code or 500
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        message = f"ratelimit exceeded {error.description}"
    else:
        message = _MESSAGES.get(status) or HTTPStatus(status).phrase
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        _take_the_rest()
    code = _CODES.get(status) or HTTPStatus(status).name
    answer = _answer(status, code, message)
    # Such as Allow on a 405.
    for name, value in error.get_headers():
        if name.lower() not in ("content-type", "content-length"):
            answer.headers[name] = value
    return answer


def _take_the_rest() -> None:
    """Read on for a while: a caller who is still sending would never see the answer."""
    if not request.environ.get("wsgi.input_terminated"):
        return  # Reading might wait for ever.
    body, left = request.environ["wsgi.input"], _MOST_TO_READ_ON
    while left > 0 and (piece := body.read(64 * 1024)):
        left -= len(piece)


def _answer_unexpected(error: Exception) -> Response:
    if is_outage(error):
        # Without its own words, which may hold the database's address.
        return _answer_ours(UnavailableError("The database is away; try again in a moment"))
    log.error("request failed unexpectedly", exc_info=error)
    return _answer(500, CRMError.error_code, CRMError().message)


def _answer(
    status: int,
    code: str,
    message: str,
    *,
    errors: dict[str, str] | None = None,
    details: dict[str, Any] | None = None,
) -> Response:
    body = _body(code, message, g.get("request_id")) | {
        "errors": errors or {},
        "details": details or {},
    }
    return Response(orjson.dumps(body), status, content_type="application/json")


def write_refusal(connection: socket, status: int, reason: str, _message: str) -> None:
    """Answer what the server cannot read as a request, and the app therefore never sees.

    Args:
        connection: the caller's.
        status: what the server makes of it.
        reason: its name in HTTP.
        _message: the server's own words, which hold parts of the request.
    """
    request_id = uuid4().hex
    code = _UNREAD.get(status) or _CODES.get(status) or HTTPStatus(status).name
    body = orjson.dumps(_body(code, _MESSAGES.get(status, reason), request_id))
    head = (
        f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nX-Request-ID: {request_id}\r\n\r\n"
    )
    connection.sendall(head.encode() + body)


def _body(code: str, message: str, request_id: str | None) -> dict[str, Any]:
    return {
        "status": "error",
        "error": message,
        "message": message,
        "error_code": code,
        "errors": {},
        "details": {},
        "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "request_id": request_id,
    }
