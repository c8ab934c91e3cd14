"""Outages of the database: which errors are one, and how long a request waits for an answer."""

import re
import select
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import psycopg
import psycopg2
from flask import has_request_context
from psycopg2 import extensions
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

DATABASE_ERRORS = (SQLAlchemyError, psycopg2.Error)
"""Whatever a statement may raise."""

CONNECT = 5.0
"""Seconds for a connection to be made."""
ANSWER = 10.0
"""Seconds in which the database must answer a request."""

# Connections; resources (disk, memory, connections); I/O; shutdown, crash and start; a standby, or
# a server that was made read-only because its disk is full.
_AWAY = re.compile(r"08...|53...|58...|57P..|25006")
_CONNECTED = (extensions.STATUS_READY, extensions.STATUS_BEGIN, extensions.STATUS_PREPARED)

_patience: ContextVar[float | None] = ContextVar("patience", default=None)


def is_outage(error: BaseException | None) -> bool:
    """Whether an error, or what it came from, means that the database is away, starting or full."""
    while error is not None:
        if _is_outage(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _is_outage(error: BaseException) -> bool:
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    if isinstance(error, psycopg2.Error):
        code = error.pgcode
    elif isinstance(error, psycopg.Error):
        code = error.sqlstate
    else:
        return isinstance(error, PoolTimeoutError)
    if code is None:
        # The drivers' own: not reached, cut off, or nothing was answered.
        return isinstance(error, _WITHOUT_CODE) or type(error) is psycopg2.DatabaseError
    return _AWAY.fullmatch(code) is not None


_WITHOUT_CODE = (
    *(psycopg2.OperationalError, psycopg2.InterfaceError),
    *(psycopg.OperationalError, psycopg.InterfaceError),
)


def limit_waiting() -> None:
    """Have no request of this process wait for ever for a database that hangs.

    The driver itself has no limit: a server that is suspended, or whose disk hangs, keeps its
    connections open and says nothing. Jobs and commands wait on, as nobody waits for them.
    """
    extensions.set_wait_callback(_wait)


@contextmanager
def no_longer_than(seconds: float) -> Iterator[None]:
    """Within it, each answer of the database is waited for so long at most."""
    token = _patience.set(seconds)
    try:
        yield
    finally:
        _patience.reset(token)


def _wait(connection: extensions.connection) -> None:
    """Wait until the driver has what it wants; raising closes the connection."""
    while (state := connection.poll()) != extensions.POLL_OK:
        poller = select.poll()
        is_reading = state == extensions.POLL_READ
        poller.register(connection.fileno(), select.POLLIN if is_reading else select.POLLOUT)
        seconds = _longest_wait(connection)
        if not poller.poll(None if seconds is None else seconds * 1000):
            # Else the error's traceback would keep one open that was never made.
            del connection
            raise psycopg2.OperationalError(f"no answer within {seconds:g} seconds")


def _longest_wait(connection: extensions.connection) -> float | None:
    patience = _patience.get()
    if patience is not None:
        return patience
    if connection.status not in _CONNECTED:
        return CONNECT
    return ANSWER if has_request_context() else None
