"""Whatever both sides write, and however badly they hear of each other, they end up the same."""

from collections.abc import Callable
from contextlib import contextmanager, suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from crm.db import transaction
from crm.hubspot.errors import HubSpotError
from crm.mirror.rows import list_portals_with_unsent
from crm.pull import runner
from tests.domains.graphs import differences, end_pause, write_contact, write_graph
from tests.domains.push.test_job_property import FAULTS, wanted
from tests.domains.webhook_listener import let_pauses_pass
from tests.sandbox.client import OBJECTS

PEOPLE = st.sampled_from([f"person{number}@example.com" for number in range(4)])
VALUES = st.sampled_from(["1", "2", "3"])
NAMES = st.sampled_from(["phone", "lastname", "company"])
NUMBERS = st.integers(0, 5)
TYPES = ("contacts", "deals", "tickets")

STEPS = st.one_of(
    st.tuples(st.just("write_here"), PEOPLE, NAMES, VALUES),
    st.tuples(st.just("graph_here"), PEOPLE, VALUES),
    st.tuples(st.just("archive_here"), st.sampled_from(TYPES), NUMBERS),
    st.tuples(st.just("write_there"), NUMBERS, NAMES, VALUES),
    st.tuples(st.just("create_there"), PEOPLE),
    st.tuples(st.just("archive_there"), st.sampled_from(TYPES), NUMBERS),
    st.tuples(st.just("restore_there"), NUMBERS),
    st.tuples(st.just("merge_there"), NUMBERS, NUMBERS),
    st.tuples(st.just("purge_there"), NUMBERS),
    st.tuples(st.just("join_there"), NUMBERS, NUMBERS),
    st.tuples(st.just("part_there"), NUMBERS, NUMBERS),
    st.tuples(st.just("push")),
    st.tuples(st.just("push")),
    st.tuples(st.just("hear")),
    st.tuples(st.just("hear")),
    st.tuples(st.just("search")),
)

EMPTY = """
    DELETE FROM records;
    DELETE FROM record_aliases;
    DELETE FROM sync_runs;
    DELETE FROM deliveries;
    DELETE FROM inbox;
    DELETE FROM procrastinate_jobs;
    UPDATE portals SET push_failures = 0, push_retry_at = NULL, push_error = NULL, set_up_at = NULL;
"""
# The last value that nothing overruled is the one that stands.
LOST_FROM_HISTORY = """
    SELECT records.id, last.name, last.value, properties ->> last.name FROM records
    JOIN LATERAL (
        SELECT DISTINCT ON (name) name, value FROM record_changes
        WHERE record_id = records.id AND overruled_at IS NULL ORDER BY name, id DESC
    ) AS last ON true
    WHERE coalesce(properties ->> last.name, '') <> coalesce(last.value, '')
"""


class Both:
    """Both sides, and everything that may happen to them."""

    def __init__(self, portal_id, send, hubspot, sandbox, ear):
        self.portal_id, self.send, self.ear = portal_id, send, ear
        self.hubspot, self.sandbox = hubspot, sandbox
        self.faults = []

    def take(self, step):
        """Let something happen; where it makes no sense, nothing does."""
        name, *arguments = step
        getattr(self, name)(*arguments)

    def write_here(self, email, name, value):
        write_contact(self.portal_id, email, **{name: value})

    def graph_here(self, email, value):
        write_graph(self.portal_id, email, contact={"phone": value})

    def archive_here(self, object_type, number):
        with transaction() as session:
            session.execute(
                text(
                    "UPDATE records SET archived_at = now(), state = 'pending', unsent = '{}',"
                    " drafts = '{}', revision = revision + 1 WHERE id = ("
                    "SELECT id FROM records WHERE object_type = :type AND archived_at IS NULL"
                    " ORDER BY id OFFSET :number LIMIT 1)"
                ),
                {"type": object_type, "number": number},
            )

    def write_there(self, number, name, value):
        for contact_id in self._there("contacts", number):
            path = f"{OBJECTS}/contacts/{contact_id}"
            self.hubspot.patch(path, {"properties": {name: value}})

    def create_there(self, email):
        self.hubspot.post(f"{OBJECTS}/contacts", {"properties": {"email": email}})

    def archive_there(self, object_type, number):
        for record_id in self._there(object_type, number):
            self.hubspot.delete(f"{OBJECTS}/{object_type}/{record_id}")

    def restore_there(self, number):
        gone = self.hubspot.get(f"{OBJECTS}/contacts", archived="true").json()["results"]
        for contact in gone[number : number + 1]:
            path = f"/_sandbox/portals/{self._hub_id()}/objects/contacts/{contact['id']}/restore"
            self.hubspot.post(path, {})

    def merge_there(self, one, other):
        for primary in self._there("contacts", one):
            for merged in self._there("contacts", other):
                body = {"primaryObjectId": primary, "objectIdToMerge": merged}
                self.hubspot.post(f"{OBJECTS}/contacts/merge", body)

    def purge_there(self, number):
        for contact_id in self._there("contacts", number):
            self.hubspot.post(f"{OBJECTS}/contacts/gdpr-delete", {"objectId": contact_id})

    def join_there(self, one, other):
        self._associate(self.hubspot.put, one, other, "associations/default")

    def part_there(self, one, other):
        self._associate(self.hubspot.delete, one, other, "associations")

    def push(self):
        with self._trouble():
            self.send()
        end_pause()

    def hear(self):
        """HubSpot delivers what it has to tell: doubled, in disorder, and not all of it."""
        with self._trouble():
            self.ear.hear()
        let_pauses_pass()

    def search(self):
        with self._trouble(), suppress(HubSpotError):
            list(runner.follow("incremental"))

    def converge(self):
        """Quiet at last: both sides are compared and mended, and what is left is sent."""
        self.faults = []
        self.ear.listen_long()
        for _ in range(2):
            list(runner.follow("reconcile"))
            self.push()

    @contextmanager
    def _trouble(self):
        """Only we have it: what others do in HubSpot must not fail in this test."""
        self.sandbox.set_faults(self.faults)
        yield
        left = [each["count"] for each in self.sandbox.sandbox.faults.describe()]
        self.faults = [
            {**each, "count": count} for each, count in zip(self.faults, left, strict=True) if count
        ]
        self.sandbox.set_faults([])

    def _associate(self, call: Callable, one, other, kind):
        for contact_id in self._there("contacts", one):
            for deal_id in self._there("deals", other):
                call(f"{OBJECTS}/contacts/{contact_id}/{kind}/deals/{deal_id}")

    def _there(self, object_type, number):
        return self._all_there(object_type)[number : number + 1]

    def _all_there(self, object_type):
        answer = self.hubspot.get(f"{OBJECTS}/{object_type}", limit=100)
        return [each["id"] for each in answer.json()["results"]] if answer.ok else []

    def _hub_id(self):
        return self.hubspot.get("/account-info/2026-09/details").json().get("portalId", 0)


@pytest.fixture
def both(portal_id, send, hubspot, sandbox, ear):
    return Both(portal_id, send, hubspot, sandbox, ear)


@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=st.lists(STEPS, min_size=5, max_size=20), faults=FAULTS)
def test_both_sides_end_up_the_same_and_the_history_says_who_won(both, sandbox, steps, faults):
    sandbox.reset()
    sandbox.set_delivery(duplicates=0.3, loss=0.2, reordering=0.5, delay_ms=50, seed=1)
    with transaction() as session:
        session.execute(text(EMPTY))
    both.faults = [{key: each[key] for key in wanted(each)} for each in faults]

    for step in steps:
        both.take(step)
    both.converge()

    assert differences(both.hubspot) == []
    with transaction() as session:
        assert session.execute(text(LOST_FROM_HISTORY)).all() == []
    assert list_portals_with_unsent() == []
