"""Records as JSON, spelled once for as long as nothing in their portal changes.

What a record looks like depends on more than itself: on the definitions of its properties, on
its associations, on whether the associated records are archived. So any change forgets all.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import orjson

from hubspot_sandbox.tables import Record
from hubspot_sandbox.undo_log import Journal

# Each may hold every record of a type once.
_MOST_SELECTIONS = 4


class Spellings:
    """The records that were last listed, by what was selected of them."""

    def __init__(self, journal: Journal) -> None:
        """Start with none; every change that the journal keeps forgets them."""
        self._journal = journal
        self._as_of = journal.commits
        self._spelled: dict[Hashable, dict[int, orjson.Fragment]] = {}

    def spell(
        self,
        selection: Hashable,
        records: Sequence[Record],
        render: Callable[[Record], dict[str, Any]],
    ) -> list[orjson.Fragment]:
        """Return records as ``render`` makes them; ``selection`` tells all that it depends on.

        Only for requests that change nothing: before its transaction ends, a change is unknown.
        """
        spelled = self._of(selection)
        for record in records:
            if record.id not in spelled:
                # The bytes that orjson gives keep 4 KB each; their text does not.
                spelled[record.id] = orjson.Fragment(orjson.dumps(render(record)).decode())
        return [spelled[record.id] for record in records]

    def _of(self, selection: Hashable) -> dict[int, orjson.Fragment]:
        if self._as_of != self._journal.commits:
            self._spelled.clear()
            self._as_of = self._journal.commits
        if selection not in self._spelled and len(self._spelled) == _MOST_SELECTIONS:
            del self._spelled[next(iter(self._spelled))]
        return self._spelled.setdefault(selection, {})
