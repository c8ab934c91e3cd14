"""Whatever goes wrong on a page becomes a page, which says what to do next."""

import time
from http import HTTPStatus
from typing import Any

import structlog
from flask import Blueprint, Response, g, make_response, render_template, request
from werkzeug.exceptions import HTTPException

from crm.console.headers import guard_page
from crm.errors import ConfigError, CRMError, UnavailableError
from crm.extensions import limiter
from crm.outages import is_outage

log = structlog.get_logger(__name__)

_TITLES = {
    400: "That did not work",
    403: "This is not open to you",
    404: "There is nothing here",
    409: "Somebody was faster",
    412: "It has changed meanwhile",
    413: "That is too much at once",
    429: "One moment, please",
    503: "Something that this needs is away",
}
_SENTENCES = {
    400: "The request was not understood. Go back, reload the page, and try again.",
    404: "The address may be mistyped, or what stood here was archived or merged.",
    405: "This address takes no such request. Go back, and try again from there.",
    413: "What you sent is larger than this page takes. Send less of it.",
    500: "The fault is ours, and it was noted. Try again in a moment.",
}


def register_errors(console: Blueprint) -> None:
    """Answer every exception of the console's pages, and people who ask for what is nowhere."""
    console.register_error_handler(CRMError, _show_ours)
    console.register_error_handler(HTTPException, _show_http)
    console.register_error_handler(Exception, _show_unexpected)
    console.after_app_request(_show_unrouted)


def _show_ours(error: CRMError) -> Response:
    if isinstance(error, ConfigError):
        return _show_unexpected(error)
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("page failed", error_code=error.error_code, reason=error.message)
    if isinstance(error, UnavailableError):
        g.retry_after = error.retry_after
    sentence = "" if error.status == HTTPStatus.NOT_FOUND else error.message
    return _page(error.status, " ".join(error.errors.values()) or sentence)


def _show_http(error: HTTPException) -> Any:
    status = error.code or 500
    if status < HTTPStatus.BAD_REQUEST:
        return error  # A redirect.
    return _page(status, _waiting() if status == HTTPStatus.TOO_MANY_REQUESTS else "")


def _show_unexpected(error: Exception) -> Response:
    if is_outage(error):
        return _show_ours(
            UnavailableError(
                "The database does not answer. Nothing that was saved is lost. Wait a moment, go"
                " back, and try again."
            )
        )
    log.error("page failed unexpectedly", exc_info=error)
    return _page(500)


def _show_unrouted(response: Response) -> Response:
    """Programs get the API's answer about an address that is nowhere, people a page."""
    if request.endpoint is not None or response.status_code < HTTPStatus.BAD_REQUEST:
        return response
    if request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html":
        response.data = _page(response.status_code).get_data()
        response.content_type = "text/html; charset=utf-8"
        return guard_page(response)
    return response


def _waiting() -> str:
    limit = limiter.current_limit
    seconds = max(limit.reset_at - int(time.time()), 1) if limit else 60
    why = " This keeps others from guessing passwords." if g.get("caller") is None else ""
    return f"That was too often for now.{why} Wait {seconds} seconds, and go on as before."


def _page(status: int, sentence: str = "") -> Response:
    title = _TITLES.get(status) or ("Something broke" if status >= 500 else "That did not work")
    page = render_template(
        "console/error.html",
        title=title,
        sentence=sentence or _SENTENCES.get(status, HTTPStatus(status).phrase),
        request_id=g.get("request_id"),
        is_ours=status >= HTTPStatus.INTERNAL_SERVER_ERROR,
    )
    return make_response(page, status)
