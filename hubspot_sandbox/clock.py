"""The sandbox's time: one clock that can be moved, and HubSpot's spellings of a moment.

Inside the sandbox a moment is an ``int``: milliseconds since 1970 in UTC.
"""

import re
import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_EPOCH_MS = re.compile(r"-?[0-9]{1,15}")
_FULL_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_ISO_TEXT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9:.]{5,15}(Z|[+-][0-9:]{4,6})?)?")

DAY_MS = 86_400_000
LAST_MOMENT = 253_402_300_799_999  # of the year 9999


class Clock:
    """The wall clock, shifted by an offset in milliseconds; frozen, it moves only when told to."""

    def __init__(self) -> None:
        """Start as the wall clock."""
        self.offset_ms = 0
        self._frozen_at: int | None = None

    @property
    def is_frozen(self) -> bool:
        """Whether time stands still between the moves of the clock."""
        return self._frozen_at is not None

    def now_ms(self) -> int:
        """Return the present moment."""
        return self._base_ms() + self.offset_ms

    def set_now(self, moment: int) -> None:
        """Move to a moment, be it before or after the present one; raise ValueError."""
        self.set_offset(moment - self._base_ms())

    def set_offset(self, offset_ms: int) -> None:
        """Move to so many milliseconds from the wall clock; raise ValueError.

        For a frozen clock they count from the moment at which it was frozen.
        """
        if not 0 <= self._base_ms() + offset_ms <= LAST_MOMENT:
            raise ValueError("the clock goes from 1970 to 9999")
        self.offset_ms = offset_ms

    def advance(self, milliseconds: int) -> None:
        """Move on by so much; raise ValueError."""
        self.set_offset(self.offset_ms + milliseconds)

    def freeze(self, frozen: bool = True) -> None:
        """Stop the clock where it is, or let it go on from there."""
        if frozen is self.is_frozen:
            return
        now = self.now_ms()
        self._frozen_at = now - self.offset_ms if frozen else None
        self.offset_ms = now - self._base_ms()

    def _base_ms(self) -> int:
        return time.time_ns() // 1_000_000 if self._frozen_at is None else self._frozen_at


# A page of records spells the same few thousand moments again and again.
@lru_cache(maxsize=65_536)
def iso(moment: int) -> str:
    """Spell a moment as HubSpot does: milliseconds, but no fraction when they are zero.

    Source: live answers; the usage guidelines show ``resetsAt: 2025-12-13T05:00:00Z``.
    """
    text = (_EPOCH + moment * _MILLISECOND).isoformat(
        timespec="milliseconds" if moment % 1000 else "seconds"
    )
    return text.removesuffix("+00:00") + "Z"


def parse_moment(text: str) -> int | None:
    """Read epoch milliseconds or an ISO date or time; None when it is neither.

    An ISO time without an offset is taken as UTC.
    """
    if _EPOCH_MS.fullmatch(text):
        return _checked(int(text))
    if not _ISO_TEXT.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return _checked((moment - _EPOCH) // _MILLISECOND)


def is_full_date(text: str) -> bool:
    """Say whether the text has the form of a calendar date and names a real one."""
    return bool(_FULL_DATE.fullmatch(text)) and parse_moment(text) is not None


def _checked(moment: int) -> int | None:
    """Keep a moment within the years that a calendar date can name."""
    try:
        _EPOCH + moment * _MILLISECOND
    except OverflowError:
        return None
    return moment
