"""How often one may call: rolling windows, the day's quota, and what HubSpot tells of both.

Source: HubSpot docs, usage guidelines and associations guide; real 429 answers. A call that is
refused fills no window, or a client that keeps knocking would never get in again.
"""

from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final, NamedTuple, Self
from uuid import uuid4

from hubspot_sandbox.access import Access
from hubspot_sandbox.clock import DAY_MS, Clock, iso
from hubspot_sandbox.errors import HubSpotError

PLAIN: Final = "plain"
ASSOCIATIONS: Final = "associations"
SEARCH: Final = "search"
# The limits that a fault may pretend are reached.
POLICIES: Final = frozenset({"ten_secondly", "daily", "search"})

_WINDOW_MS: Final = 10_000
_SEARCH_WINDOW_MS: Final = 1_000
_HEADER: Final = "X-HubSpot-RateLimit-"


@dataclass(kw_only=True)
class LimitSettings:
    """The limits of a Professional account; 0 lifts one.

    ``limit_ten_secondly`` is of each private app, ``limit_oauth_ten_secondly`` of each OAuth app
    in a portal; ``limit_associations`` is the associations API's own, within them.
    ``limit_search`` (a second) and ``limit_daily`` are of the whole portal. Real answers to
    searches that came too fast differ: ``search_429_names_policy`` chooses between the two.
    HubSpot sends no Retry-After; ``limit_retry_after`` does.

    Of the others: ``limit_airtable`` calls a second for a person and ``limit_airtable_base`` for a
    base (docs: "Rate limits"), ``limit_notion`` for a connection (docs: "Request limits").
    """

    limit_ten_secondly: int = 190
    limit_oauth_ten_secondly: int = 110
    limit_associations: int = 150
    limit_search: int = 5
    limit_daily: int = 625_000
    limit_retry_after: bool = False
    search_429_names_policy: bool = True
    limit_airtable: int = 50
    limit_airtable_base: int = 5
    limit_notion: int = 3

    def lift_limits(self) -> Self:
        """Let everybody call as often as they like."""
        self.limit_ten_secondly = self.limit_oauth_ten_secondly = 0
        self.limit_associations = self.limit_search = self.limit_daily = 0
        self.limit_airtable = self.limit_airtable_base = self.limit_notion = 0
        return self


class Tier(NamedTuple):
    """What an account has paid for."""

    ten_secondly: int
    associations: int
    daily: int


TIERS: Final = {
    "FREE": Tier(100, 100, 250_000),
    "STARTER": Tier(100, 100, 250_000),
    "PROFESSIONAL": Tier(190, 150, 625_000),
    "ENTERPRISE": Tier(190, 150, 1_000_000),
}


class Window:
    """The calls of the last so many milliseconds; each takes amortised constant time."""

    def __init__(self, span_ms: int) -> None:
        """Start without calls."""
        self._span = span_ms
        self._moments: deque[int] = deque()

    def count(self, now: int) -> int:
        """Return how many calls are still within the window."""
        # What lies far ahead was called before the sandbox's clock was put back.
        while self._moments and abs(now - self._moments[0]) >= self._span:
            self._moments.popleft()
        return len(self._moments)

    def add(self, now: int) -> None:
        """Let a call in."""
        self._moments.append(now)

    def wait_ms(self, now: int) -> int:
        """Return how long it takes until a call leaves the window."""
        return self._moments[0] + self._span - now


class Day:
    """The calls of one day, which begins at midnight in the account's time zone."""

    def __init__(self, utc_offset_ms: int) -> None:
        """Start without calls."""
        self._offset = utc_offset_ms
        self._day = 0
        self._calls = 0

    def count(self, now: int) -> int:
        """Return how many calls there were since midnight."""
        today = (now + self._offset) // DAY_MS
        if today != self._day:
            self._day, self._calls = today, 0
        return self._calls

    def add(self, now: int) -> None:
        """Let a call in."""
        self._calls = self.count(now) + 1

    def wait_ms(self, now: int) -> int:
        """Return how long it takes until midnight."""
        return DAY_MS - (now + self._offset) % DAY_MS


class Bucket(NamedTuple):
    """A limit that a call falls under: its ceiling, 0 for none, and how its refusal reads.

    A fault may say that it is ``reached``, whatever the calls were.
    """

    calls: Window | Day
    ceiling: int
    message: str
    policy: Mapping[str, Any]
    reached: bool = False

    def left(self, now: int) -> int:
        """Return how many more calls there may be."""
        return 0 if self.reached else max(0, self.ceiling - self.calls.count(now))


class Limits:
    """What one portal lets through; asks for no lock but its own."""

    def __init__(
        self, clock: Clock, settings: LimitSettings, portal_id: int, utc_offset_ms: int
    ) -> None:
        """Start with nothing used. ``tier`` replaces the settings' numbers when it is given."""
        self.tier: Tier | None = None
        self._clock = clock
        self._settings = settings
        self._portal_id = portal_id
        self._apps: dict[tuple[int, bool], Window] = defaultdict(lambda: Window(_WINDOW_MS))
        self._associations: dict[tuple[int, bool], Window] = defaultdict(lambda: Window(_WINDOW_MS))
        self._search = Window(_SEARCH_WINDOW_MS)
        self._day = Day(utc_offset_ms)
        self._lock = Lock()

    def spend(self, access: Access, kind: str) -> dict[str, str]:
        """Let a call in and return the headers of its answer; raise HubSpot's 429."""
        with self._lock:
            buckets = self._buckets(access, kind)
            now = self._clock.now_ms()
            full = next((each for each in buckets if each.ceiling and not each.left(now)), None)
            if full:
                refusal = _refusal(full, _headers(buckets, kind, now))
                if self._settings.limit_retry_after:
                    seconds = -(-full.calls.wait_ms(now) // 1000)
                    refusal.adding({"Retry-After": str(seconds)})
                raise refusal
            for each in buckets:
                each.calls.add(now)
            return _headers(buckets, kind, now)

    def pretend_reached(self, access: Access, policy: str) -> HubSpotError:
        """Make the 429 of a limit, whatever was spent: ``policy`` is one of `POLICIES`."""
        kind = SEARCH if policy == "search" else PLAIN
        with self._lock:
            buckets = self._buckets(access, kind)
            found = self._daily_bucket() if policy == "daily" else buckets[0]
            ceiling = found.ceiling or getattr(LimitSettings(), f"limit_{policy}")
            full = found._replace(ceiling=ceiling, reached=True)
            now = self._clock.now_ms()
            return _refusal(full, _headers([*buckets, full], kind, now))

    def report_day(self) -> dict[str, Any]:
        """Return the use of the private apps' daily quota, as the usage endpoint tells it."""
        with self._lock:
            now = self._clock.now_ms()
            return {
                "name": "private-apps-api-calls-daily",
                "usageLimit": self._daily_ceiling(),
                "currentUsage": self._day.count(now),
                "collectedAt": iso(now),
                "fetchStatus": "SUCCESS",
                "resetsAt": iso(now + self._day.wait_ms(now)),
            }

    def _buckets(self, access: Access, kind: str) -> list[Bucket]:
        """Return what a call falls under; a search is outside of the ten seconds' windows."""
        app = (access.app_id, access.is_oauth)
        group = "oauth" if access.is_oauth else "private_app"
        caller = f"{access.app_id}:{self._portal_id}"
        buckets = []
        if kind == SEARCH:
            buckets.append(self._search_bucket(f"publicapi:crm:search:{group}:{caller}"))
        else:
            name = f"publicapi:{group}-api-calls-ten-secondly:{caller}"
            buckets.append(_ten_secondly(self._apps[app], self._app_ceiling(access), name))
        if kind == ASSOCIATIONS:
            name = f"publicapi:crm:associations-api-calls-ten-secondly:{caller}"
            ceiling = self._choose(self._settings.limit_associations, "associations")
            buckets.append(_ten_secondly(self._associations[app], ceiling, name))
        if not access.is_oauth:  # HubSpot publishes no daily limit of OAuth apps.
            buckets.append(self._daily_bucket())
        return buckets

    def _search_bucket(self, name: str) -> Bucket:
        named = {"errorType": "RATE_LIMIT", "policyName": "SECONDLY", "groupName": name}
        policy = named if self._settings.search_429_names_policy else {"category": "RATE_LIMITS"}
        message = "You have reached your secondly limit."
        return Bucket(self._search, self._settings.limit_search, message, policy)

    def _daily_bucket(self) -> Bucket:
        name = f"publicapi:private_app-api-calls-daily:{self._portal_id}"
        policy = {"errorType": "RATE_LIMIT", "policyName": "DAILY", "groupName": name}
        message = "You have reached your daily limit."
        return Bucket(self._day, self._daily_ceiling(), message, policy)

    def _app_ceiling(self, access: Access) -> int:
        if access.is_oauth:  # The same for every account; no add-on raises it.
            return self._settings.limit_oauth_ten_secondly
        return self._choose(self._settings.limit_ten_secondly, "ten_secondly")

    def _daily_ceiling(self) -> int:
        return self._choose(self._settings.limit_daily, "daily")

    def _choose(self, setting: int, name: str) -> int:
        return int(getattr(self.tier, name)) if self.tier and setting else setting


def find_kind(area: str, path: str) -> str:
    """Say which limits a route falls under."""
    if "associations" in area:
        return ASSOCIATIONS
    return SEARCH if area == "objects" and path.endswith("/search") else PLAIN


def _ten_secondly(window: Window, ceiling: int, group: str) -> Bucket:
    policy = {"errorType": "RATE_LIMIT", "policyName": "TEN_SECONDLY_ROLLING", "groupName": group}
    message = "You have reached your ten_secondly_rolling limit."
    return Bucket(window, ceiling, message, policy)


def _refusal(bucket: Bucket, headers: Mapping[str, str]) -> HubSpotError:
    extra = dict(bucket.policy)
    if extra.get("policyName") == "DAILY":
        extra["requestId"] = str(uuid4())
    return HubSpotError(429, bucket.message).adding(headers, **extra)


def _headers(buckets: list[Bucket], kind: str, now: int) -> dict[str, str]:
    """Tell what is left; a search's answer is silent on the ten seconds, as real ones are."""
    headers: dict[str, int] = {}
    for each in buckets:
        left = each.left(now)
        if not each.ceiling:
            continue
        if isinstance(each.calls, Day):
            headers |= {"Daily": each.ceiling, "Daily-Remaining": left}
        elif kind != SEARCH and left <= headers.get("Remaining", left):
            secondly = each.ceiling // 10
            headers |= {
                "Max": each.ceiling,
                "Remaining": left,
                "Interval-Milliseconds": _WINDOW_MS,
                # Deprecated, no longer enforced, and still sent.
                "Secondly": secondly,
                "Secondly-Remaining": min(secondly, left),
            }
    return {_HEADER + name: str(value) for name, value in headers.items()}
