"""What other tests and the chaos run rely on: that the comparison of both sides sees everything."""

import pytest
from sqlalchemy import text

from crm.db import transaction
from tests.domains.graphs import differences, records_in, write_graph
from tests.sandbox.client import OBJECTS


@pytest.fixture
def ids(portal_id, send, hubspot):
    """HubSpot's id of a contact, a deal and a ticket that both sides have."""
    write_graph(portal_id, "ada@example.com", contact={"city": "London"})
    send()
    assert differences(hubspot) == []
    return {name: records_in(hubspot, name)[0]["id"] for name in ("contacts", "deals", "tickets")}


@pytest.mark.parametrize(
    ("name", "properties"),
    [
        ("contacts", {"city": "Paris"}),
        ("contacts", {"city": ""}),
        ("contacts", {"email": "somebody.else@example.com"}),
        ("deals", {"crm_uid": "somebody-elses"}),
        ("tickets", {"crm_uid": ""}),
    ],
)
def test_a_property_that_differs_is_seen(ids, hubspot, name, properties):
    hubspot.patch(f"{OBJECTS}/{name}/{ids[name]}", {"properties": properties})

    (found,) = differences(hubspot)
    assert f"{name} {ids[name]}: {next(iter(properties))} " in found


@pytest.mark.parametrize("name", ["contacts", "deals", "tickets"])
def test_a_record_on_one_side_is_seen(ids, hubspot, name):
    properties = {
        "contacts": {"email": "double@example.com"},
        "deals": {"dealname": "A new engine", "dealstage": "qualifiedtobuy"},
        "tickets": {"subject": "It stutters", "hs_pipeline_stage": "1"},
    }
    more = hubspot.create(name, **properties[name])["id"]
    hubspot.delete(f"{OBJECTS}/{name}/{ids[name]}")

    found = differences(hubspot)
    assert {f"{name} {more}: only there", f"{name} {ids[name]}: only here"} <= set(found)


def test_an_association_on_one_side_is_seen_in_both_directions(ids, hubspot):
    contact, deal, ticket = ids.values()
    hubspot.delete(f"{OBJECTS}/deals/{deal}/associations/tickets/{ticket}")
    hubspot.put(f"{OBJECTS}/tickets/{ticket}/associations/default/contacts/{contact}")

    assert sorted(differences(hubspot)) == [
        f"association of contacts with tickets, {(contact, ticket)}: only there",
        f"association of deals with tickets, {(deal, ticket)}: only here",
        f"association of tickets with contacts, {(ticket, contact)}: only there",
        f"association of tickets with deals, {(ticket, deal)}: only here",
    ]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE records SET unsent = '{city}' WHERE object_type = 'contacts'",
        "UPDATE records SET state = 'pending' WHERE object_type = 'contacts'",
        "UPDATE records SET state = 'rejected' WHERE object_type = 'contacts'",
        'UPDATE records SET properties = properties || \'{"city": "Oslo"}\''
        " WHERE object_type = 'contacts'",
        "UPDATE associations SET state = 'pending' WHERE type_id = 4",
    ],
)
def test_a_change_that_is_not_sent_is_seen(ids, hubspot, change):
    with transaction() as session:
        session.execute(text(change))

    assert len(differences(hubspot)) == 1
