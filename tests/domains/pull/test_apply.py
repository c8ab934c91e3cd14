"""Pull: what HubSpot has is taken into the mirror, and nothing that waits here is lost."""

from dataclasses import dataclass
from datetime import timedelta

import pytest
from sqlalchemy import text

from crm.db import transaction
from crm.hubspot import records as hubspot_records
from crm.mirror import rows
from crm.object_types import CONTACTS, DEALS
from crm.portals import portals
from crm.portals.property_schemas import list_mirrored
from crm.pull import apply
from tests.domains import graphs


@pytest.fixture
def refresh(portal_id):
    def refresh(*ids, object_type=CONTACTS):
        return apply.refresh(portals.connect(portal_id), portal_id, object_type, ids)

    return refresh


@pytest.fixture
def contact_id(portal_id, send, set_up):
    """A contact that both sides have."""
    row_id = graphs.write_contact(portal_id, "ada@example.com", phone="1")
    send()
    return row_id


def history(record_id):
    """``(name, was, value, side, whether it was overruled)``, oldest first."""
    statement = (
        "SELECT name, was, value, side, overruled_at IS NOT NULL"
        " FROM record_changes WHERE record_id = :id ORDER BY id"
    )
    with transaction() as session:
        return [tuple(row) for row in session.execute(text(statement), {"id": record_id})]


def count_rows():
    with transaction() as session:
        return session.scalar(text("SELECT count(*) FROM records"))


def find_row(hs_object_id):
    with transaction() as session:
        row_id = session.scalar(
            text("SELECT id FROM records WHERE hs_object_id = :id"), {"id": hs_object_id}
        )
    return row_id and graphs.row(row_id)


def write_here(row_id, **properties):
    """Change a contact here, without sending it."""
    email = graphs.row(row_id).properties["email"]
    with transaction():
        rows.write_contact(graphs.row(row_id).portal_id, {"email": email, **properties})


def test_a_record_of_hubspot_is_new_to_the_mirror(refresh, hubspot, set_up):
    created = hubspot.create("contacts", email="Grace@Example.com", firstname="Grace")

    refreshed = refresh(created["id"])

    row = find_row(created["id"])
    assert (refreshed.changed, refreshed.missing) == (1, set())
    assert (row.state, row.unsent, row.email) == ("synced", [], "grace@example.com")
    assert row.properties["firstname"] == "Grace"
    assert row.hs_modified_at == row.read_through


def test_the_same_record_again_changes_nothing(refresh, hubspot, set_up):
    created = hubspot.create("contacts", email="grace@example.com")
    refresh(created["id"])
    before = find_row(created["id"]).updated_at

    refreshed = refresh(created["id"], created["id"])

    assert refreshed.changed == 0
    assert find_row(created["id"]).updated_at == before


def test_a_value_that_was_changed_or_cleared_in_hubspot_is_so_here(refresh, hubspot, contact_id):
    hs_id = graphs.row(contact_id).hs_object_id
    hubspot.update("contacts", hs_id, firstname="Augusta", lastname="")

    refresh(hs_id)

    properties = graphs.row(contact_id).properties
    assert properties["firstname"] == "Augusta"
    assert "lastname" not in properties
    assert ("firstname", "Ada", "Augusta", "hubspot", False) in history(contact_id)


def test_an_older_state_of_a_record_does_not_overwrite_a_newer_one(
    portal_id, hubspot, contact_id, refresh
):
    hs_id = graphs.row(contact_id).hs_object_id
    client = portals.connect(portal_id)
    names = list_mirrored(portal_id, CONTACTS)
    older = hubspot_records.read_batch(client, CONTACTS, [hs_id], properties=names)
    hubspot.update("contacts", hs_id, firstname="Augusta")
    refresh(hs_id)

    apply.apply_records(client, portal_id, CONTACTS, list(older.found.values()))

    assert graphs.row(contact_id).properties["firstname"] == "Augusta"


def test_a_value_that_waits_here_stands_while_hubspot_has_the_old_one(
    refresh, hubspot, contact_id, send
):
    hs_id = graphs.row(contact_id).hs_object_id
    write_here(contact_id, phone="2")
    hubspot.update("contacts", hs_id, firstname="Augusta")

    refresh(hs_id)

    row = graphs.row(contact_id)
    assert (row.properties["phone"], row.properties["firstname"]) == ("2", "Augusta")
    assert "phone" in row.unsent
    send()
    assert hubspot.read("contacts", hs_id, "phone")["properties"]["phone"] == "2"


@dataclass
class Contest:
    policy: str
    here_is_newer: bool
    winner: str


@pytest.mark.parametrize(
    "contest",
    [
        Contest("newest", here_is_newer=True, winner="here"),
        Contest("newest", here_is_newer=False, winner="there"),
        Contest("hubspot", here_is_newer=True, winner="there"),
        Contest("local", here_is_newer=False, winner="here"),
        Contest("hubspot,contacts.phone=local", here_is_newer=False, winner="here"),
    ],
    ids=str,
)
def test_a_property_that_both_sides_changed_follows_the_policy_and_the_history_says_so(
    refresh, hubspot, contact_id, send, change_settings, contest
):
    change_settings(conflicts=contest.policy)
    hs_id = graphs.row(contact_id).hs_object_id
    if contest.here_is_newer:
        hubspot.update("contacts", hs_id, phone="there")
        write_here(contact_id, phone="here")
    else:
        write_here(contact_id, phone="here")
        hubspot.update("contacts", hs_id, phone="there")
    # Another property that changes later says nothing of when this one did.
    hubspot.update("contacts", hs_id, firstname="Augusta")

    refresh(hs_id)
    send()
    refresh(hs_id)

    assert graphs.row(contact_id).properties["phone"] == contest.winner
    assert hubspot.read("contacts", hs_id, "phone")["properties"]["phone"] == contest.winner
    loser = {"here": ("hubspot", "there"), "there": ("here", "here")}[contest.winner]
    overruled = [row for row in history(contact_id) if row[4]]
    assert [(row[0], row[3], row[2]) for row in overruled] == [("phone", *loser)]
    assert graphs.row(contact_id).state == "synced"


def test_a_record_archived_there_is_archived_here_and_comes_back_when_restored(
    refresh, hubspot, contact_id, sandbox
):
    hs_id = graphs.row(contact_id).hs_object_id
    hubspot.archive("contacts", hs_id)
    refresh(hs_id)
    assert graphs.row(contact_id).archived_at

    hubspot.restore("contacts", hs_id)
    refresh(hs_id)

    assert graphs.row(contact_id).archived_at is None


def test_a_change_that_waited_for_a_record_archived_in_hubspot_is_overruled(
    refresh, hubspot, contact_id
):
    hs_id = graphs.row(contact_id).hs_object_id
    write_here(contact_id, phone="2")
    hubspot.archive("contacts", hs_id)

    refresh(hs_id)

    row = graphs.row(contact_id)
    assert (row.state, row.unsent, row.properties["phone"]) == ("synced", [], "1")
    assert ("phone", "1", "2", "here", True) in history(contact_id)


def test_a_refresh_returns_the_ids_that_hubspot_does_not_know(refresh, set_up):
    assert refresh("404404").missing == {"404404"}


def test_after_a_merge_one_row_is_left_and_old_ids_lead_to_it(
    refresh, portal_id, hubspot, contact_id, send
):
    other_id = graphs.write_contact(portal_id, "grace@example.com", jobtitle="Admiral")
    send()
    one, other = graphs.row(contact_id).hs_object_id, graphs.row(other_id).hs_object_id
    merged = hubspot.merge("contacts", one, other)

    refresh(other)

    assert count_rows() == 1
    row = graphs.row(contact_id)
    assert row.hs_object_id == merged["id"]
    with transaction() as session:
        aliases = session.execute(text("SELECT hs_object_id, record_id FROM record_aliases")).all()
    assert {tuple(each) for each in aliases} == {
        (each, contact_id) for each in {one, other} - {merged["id"]}
    }


def test_a_change_that_waited_in_a_row_merged_away_is_sent_for_the_one_that_is_left(
    refresh, portal_id, hubspot, contact_id, send
):
    other_id = graphs.write_contact(portal_id, "grace@example.com")
    send()
    one, other = graphs.row(contact_id).hs_object_id, graphs.row(other_id).hs_object_id
    write_here(other_id, jobtitle="Admiral")
    merged = hubspot.merge("contacts", one, other)

    refresh(one)
    send()

    found = hubspot.read("contacts", merged["id"], "jobtitle")
    assert found["properties"]["jobtitle"] == "Admiral"


def test_a_record_that_was_sent_while_the_answer_was_lost_is_known_again(
    portal_id, hubspot, set_up, send, sandbox, refresh
):
    graphs.write_graph(portal_id, "ada@example.com")
    sandbox.set_faults([{"kind": "reset_after", "match": "deals/batch/upsert", "count": 3}])
    send()
    sandbox.set_faults([])
    (deal,) = hubspot.first_page("deals")

    refresh(deal["id"], object_type=DEALS)

    assert find_row(deal["id"]).properties["dealname"] == "A new engine"
    assert count_rows() == 3


def test_an_email_that_went_from_one_contact_to_another_goes_here_too(
    refresh, portal_id, hubspot, contact_id
):
    one = graphs.row(contact_id).hs_object_id
    hubspot.update("contacts", one, email="ada@lovelace.example")
    two = hubspot.create("contacts", email="ada@example.com", firstname="Another")

    refresh(two["id"])

    assert find_row(two["id"]).email == "ada@example.com"
    assert graphs.row(contact_id).email == "ada@lovelace.example"


def test_two_contacts_that_swap_their_emails_swap_them_here(
    refresh, portal_id, hubspot, contact_id, send
):
    other_id = graphs.write_contact(portal_id, "grace@example.com")
    send()
    one, two = graphs.row(contact_id).hs_object_id, graphs.row(other_id).hs_object_id
    hubspot.update("contacts", one, email="x@example.com")
    hubspot.update("contacts", two, email="ada@example.com")
    hubspot.update("contacts", one, email="grace@example.com")

    refresh(one, two)

    assert graphs.row(contact_id).email == "grace@example.com"
    assert graphs.row(other_id).email == "ada@example.com"


def test_changes_in_hubspot_are_seen_after_a_day(refresh, hubspot, contact_id, sandbox):
    sandbox.advance(timedelta(days=1).total_seconds())
    hs_id = graphs.row(contact_id).hs_object_id
    hubspot.update("contacts", hs_id, firstname="Augusta")

    assert refresh(hs_id).changed == 1
