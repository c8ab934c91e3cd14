"""Records that HubSpot associates are associated in the mirror."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from crm.db import transaction
from crm.object_types import CONTACTS, DEALS, TICKETS
from crm.portals import portals
from crm.pull.associations import apply_associations, refresh_associations
from tests.domains import graphs
from tests.sandbox.client import OBJECTS

ANCIENT = datetime(2000, 1, 1, tzinfo=UTC)


@pytest.fixture
def graph(portal_id, send, set_up):
    """HubSpot's ids of a contact, its deal and the deal's ticket."""
    graphs.write_graph(portal_id, "ada@example.com")
    send()
    with transaction() as session:
        rows = session.execute(text("SELECT object_type, hs_object_id FROM records"))
        return dict(tuple(row) for row in rows)


@pytest.fixture
def refresh(portal_id):
    def refresh(object_type, other_type, *ids):
        client = portals.connect(portal_id)
        return refresh_associations(client, portal_id, object_type, other_type, ids)

    return refresh


def pairs():
    statement = """
        SELECT a.hs_object_id, b.hs_object_id FROM associations
        JOIN records a ON a.id = from_id JOIN records b ON b.id = to_id ORDER BY 1, 2
    """
    with transaction() as session:
        return [tuple(row) for row in session.execute(text(statement))]


def part(hubspot, *path):
    assert hubspot.delete(f"{OBJECTS}/{'/'.join(path)}").status_code == 204


def join(hubspot, from_type, from_id, to_type, to_id):
    path = f"{OBJECTS}/{from_type}/{from_id}/associations/default/{to_type}/{to_id}"
    assert hubspot.put(path).status_code == 200


def test_a_pair_that_is_already_known_is_no_news(refresh, graph):
    assert refresh(CONTACTS, DEALS, graph["contacts"]) == 0
    assert refresh(DEALS, CONTACTS, graph["deals"]) == 0


@pytest.mark.parametrize("is_asked_from_the_other_end", [False, True])
def test_a_pair_that_was_parted_there_is_parted_here(
    refresh, graph, hubspot, is_asked_from_the_other_end
):
    part(hubspot, "contacts", graph["contacts"], "associations", "deals", graph["deals"])

    if is_asked_from_the_other_end:
        changed = refresh(DEALS, CONTACTS, graph["deals"])
    else:
        changed = refresh(CONTACTS, DEALS, graph["contacts"])

    assert changed == 1
    assert pairs() == [(graph["deals"], graph["tickets"])]


def test_a_pair_that_was_joined_there_is_joined_here_with_records_not_yet_known(
    refresh, graph, hubspot
):
    ticket = hubspot.create("tickets", subject="Smoke", hs_pipeline_stage="1")
    join(hubspot, "tickets", ticket["id"], "deals", graph["deals"])

    assert refresh(DEALS, TICKETS, graph["deals"]) == 1

    assert (graph["deals"], ticket["id"]) in pairs()


def test_a_pair_that_waits_here_stays(refresh, graph, portal_id, hubspot):
    with transaction() as session:
        session.execute(text("UPDATE associations SET state = 'pending' WHERE type_id = 4"))
    part(hubspot, "contacts", graph["contacts"], "associations", "deals", graph["deals"])

    assert refresh(CONTACTS, DEALS, graph["contacts"]) == 0
    assert len(pairs()) == 2


def test_a_reading_from_before_a_pair_was_sent_does_not_part_it(graph, portal_id):
    nothing = {graph["contacts"]: []}

    assert apply_associations(portal_id, CONTACTS, DEALS, nothing, ANCIENT) == 0
    assert len(pairs()) == 2

    now = datetime.now(UTC) + timedelta(seconds=5)
    assert apply_associations(portal_id, CONTACTS, DEALS, nothing, now) == 1
