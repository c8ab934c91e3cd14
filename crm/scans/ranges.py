"""Deal out the ids of a list, so that several readers go through it at once.

HubSpot's list goes by record id, and its cursor is one. So a reader who has nothing to do takes
the upper half of what another has still before it. That the cursor is an id is promised nowhere
and checked with every page. Source: live observations.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Condition

from crm.hubspot.errors import HubSpotError

_WORTH_HALVING = 12
"""Pages that are left; the boundary between two halves costs about half a page more."""


class CursorError(Exception):
    """HubSpot's list is not in the order of ids, or its cursor is no id."""


class AbandonedError(Exception):
    """Nobody wants any more what a reader was about to read."""


@dataclass
class Range:
    """Ids that one reader goes through."""

    number: int
    is_archived: bool
    after: str = ""
    """HubSpot's cursor up to which it was read."""
    until: int | None = None
    """The last id; None for an open end."""
    is_read: bool = False
    """To its end."""
    is_searched: bool = False
    """By a search, whose pace does not grow with more readers."""
    ids_a_page: int = 0
    """How many ids the last page went over; 0 before the first."""
    is_taken: bool = False
    stored_after: str = field(init=False)
    """The cursor up to which what was read is stored."""
    is_stored: bool = field(init=False)

    def __post_init__(self) -> None:
        """Begin where what is stored ends."""
        self.stored_after, self.is_stored = self.after, self.is_read


@dataclass(frozen=True)
class Bounds:
    """What is kept of a range, to go on from."""

    number: int
    is_archived: bool
    after: str
    until: int | None
    is_done: bool


@dataclass
class Plan:
    """All ranges of a scan; threads may share it.

    Args:
        ranges: that together hold every id.
        last_id: by which open ends are halved.
        may_split: whether more than one reader may go through a list.
    """

    ranges: list[Range]
    last_id: int
    may_split: bool
    _changed: Condition = field(default_factory=Condition)
    _is_abandoned: bool = False

    def take(self) -> Range | None:
        """A range to read, as soon as there is one; None when there will be none any more."""
        with self._changed:
            while not self._is_abandoned and not all(each.is_read for each in self.ranges):
                found = self._find_free() or self._halve()
                if found:
                    found.is_taken = True
                    return found
                self._changed.wait()
            return None

    def note(self, piece: Range, ids: Sequence[int], after: str | None) -> bool:
        """Take note of a page of a range; returns whether the range is read to its end.

        Args:
            piece: the page's.
            ids: of its records, in their order.
            after: the cursor of the page after it; None at the end.

        Raises:
            CursorError: the page is not what a list by ids would give.
            HubSpotError: the list does not go on.
        """
        with self._changed:
            if after is not None and after == piece.after:
                raise HubSpotError("HubSpot's list does not go on after its next page")
            piece.is_read = after is None
            if self.may_split:
                self._check(piece, ids, after)
                # Whether a cursor names the last id of its page or the next one: what is at the
                # boundary comes with one of the two ranges, or with both.
                is_beyond = piece.until is not None and int(after or 0) >= piece.until
                piece.is_read = after is None or is_beyond
            piece.after = piece.after if after is None else after
            self._changed.notify_all()
            return piece.is_read

    def abandon(self) -> None:
        """Let the readers stop; what was read until now is still to be stored."""
        with self._changed:
            self._is_abandoned = True
            self._changed.notify_all()

    def pause(self, seconds: float) -> None:
        """Wait, as a reader does between its calls.

        Raises:
            AbandonedError: the readers are to stop.
        """
        with self._changed:
            if self._changed.wait_for(lambda: self._is_abandoned, seconds):
                raise AbandonedError

    @property
    def is_abandoned(self) -> bool:
        """Whether readers are to stop."""
        return self._is_abandoned

    @property
    def is_stored(self) -> bool:
        """Whether everything is."""
        return all(each.is_stored for each in self.ranges)

    def list_bounds(self) -> list[Bounds]:
        """How far each range is stored, and where it ends, at one moment."""
        with self._changed:
            return [
                Bounds(each.number, each.is_archived, each.stored_after, each.until, each.is_stored)
                for each in self.ranges
            ]

    def _find_free(self) -> Range | None:
        free = (each for each in self.ranges if not each.is_read and not each.is_taken)
        return next(free, None)

    def _halve(self) -> Range | None:
        if not self.may_split:
            return None
        left = max(self.ranges, key=self._pages_left)
        if self._pages_left(left) < _WORTH_HALVING:
            return None
        middle = (int(left.after or 0) + self._end(left)) // 2
        right = Range(len(self.ranges), left.is_archived, str(middle), left.until)
        left.until = middle
        self.ranges.append(right)
        return right

    def _pages_left(self, piece: Range) -> float:
        if piece.is_read or piece.is_searched or not piece.ids_a_page:
            return 0
        return (self._end(piece) - int(piece.after or 0)) / piece.ids_a_page

    def _end(self, piece: Range) -> int:
        return self.last_id if piece.until is None else piece.until

    def _check(self, piece: Range, ids: Sequence[int], after: str | None) -> None:
        begin = _as_id(piece.after or "0")
        reached = max(ids[-1:], default=begin) if after is None else _as_id(after)
        is_ordered = all(one < other for one, other in zip([begin - 1, *ids], ids, strict=False))
        if not is_ordered or reached < max([begin, *ids[-1:]]):
            raise CursorError
        piece.ids_a_page = max(reached - (begin or min(ids, default=begin)), 1)


def _as_id(cursor: str) -> int:
    if not cursor.isdecimal() or not cursor.isascii():
        raise CursorError
    return int(cursor)
