"""Admission: how many requests a process works on at once, and how many wait for their turn.

Who asks for the service's health is let in at once, whatever all others do.
"""

from collections.abc import Callable
from threading import BoundedSemaphore, Lock
from typing import Any, TypeVar

from flask import Flask, current_app, g, request

from crm.errors import UnavailableError

View = TypeVar("View", bound=Callable[..., Any])

AT_ONCE = 8
"""Requests that a process works on at once."""
WAITING = 48
"""Requests that wait for one of those to end."""
AT_ALL_TIMES = 8
"""Threads that are left for health, and for telling all others to come again."""
_PATIENCE = 10.0
"""Seconds that a request waits for its turn."""


class Admission:
    """The requests of one process."""

    def __init__(self, *, at_once: int = AT_ONCE, waiting: int = WAITING) -> None:
        """Work on so many at once, and let so many wait."""
        self._turns = BoundedSemaphore(at_once)
        self._lock = Lock()
        self._most = at_once + waiting
        self._inside = 0

    def enter(self) -> None:
        """Wait for a turn.

        Raises:
            UnavailableError: too many wait already, or it takes too long.
        """
        with self._lock:
            if self._inside >= self._most:
                raise _busy()
            self._inside += 1
        if not self._turns.acquire(timeout=_PATIENCE):
            self._leave_line()
            raise _busy()

    def leave(self) -> None:
        """Give one's turn to the next."""
        self._turns.release()
        self._leave_line()

    def _leave_line(self) -> None:
        with self._lock:
            self._inside -= 1


def at_once(view: View) -> View:
    """For what must be answered however many requests wait."""
    view.needs_no_turn = True  # type: ignore[attr-defined]
    return view


def init_admission(app: Flask, admission: Admission | None = None) -> None:
    """Have each request wait for its turn, from its beginning to the end of its answer."""
    admission = admission or Admission()

    @app.before_request
    def enter() -> None:
        view = current_app.view_functions.get(request.endpoint or "")
        if not getattr(view, "needs_no_turn", False):
            admission.enter()
            g.has_turn = True

    @app.teardown_request
    def leave(_: BaseException | None) -> None:
        if g.pop("has_turn", False):
            admission.leave()


def _busy() -> UnavailableError:
    return UnavailableError("The service is busy; try again in a moment")
