"""Run transactions over plain Python state: every change notes how to undo it.

A request is one transaction, and each input of a traced batch is one inside it: what fails is
rolled back, so "all or nothing" needs no second pass over the inputs.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeAlias

from hubspot_sandbox.events import Actor, Event

# Demo data and the like: some integration or other.
UNKNOWN_ACTOR: Final = Actor("INTEGRATION", "")

Undo: TypeAlias = Callable[[], object]


Publish: TypeAlias = Callable[[list[Event]], object]


class UndoLog:
    """The undo log of one portal; ``commits`` counts the transactions that changed anything.

    ``actor`` makes the present changes.

    ``publish`` is given the events of each transaction that stays, in their order. While nobody
    has set ``has_listeners`` none are kept: a hundred thousand records are loaded quicker without.
    """

    def __init__(self, publish: Publish) -> None:
        """Start with nothing to undo, and with nobody who would hear of events."""
        self.commits = 0
        self.actor = UNKNOWN_ACTOR
        self.has_listeners = False
        self._publish = publish
        self._events: list[Event] = []
        self._undo: list[Undo] = []
        self._depth = 0

    def note(self, undo: Undo) -> None:
        """Record how to take back the change that was just made."""
        self._undo.append(undo)

    def emit(self, event: Event) -> None:
        """Record what the change that was just made means to others, if any of them listens."""
        if self.has_listeners:
            self._events.append(event)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Keep the changes made inside, or none of them when an exception passes through."""
        mark, events_mark = len(self._undo), len(self._events)
        self._depth += 1
        try:
            yield
        except BaseException:
            while len(self._undo) > mark:
                self._undo.pop()()
            del self._events[events_mark:]
            raise
        finally:
            self._depth -= 1
            if self._depth == 0:
                self._end()

    def _end(self) -> None:
        if self._undo:
            self.commits += 1
            self._undo.clear()
        events, self._events = self._events, []
        if events:
            self._publish(events)
