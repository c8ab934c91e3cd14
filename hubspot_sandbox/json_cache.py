"""Keep records as JSON, rendered once for as long as nothing in their portal changes.

What a record looks like depends on more than itself: on the definitions of its properties, on
its associations, on whether the associated records are archived. So any change forgets all.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import orjson

from hubspot_sandbox.tables import Record
from hubspot_sandbox.undo_log import UndoLog

# Each may hold every record of a type once.
_MOST_SELECTIONS = 4


class JSONCache:
    """The records that were last listed, by what was selected of them."""

    def __init__(self, undo_log: UndoLog) -> None:
        """Start with none; every change that the undo log keeps forgets them."""
        self._undo_log = undo_log
        self._as_of = undo_log.commits
        self._rendered: dict[Hashable, dict[int, orjson.Fragment]] = {}

    def get_or_render(
        self,
        selection: Hashable,
        records: Sequence[Record],
        render: Callable[[Record], dict[str, Any]],
    ) -> list[orjson.Fragment]:
        """Return records as ``render`` makes them; ``selection`` tells all that it depends on.

        Only for requests that change nothing: before its transaction ends, a change is unknown.
        """
        rendered = self._of(selection)
        for record in records:
            if record.id not in rendered:
                # The bytes that orjson gives keep 4 KB each; their text does not.
                rendered[record.id] = orjson.Fragment(orjson.dumps(render(record)).decode())
        return [rendered[record.id] for record in records]

    def _of(self, selection: Hashable) -> dict[int, orjson.Fragment]:
        if self._as_of != self._undo_log.commits:
            self._rendered.clear()
            self._as_of = self._undo_log.commits
        if selection not in self._rendered and len(self._rendered) == _MOST_SELECTIONS:
            del self._rendered[next(iter(self._rendered))]
        return self._rendered.setdefault(selection, {})
