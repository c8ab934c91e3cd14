"""Search: every record once, past 10,000, through ties, lag and whatever is written meanwhile."""

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crm.hubspot import records
from crm.hubspot.errors import HubSpotError, HubSpotRefusedError
from crm.hubspot.search import Count, Filter, count, search, search_modified
from crm.object_types import COMPANIES, CONTACTS, DEALS
from tests.hubspot.relay import Answer

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
NOON = 1_790_000_000_000


@pytest.fixture
def clock(sandbox):
    """The sandbox's time, which stands still unless it is moved: milliseconds."""
    with still(sandbox) as clock:
        yield clock


@contextmanager
def still(sandbox):
    class Clock:
        now = NOON

    # Only a clock that stands still gives many records the same millisecond.
    sandbox.sandbox.clock.now_ms = lambda: Clock.now
    yield Clock
    del sandbox.sandbox.clock.now_ms


def create(client, count, name="one"):
    made = []
    for start in range(0, count, 100):
        inputs = [{"properties": {"name": name}}] * min(100, count - start)
        path = client.path("objects", "companies", "batch", "create")
        made += client.call("POST", path, body={"inputs": inputs}, repeatable=False)["results"]
    return [each["id"] for each in made]


def change(client, record_id, name):
    path = client.path("objects", "companies", record_id)
    client.call("PATCH", path, body={"properties": {"name": name}}, repeatable=True)


def ids_of(found):
    return [each.id for each in found]


def limit_pages(relay, size):
    """Have HubSpot give fewer results a page than it is asked for."""

    def handler(call):
        if call.is_for("/search"):
            call.body["limit"] = size
        return call.pass_on()

    relay.handler = handler


def test_a_search_finds_what_matches_all_filters_by_id(client):
    first = create(client, 3, "first")
    create(client, 2, "second")

    found = search(
        client,
        COMPANIES,
        [Filter("name", "EQ", "first"), Filter("createdate", "GT", "0")],
        properties=["name"],
    )

    assert [(each.id, each.properties["name"]) for each in found] == [
        (each, "first") for each in sorted(first, key=int)
    ]


@pytest.mark.parametrize(
    ("condition", "names"),
    [
        (Filter("name", "IN", values=["a", "c"]), ["a", "c"]),
        (Filter("name", "BETWEEN", "a", high_value="b"), ["a", "b"]),
        (Filter("domain", "NOT_HAS_PROPERTY"), ["a", "b", "c"]),
        (Filter("domain", "HAS_PROPERTY"), []),
    ],
    ids=lambda value: getattr(value, "operator", ""),
)
def test_every_kind_of_filter_reaches_hubspot(client, condition, names):
    for name in "abc":
        create(client, 1, name)

    found = search(client, COMPANIES, [condition], properties=["name"])

    assert [each.properties["name"] for each in found] == names


def test_a_filter_that_hubspot_refuses_is_refused(client):
    with pytest.raises(HubSpotRefusedError, match="no_such"):
        list(search(client, COMPANIES, [Filter("no_such", "EQ", "1")]))


def test_more_than_ten_thousand_records_of_one_moment_are_found(client, clock, sandbox):
    made = create(client, 10_050)
    sandbox.clear_requests()

    found = ids_of(search_modified(client, COMPANIES, LONG_AGO))

    assert Counter(found) == Counter(made)
    assert sandbox.requests()["total"] < 60


def test_search_by_modification_begins_at_the_moment(client, clock):
    create(client, 2)
    clock.now += 1000
    later = create(client, 2)
    since = datetime.fromtimestamp(clock.now / 1000, UTC)

    assert sorted(ids_of(search_modified(client, COMPANIES, since))) == sorted(later)
    assert not ids_of(search_modified(client, COMPANIES, since + timedelta(milliseconds=1)))


def test_search_by_modification_is_in_its_order(relay, relayed, client, clock):
    made = create(client, 6)
    for record_id in reversed(made):
        clock.now += 1
        change(client, record_id, "changed")
    limit_pages(relay, 2)

    assert ids_of(search_modified(relayed, COMPANIES, LONG_AGO)) == made[::-1]


@pytest.mark.parametrize("object_type", [CONTACTS, COMPANIES, DEALS], ids=lambda each: each.name)
def test_each_type_is_searched_by_its_own_property(client, object_type):
    properties = {
        "contacts": {"email": "ada@example.com"},
        "companies": {"name": "one"},
        "deals": {"dealname": "one", "dealstage": "qualifiedtobuy"},
    }
    path = client.path("objects", object_type.name)
    body = {"properties": properties[object_type.name]}
    made = client.call("POST", path, body=body, repeatable=False)["id"]

    assert ids_of(search_modified(client, object_type, LONG_AGO)) == [made]


@pytest.mark.parametrize("find", [search, search_modified])
def test_properties_too_many_for_a_search_are_read_too(relay, relayed, client, find):
    made = create(client, 5)
    limit_pages(relay, 2)
    names = ["name", *(f"property_number_{number}" for number in range(200))]
    arguments = [LONG_AGO] if find is search_modified else []

    found = {
        each.id: each.properties["name"]
        for each in find(relayed, COMPANIES, *arguments, properties=names)
    }

    assert found == dict.fromkeys(made, "one")


@pytest.mark.parametrize("find", [search, search_modified])
@pytest.mark.parametrize(
    "results",
    [
        [],
        [{"id": "5", "properties": {"hs_lastmodifieddate": "2026-01-01T00:00:00Z"}}],
    ],
    ids=["empty", "same"],
)
def test_a_search_that_does_not_go_on_is_an_error(relay, relayed, find, results):
    relay.answer(200, {"results": results, "paging": {"next": {"after": "200"}}})
    arguments = [LONG_AGO] if find is search_modified else []

    with pytest.raises(HubSpotError, match="does not go on"):
        list(find(relayed, COMPANIES, *arguments))


@pytest.mark.parametrize("value", [None, "", "yesterday"])
def test_a_record_without_its_modification_is_an_error(relay, relayed, value):
    result = {"id": "5", "properties": {"hs_lastmodifieddate": value}}
    relay.handler = lambda _: Answer(200, {"results": [result]})

    with pytest.raises(HubSpotError):
        list(search_modified(relayed, COMPANIES, LONG_AGO))


@dataclass
class Scene:
    """Records of few moments, pages of few records, and before each page somebody writes."""

    ages: list[int]
    page: int
    lag: int
    meanwhile: list[list[tuple[str, int]]]


WRITES = st.lists(
    st.tuples(st.sampled_from(["create", "change", "archive"]), st.integers(0, 99)), max_size=2
)
SCENES = st.builds(
    Scene,
    ages=st.lists(st.integers(0, 3), max_size=12),
    page=st.integers(1, 4),
    lag=st.sampled_from([0, 1, 20]),
    meanwhile=st.lists(WRITES, max_size=8),
)


class Stage:
    """Plays a scene: as the relay's handler, it writes before each page."""

    def __init__(self, client, clock, scene):
        self.client, self.clock, self.scene = client, clock, scene
        self.there, self.archived = [], set()
        for age in sorted(scene.ages, reverse=True):
            clock.now = NOON - age
            self.there += create(client, 1)
        clock.now = NOON + scene.lag
        self.at_first = set(self.there)

    def __call__(self, call):
        for action, number in self.scene.meanwhile.pop(0) if self.scene.meanwhile else ():
            self.clock.now += 1
            self.write(action, number)
        self.clock.now += 1
        call.body["limit"] = self.scene.page
        return call.pass_on()

    def write(self, action, number):
        live = [each for each in self.there if each not in self.archived]
        if action == "create":
            self.there += create(self.client, 1)
        elif live and action == "change":
            change(self.client, live[number % len(live)], "changed")
        elif live:
            self.archived.add(live[number % len(live)])
            records.archive(self.client, COMPANIES, [live[number % len(live)]])


@settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(scene=SCENES)
@pytest.mark.parametrize(
    "find",
    [
        lambda client: search(client, COMPANIES),
        lambda client: search_modified(client, COMPANIES, LONG_AGO),
    ],
    ids=["by id", "by modification"],
)
def test_paging_finds_each_record_once_under_ties_lag_and_writes(
    relay, relayed, client, sandbox, find, scene
):
    sandbox.reset()
    with still(sandbox) as clock:
        relay.handler = stage = Stage(client, clock, scene)
        sandbox.sandbox.settings.index_lag_ms = scene.lag
        found = ids_of(find(relayed))

    assert max(Counter(found).values(), default=1) == 1
    assert stage.at_first - stage.archived <= set(found) <= set(stage.there)


def test_records_are_counted_with_the_highest_id(client):
    create(client, 3, name="one")
    ids = create(client, 2, name="other")

    found = count(client, COMPANIES)

    assert found.total == 5
    assert str(found.last_id) == max(ids, key=int)
    assert count(client, COMPANIES, [Filter("name", "EQ", "other")]).total == 2
    assert count(client, DEALS) == Count(0, None)


def test_a_search_begins_after_an_id(client):
    ids = sorted(create(client, 5), key=int)

    found = search(client, COMPANIES, after=int(ids[2]))

    assert [each.id for each in found] == ids[3:]
