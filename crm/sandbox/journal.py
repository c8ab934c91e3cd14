"""Transactions over plain Python state: every change leaves word how to undo it.

A request is one transaction, and each input of a traced batch is one inside it: what fails is
rolled back, so "all or nothing" needs no second pass over the inputs.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

Undo: TypeAlias = Callable[[], object]


class Journal:
    """The undo log of one portal; ``commits`` counts the transactions that changed anything."""

    def __init__(self) -> None:
        """Start with nothing to undo."""
        self.commits = 0
        self._undo: list[Undo] = []
        self._depth = 0

    def note(self, undo: Undo) -> None:
        """Record how to take back the change that was just made."""
        self._undo.append(undo)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Keep the changes made inside, or none of them when an exception passes through."""
        mark = len(self._undo)
        self._depth += 1
        try:
            yield
        except BaseException:
            while len(self._undo) > mark:
                self._undo.pop()()
            raise
        finally:
            self._depth -= 1
            if self._depth == 0 and self._undo:
                self.commits += 1
                self._undo.clear()
