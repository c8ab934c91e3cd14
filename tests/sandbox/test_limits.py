"""How often one may call: the rolling windows, the day, the searches, and what a 429 says."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from hubspot_sandbox import DEFAULT_PORTAL_ID, DEFAULT_TOKEN, SandboxServer
from hubspot_sandbox.access import DEFAULT_APP, Access
from hubspot_sandbox.clock import Clock
from hubspot_sandbox.errors import HubSpotError
from hubspot_sandbox.limits import ASSOCIATIONS, PLAIN, SEARCH, TIERS, Limits, LimitSettings

CONTACTS = "/crm/objects/2026-09/contacts"
SEARCHES = f"{CONTACTS}/search"
PAIRS = "/crm/associations/2026-09/contacts/deals/labels"
USAGE = "/account-info/2026-09/api-usage/daily/private-apps"
PREFIX = "X-HubSpot-RateLimit-"
HOUR_MS = 3_600_000
EASTERN_MS = -5 * HOUR_MS

Ask = Callable[..., requests.Response]


@pytest.fixture
def ask(sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Calls a path while the sandbox's clock stands still: it moves when a test moves it."""
    clock = sandbox.sandbox.clock
    began = clock.now_ms()
    monkeypatch.setattr(clock, "now_ms", lambda: began + clock.offset_ms)

    def call(path: str = CONTACTS, token: str = DEFAULT_TOKEN) -> requests.Response:
        headers = {"Authorization": f"Bearer {token}"}
        if path.endswith("/search"):
            return requests.post(sandbox.url + path, json={}, headers=headers, timeout=5)
        return requests.get(sandbox.url + path, headers=headers, timeout=5)

    return call


@pytest.fixture
def limit(sandbox: SandboxServer) -> Callable[..., None]:
    def change(**settings: int) -> None:
        answer = requests.put(f"{sandbox.url}/_sandbox/settings", json=settings, timeout=5)
        assert answer.status_code == 200, answer.text

    return change


def limits_of(answer: requests.Response) -> dict[str, str]:
    return {
        name.removeprefix(PREFIX): value
        for name, value in answer.headers.items()
        if name.startswith(PREFIX)
    }


def move_clock(sandbox: SandboxServer, milliseconds: int) -> None:
    sandbox.sandbox.clock.offset_ms += milliseconds


def body_of(answer: requests.Response) -> dict[str, Any]:
    """The body of a 429, without the ids that are new each time."""
    assert answer.status_code == 429
    body = dict(answer.json())
    assert body.pop("correlationId")
    return body


def test_the_limits_are_those_of_a_professional_account_by_default() -> None:
    settings = SandboxServer(port=0).sandbox.settings

    assert settings.limit_ten_secondly == 190
    assert settings.limit_oauth_ten_secondly == 110
    assert settings.limit_associations == 150
    assert settings.limit_search == 5
    assert settings.limit_daily == 625_000


def test_too_many_calls_in_ten_seconds_are_refused_in_hubspots_words(
    ask: Ask, limit: Callable[..., None]
) -> None:
    limit(limit_ten_secondly=2)
    assert [ask().status_code for _ in range(2)] == [200, 200]
    refused = ask()

    assert body_of(refused) == {
        "status": "error",
        "message": "You have reached your ten_secondly_rolling limit.",
        "errorType": "RATE_LIMIT",
        "policyName": "TEN_SECONDLY_ROLLING",
        "groupName": "publicapi:private_app-api-calls-ten-secondly:"
        f"{DEFAULT_APP.id}:{DEFAULT_PORTAL_ID}",
    }
    assert refused.headers[f"{PREFIX}Remaining"] == "0"
    assert "Retry-After" not in refused.headers


def test_the_window_rolls(sandbox: SandboxServer, ask: Ask, limit: Callable[..., None]) -> None:
    limit(limit_ten_secondly=2)
    ask()
    move_clock(sandbox, 6_000)
    ask()
    assert ask().status_code == 429
    move_clock(sandbox, 4_000)

    assert [ask().status_code, ask().status_code] == [200, 429]


def test_refused_calls_fill_no_window(
    sandbox: SandboxServer, ask: Ask, limit: Callable[..., None]
) -> None:
    limit(limit_ten_secondly=1)
    for _ in range(4):
        ask()
        move_clock(sandbox, 3_000)

    assert ask().status_code == 200


def test_retry_after_is_sent_only_when_told_to(
    sandbox: SandboxServer, ask: Ask, limit: Callable[..., None]
) -> None:
    requests.put(
        f"{sandbox.url}/_sandbox/settings",
        json={"limit_retry_after": True, "limit_ten_secondly": 1},
        timeout=5,
    )
    ask()
    move_clock(sandbox, 2_500)

    assert ask().headers["Retry-After"] == "8"


def test_each_app_and_each_portal_has_a_window_of_its_own(
    sandbox: SandboxServer, ask: Ask, limit: Callable[..., None]
) -> None:
    limit(limit_ten_secondly=1)
    requests.post(f"{sandbox.url}/_sandbox/portals", json={"id": 77}, timeout=5)
    sandbox.sandbox.tokens["other-app"] = Access(DEFAULT_PORTAL_ID, 5)
    sandbox.sandbox.tokens["other-portal"] = Access(77, DEFAULT_APP.id)

    for token in (DEFAULT_TOKEN, "other-app", "other-portal"):
        assert [ask(token=token).status_code for _ in range(2)] == [200, 429]


def test_an_oauth_app_has_a_limit_of_its_own_and_no_daily_one(
    sandbox: SandboxServer, ask: Ask, limit: Callable[..., None]
) -> None:
    limit(limit_ten_secondly=5, limit_oauth_ten_secondly=2, limit_daily=1)
    sandbox.sandbox.tokens["oauth"] = Access(
        DEFAULT_PORTAL_ID, DEFAULT_APP.id, expires_at=9_999_999_999_999
    )
    first = ask(token="oauth")
    ask(token="oauth")
    refused = ask(token="oauth")

    assert limits_of(first)["Max"] == "2"
    assert not {"Daily", "Daily-Remaining"} & limits_of(first).keys()
    assert body_of(refused)["groupName"].startswith("publicapi:oauth-")
    assert ask().status_code == 200


def test_an_answer_tells_what_is_left(ask: Ask, limit: Callable[..., None]) -> None:
    limit(limit_ten_secondly=100, limit_daily=1_000)
    ask()

    assert limits_of(ask()) == {
        "Max": "100",
        "Remaining": "98",
        "Interval-Milliseconds": "10000",
        "Secondly": "10",
        "Secondly-Remaining": "10",
        "Daily": "1000",
        "Daily-Remaining": "998",
    }


def test_a_refusal_of_another_kind_counts_and_tells_what_is_left(
    ask: Ask, limit: Callable[..., None]
) -> None:
    limit(limit_ten_secondly=2)
    answer = ask(f"{CONTACTS}/1")

    assert answer.status_code == 404
    assert limits_of(answer)["Remaining"] == "1"


def test_a_call_with_an_unknown_token_counts_for_nobody(
    ask: Ask, limit: Callable[..., None]
) -> None:
    limit(limit_ten_secondly=1)

    assert limits_of(ask(token="unknown")) == {}
    assert ask().status_code == 200


def test_searches_have_a_second_of_their_own_in_the_whole_portal(
    sandbox: SandboxServer, ask: Ask, limit: Callable[..., None]
) -> None:
    limit(limit_search=2, limit_ten_secondly=1, limit_daily=100)
    sandbox.sandbox.tokens["other-app"] = Access(DEFAULT_PORTAL_ID, 5)
    assert ask(SEARCHES).status_code == ask(SEARCHES, token="other-app").status_code == 200
    refused = ask("/crm/v3/objects/deals/search")

    assert body_of(refused) == {
        "status": "error",
        "message": "You have reached your secondly limit.",
        "errorType": "RATE_LIMIT",
        "policyName": "SECONDLY",
        "groupName": f"publicapi:crm:search:private_app:{DEFAULT_APP.id}:{DEFAULT_PORTAL_ID}",
    }
    assert limits_of(refused) == {"Daily": "100", "Daily-Remaining": "98"}
    assert ask().status_code == 200
    move_clock(sandbox, 1_000)
    assert ask(SEARCHES).status_code == 200


def test_a_search_may_be_refused_in_the_other_words_seen(
    sandbox: SandboxServer, ask: Ask, limit: Callable[..., None]
) -> None:
    limit(limit_search=1, search_429_names_policy=False)
    ask(SEARCHES)

    assert body_of(ask(SEARCHES)) == {
        "status": "error",
        "message": "You have reached your secondly limit.",
        "category": "RATE_LIMITS",
    }


def test_a_searchs_answer_is_silent_on_the_ten_seconds(
    ask: Ask, limit: Callable[..., None]
) -> None:
    limit(limit_search=5, limit_ten_secondly=5, limit_daily=9)

    assert limits_of(ask(SEARCHES)) == {"Daily": "9", "Daily-Remaining": "8"}


def test_associations_have_a_ceiling_within_the_others(
    ask: Ask, limit: Callable[..., None]
) -> None:
    limit(limit_associations=2, limit_ten_secondly=4)
    assert [ask(PAIRS).status_code for _ in range(3)] == [200, 200, 429]

    assert [ask().status_code for _ in range(3)] == [200, 200, 429]


def test_the_day_is_the_whole_portals_and_ends_at_its_midnight(
    sandbox: SandboxServer, ask: Ask, limit: Callable[..., None]
) -> None:
    limit(limit_daily=2)
    now = sandbox.sandbox.clock.now_ms()
    to_midnight = 24 * HOUR_MS - (now + EASTERN_MS) % (24 * HOUR_MS)
    move_clock(sandbox, to_midnight - 60_000)
    sandbox.sandbox.tokens["other-app"] = Access(DEFAULT_PORTAL_ID, 5)
    assert ask(SEARCHES).status_code == ask(token="other-app").status_code == 200
    body = body_of(ask())

    assert body.pop("requestId")
    assert body == {
        "status": "error",
        "message": "You have reached your daily limit.",
        "errorType": "RATE_LIMIT",
        "policyName": "DAILY",
        "groupName": f"publicapi:private_app-api-calls-daily:{DEFAULT_PORTAL_ID}",
    }
    move_clock(sandbox, 60_000)
    assert ask().status_code == 200


@pytest.mark.parametrize("path", [USAGE, USAGE.replace("2026-09", "v3")])
def test_the_use_of_the_day_can_be_read(ask: Ask, limit: Callable[..., None], path: str) -> None:
    limit(limit_daily=50)
    ask()
    (told,) = ask(path).json()["results"]

    assert told.pop("collectedAt") < told["resetsAt"]
    assert told.pop("resetsAt").endswith("T05:00:00Z")
    assert told == {
        "name": "private-apps-api-calls-daily",
        "usageLimit": 50,
        "currentUsage": 2,
        "fetchStatus": "SUCCESS",
    }


def test_a_portals_tier_takes_the_place_of_the_settings(
    sandbox: SandboxServer, ask: Ask, limit: Callable[..., None]
) -> None:
    limit(limit_ten_secondly=190, limit_daily=625_000)
    tiers = {}
    for portal_id, tier in enumerate(TIERS, 100):
        requests.post(
            f"{sandbox.url}/_sandbox/portals", json={"id": portal_id, "tier": tier}, timeout=5
        )
        sandbox.sandbox.tokens[tier] = Access(portal_id, 1)
        told = limits_of(ask(token=tier))
        tiers[tier] = int(told["Max"]), int(told["Daily"])

    assert tiers == {
        "FREE": (100, 250_000),
        "STARTER": (100, 250_000),
        "PROFESSIONAL": (190, 625_000),
        "ENTERPRISE": (190, 1_000_000),
    }


def test_zero_lifts_the_limits_of_a_tier_too(sandbox: SandboxServer, ask: Ask) -> None:
    requests.post(f"{sandbox.url}/_sandbox/portals", json={"id": 77, "tier": "FREE"}, timeout=5)
    sandbox.sandbox.tokens["free"] = Access(77, 1)

    assert limits_of(ask(token="free")) == {}


def test_an_answer_tells_of_the_ceiling_that_is_nearer(
    ask: Ask, limit: Callable[..., None]
) -> None:
    limit(limit_ten_secondly=20, limit_associations=50)
    assert limits_of(ask(PAIRS))["Max"] == "20"
    limit(limit_associations=10)

    assert limits_of(ask(PAIRS))["Max"] == "10"


def test_zero_lifts_a_limit(sandbox: SandboxServer, ask: Ask) -> None:
    assert not any(
        value for name, value in vars(sandbox.sandbox.settings).items() if name.startswith("limit_")
    )
    assert {ask(path).status_code for path in (SEARCHES, PAIRS) for _ in range(9)} == {200}
    assert limits_of(ask()) == {}


def test_a_reset_forgets_what_was_used(
    sandbox: SandboxServer, ask: Ask, limit: Callable[..., None]
) -> None:
    limit(limit_ten_secondly=1)
    ask()
    sandbox.reset()

    assert ask().status_code == 200


def test_not_one_call_too_many_slips_through_at_once(ask: Ask, limit: Callable[..., None]) -> None:
    limit(limit_ten_secondly=20)
    with ThreadPoolExecutor(16) as pool:
        statuses = [answer.status_code for answer in pool.map(lambda _: ask(), range(60))]

    assert statuses.count(200) == 20


class StillClock(Clock):
    """A clock that stands at ``offset_ms``."""

    def now_ms(self) -> int:
        return self.offset_ms


PRIVATE = Access(1, 1)


def make_limits(clock: Clock, **settings: int) -> Limits:
    lifted = {name: 0 for name, value in vars(LimitSettings()).items() if type(value) is int}
    return Limits(clock, LimitSettings(**{**lifted, **settings}), 1, EASTERN_MS)


def is_let_in(limits: Limits, kind: str = PLAIN) -> bool:
    try:
        limits.spend(PRIVATE, kind)
    except HubSpotError:
        return False
    return True


@given(
    ceiling=st.integers(1, 6),
    gaps=st.lists(st.integers(0, 4_000) | st.sampled_from([0, 9_999, 10_000, 10_001]), max_size=60),
)
def test_a_window_never_lets_in_more_and_never_refuses_fewer(ceiling: int, gaps: list[int]) -> None:
    clock = StillClock()
    limits = make_limits(clock, limit_ten_secondly=ceiling)
    let_in: list[int] = []
    for gap in gaps:
        clock.offset_ms += gap
        recent = [each for each in let_in if clock.offset_ms - each < 10_000]
        assert is_let_in(limits) == (len(recent) < ceiling)
        if len(recent) < ceiling:
            let_in.append(clock.offset_ms)

    for first in let_in:
        assert sum(first <= each < first + 10_000 for each in let_in) <= ceiling


@given(
    st.lists(
        st.tuples(st.integers(0, 3_000), st.sampled_from([PLAIN, ASSOCIATIONS, SEARCH])),
        max_size=60,
    )
)
def test_all_limits_hold_whatever_is_called(calls: list[tuple[int, str]]) -> None:
    clock = StillClock()
    ceilings = {"limit_ten_secondly": 4, "limit_associations": 2, "limit_search": 1}
    limits = make_limits(clock, limit_daily=12, **ceilings)
    let_in: list[tuple[int, str]] = []

    def recent(span: int, *kinds: str) -> int:
        return sum(clock.offset_ms - moment < span and kind in kinds for moment, kind in let_in)

    for gap, kind in calls:
        clock.offset_ms += gap
        room = {
            PLAIN: recent(10_000, PLAIN, ASSOCIATIONS) < 4,
            ASSOCIATIONS: recent(10_000, PLAIN, ASSOCIATIONS) < 4
            and recent(10_000, ASSOCIATIONS) < 2,
            SEARCH: recent(1_000, SEARCH) < 1,
        }[kind] and len(let_in) < 12
        assert is_let_in(limits, kind) == room
        if room:
            let_in.append((clock.offset_ms, kind))


def test_a_clock_that_is_put_back_locks_nobody_out() -> None:
    clock = StillClock()
    clock.offset_ms = HOUR_MS
    limits = make_limits(clock, limit_ten_secondly=1)
    assert is_let_in(limits)
    clock.offset_ms -= 50
    assert not is_let_in(limits)
    clock.offset_ms = 0

    assert is_let_in(limits)
