"""The decision list: what may be met on the wire, and whether the call is then made again.

``TABLE`` is the only place that decides; its sources are HubSpot's docs (error-handling, usage
guidelines) and the waits of HubSpot's own client, which are "SDK" below.

A call that was certainly not done is made again in any case. One whose outcome is unknown (a lost
answer, a 5xx) is made again only where repeating it changes nothing. Nobody waits in here longer
than the caller has patience for: what takes longer is raised, with ``retry_after``.
"""

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType

from crm.hubspot.errors import HubSpotError, HubSpotRateLimitError, HubSpotUnavailableError

NOT_CONNECTED = "not connected"
CONNECT_TIMEOUT = "connect timeout"
READ_TIMEOUT = "read timeout"
CONNECTION_LOST = "connection lost"
TOO_LARGE = "too large"
NOT_JSON = "not JSON"

_JITTER = 0.5
"""Pauses are longer by up to this share, lest all who failed together come back together."""


class Repeat(Enum):
    """Whether a call is made again."""

    ALWAYS = "always"
    """HubSpot did nothing."""
    IF_REPEATABLE = "if repeatable"
    """HubSpot may have done it."""
    WITH_ANOTHER_TOKEN = "with another token"  # noqa: S105 - a word, no secret
    """HubSpot did nothing, and will not as long as it is shown this token."""
    NEVER = "never"


@dataclass(frozen=True)
class Row:
    """One line of the decision list."""

    met: str
    """A failure of the connection, or a status: whole, with its category or policy, or ``4xx``."""
    repeat: Repeat
    attempts: int = 1
    """How many there are of one call, all in all."""
    pause: float = 0.0
    """Seconds before the second attempt, and twice as long before each further one.

    ``Retry-After`` takes its place where HubSpot sends one.
    """


_ALWAYS, _IF_REPEATABLE, _NEVER = Repeat.ALWAYS, Repeat.IF_REPEATABLE, Repeat.NEVER

TABLE = (
    # The call never left this machine, or met nobody.
    Row(NOT_CONNECTED, _ALWAYS, attempts=3, pause=0.2),
    Row(CONNECT_TIMEOUT, _ALWAYS, attempts=3, pause=0.2),
    # It arrived, for all we know. What took too long once is not asked for three times.
    Row(READ_TIMEOUT, _IF_REPEATABLE, attempts=2, pause=0.2),
    Row(CONNECTION_LOST, _IF_REPEATABLE, attempts=3, pause=0.2),
    # It would be as large once more.
    Row(TOO_LARGE, _NEVER),
    # Cut off, or the page of a proxy that says 200.
    Row(NOT_JSON, _IF_REPEATABLE, attempts=3, pause=0.2),
    # Nobody at HubSpot redirects API calls; following would carry the token elsewhere.
    Row("3xx", _NEVER),
    # The input is wrong, and stays wrong: 400, 403, 404, 409, 413, 414 and the like.
    Row("4xx", _NEVER),
    Row("401 EXPIRED_AUTHENTICATION", Repeat.WITH_ANOTHER_TOKEN),
    Row("401 INVALID_AUTHENTICATION", Repeat.WITH_ANOTHER_TOKEN),
    Row("408", _IF_REPEATABLE, attempts=3, pause=0.2),  # SDK (the generated one).
    Row("423", _ALWAYS, attempts=3, pause=2),  # Docs: locks last two seconds.
    # SDK: 10 s for the ten-secondly limit, 1 s for the searches', none for the daily one.
    Row("429 TEN_SECONDLY_ROLLING", _ALWAYS, attempts=3, pause=10),
    Row("429 SECONDLY", _ALWAYS, attempts=3, pause=1),
    # The day ends at midnight where the portal is, and every zone's midnight is a quarter hour's.
    Row("429 DAILY", _NEVER, pause=900),
    # A limit that is not named: the longest of those that pass while one waits.
    Row("429", _ALWAYS, attempts=2, pause=10),
    # Docs: the portal moves to another data centre, for up to a day; Retry-After says how long.
    Row("477", _NEVER, pause=60),
    Row("500", _IF_REPEATABLE, attempts=3, pause=0.2),  # SDK.
    # Docs: overload or a gateway; pause some seconds.
    Row("502", _IF_REPEATABLE, attempts=3, pause=1),
    Row("503", _IF_REPEATABLE, attempts=3, pause=1),
    Row("504", _IF_REPEATABLE, attempts=3, pause=1),
    Row("521", _IF_REPEATABLE, attempts=3, pause=1),
    Row("523", _IF_REPEATABLE, attempts=3, pause=1),
    # Docs: HubSpot took more than 100 seconds.
    Row("524", _IF_REPEATABLE, attempts=3, pause=1),
    # Docs: no connection, or no TLS, between HubSpot's own parts; ask its support.
    Row("522", _NEVER, pause=60),
    Row("525", _NEVER, pause=60),
    Row("526", _NEVER, pause=60),
    Row("5xx", _IF_REPEATABLE, attempts=3, pause=0.2),  # SDK.
)
_ROWS: Mapping[str, Row] = MappingProxyType({row.met: row for row in TABLE})
_OUR_OWN = Row("", _NEVER)


def find_row(met: str) -> Row:
    """The row of what was met: the nearest of ``429 DAILY``, ``429`` and ``4xx``."""
    names = (met, met.partition(" ")[0], f"{met[:1]}xx")
    return next((_ROWS[name] for name in names if name in _ROWS), _OUR_OWN)


def may_have_happened(error: HubSpotError) -> bool:
    """Whether HubSpot may have done a call that failed so."""
    if find_row(error.met).repeat in (_ALWAYS, Repeat.WITH_ANOTHER_TOKEN):
        return False
    return error.met == "408" or error.met[:1] not in ("3", "4")


@dataclass
class Attempts:
    """The attempts of one call."""

    repeatable: bool
    """Whether doing the call twice does the same as doing it once."""
    longest: float
    """Seconds that one attempt may take."""
    patience: float
    """Seconds that all of them may take, with their pauses."""
    is_paced: bool
    """Whether somebody else sees to it that nothing is sent before a limit has passed."""
    until: float = field(init=False)
    """When the patience ends, on the monotonic clock."""
    _made: int = 0
    _is_renewed: bool = False

    def __post_init__(self) -> None:
        """Begin to lose patience."""
        self.until = time.monotonic() + self.patience

    def pause_after(self, error: HubSpotError) -> float:
        """After an attempt that failed: the seconds to wait before the next.

        No attempt is begun that there is not the time to wait out.

        Raises:
            HubSpotError: this error, because there is no next attempt.
        """
        row = find_row(error.met)
        if row.repeat is Repeat.WITH_ANOTHER_TOKEN and not self._is_renewed:
            self._is_renewed = True
            return 0
        self._made += 1
        pause = self._pause(row, error)
        if self._made >= row.attempts or not self._may_repeat(row):
            raise error
        if time.monotonic() + pause + self.longest > self.until:
            raise error
        return pause

    def _may_repeat(self, row: Row) -> bool:
        return row.repeat is _ALWAYS or (row.repeat is _IF_REPEATABLE and self.repeatable)

    def _pause(self, row: Row, error: HubSpotError) -> float:
        if not isinstance(error, HubSpotUnavailableError):
            return 0
        if error.retry_after is None:
            error.retry_after = row.pause * float(2 ** (self._made - 1))
        if self.is_paced and isinstance(error, HubSpotRateLimitError):
            return 0
        return error.retry_after * random.uniform(1, 1 + _JITTER)  # noqa: S311 - jitter, not a secret
