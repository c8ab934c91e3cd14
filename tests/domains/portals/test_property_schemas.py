"""The portal's property definitions: kept for a while, and what follows from them."""

import pytest
from sqlalchemy import text

from crm.db import transaction
from crm.errors import InvalidInputError
from crm.object_types import COMPANIES, CONTACTS, DEALS, TICKETS
from crm.portals.property_schemas import check_properties, list_mirrored, refresh_stale_schemas

PROPERTIES = "/crm/properties/2026-09/contacts"


def define(hubspot, name, **more):
    given = {
        "name": name,
        "label": name,
        "type": "string",
        "fieldType": "text",
        "groupName": "contactinformation",
    }
    answer = hubspot.post(PROPERTIES, given | more)
    assert answer.status_code == 201, answer.text


def age(minutes):
    with transaction() as session:
        session.execute(
            text(
                "UPDATE property_sets SET fetched_at = fetched_at - make_interval(mins => :age),"
                " attempted_at = attempted_at - make_interval(mins => :age)"
            ),
            {"age": minutes},
        )


def errors_of(portal_id, object_type, given):
    with pytest.raises(InvalidInputError) as caught:
        check_properties(portal_id, object_type, given)
    return caught.value.errors


def test_the_declared_properties_are_mirrored_until_the_first_fetch(portal_id, sandbox):
    names = list_mirrored(portal_id, CONTACTS)

    assert {"email", "firstname", "lastmodifieddate", "hs_merged_object_ids"} <= set(names)
    assert "jobtitle" not in names
    assert sandbox.requests()["total"] == 0


def test_every_property_that_a_person_could_edit_is_mirrored_after_the_first_fetch(
    portal_id, hubspot
):
    define(hubspot, "favourite_cog")
    define(hubspot, "a_secret", hidden=True)

    refresh_stale_schemas()

    names = list_mirrored(portal_id, CONTACTS)
    assert {"email", "lastmodifieddate", "jobtitle", "favourite_cog"} <= set(names)
    assert {"a_secret", "hs_calculated_merged_vids"}.isdisjoint(names)
    assert len(names) == len(set(names))


def test_definitions_are_fetched_again_after_five_minutes(portal_id, hubspot, sandbox):
    refresh_stale_schemas()
    define(hubspot, "favourite_cog")
    age(minutes=4)
    refresh_stale_schemas()
    before = list_mirrored(portal_id, CONTACTS)
    age(minutes=2)
    refresh_stale_schemas()

    assert "favourite_cog" not in before
    assert "favourite_cog" in list_mirrored(portal_id, CONTACTS)


def test_stale_definitions_serve_while_hubspot_is_down(portal_id, sandbox):
    refresh_stale_schemas()
    names = list_mirrored(portal_id, CONTACTS)
    age(minutes=600)
    sandbox.stop()

    refresh_stale_schemas()

    assert list_mirrored(portal_id, CONTACTS) == names


def test_any_possible_name_is_accepted_until_the_first_fetch(portal_id):
    given = {"email": "ada@example.com", "whatever": 5, "is_it": True, "first_name": "Ada"}

    assert check_properties(portal_id, CONTACTS, given) == {
        "email": "ada@example.com",
        "whatever": "5",
        "is_it": "true",
        "firstname": "Ada",
    }


@pytest.mark.parametrize("name", ["", "a b", "a.b", "\x00", "x" * 101, "é"])
def test_an_impossible_name_is_refused_even_before_the_first_fetch(portal_id, name):
    assert errors_of(portal_id, CONTACTS, {name: "1"})


@pytest.mark.parametrize("is_fetched", [False, True])
def test_a_property_of_ours_or_of_hubspots_own_is_read_only(portal_id, set_up, is_fetched):
    if is_fetched:
        refresh_stale_schemas()
    given = {"crm_uid": "1", "hs_object_id": "1", "createdate": "2026-01-01"}

    assert errors_of(portal_id, COMPANIES, given) == dict.fromkeys(given, "Read-only in HubSpot.")


def test_a_spelling_that_two_properties_could_mean_is_refused(portal_id, hubspot):
    define(hubspot, "job_title")
    refresh_stale_schemas()

    assert check_properties(portal_id, CONTACTS, {"jobtitle": "A", "job_title": "B"}) == {
        "jobtitle": "A",
        "job_title": "B",
    }
    assert errors_of(portal_id, CONTACTS, {"j_obtitle": "A"}) == {
        "j_obtitle": "Unknown property of contacts. Did you mean jobtitle?"
    }


def test_one_property_in_two_spellings_is_refused(portal_id):
    given = {"firstname": "Ada", "first_name": "Augusta"}

    assert errors_of(portal_id, CONTACTS, given) == {"first_name": "Given twice, also as firstname"}


def test_wire_names_mean_hubspots_properties(portal_id, set_up):
    refresh_stale_schemas()
    given = {"description": "Why?", "category": "BILLING_ISSUE", "pipeline": "0"}

    assert check_properties(portal_id, TICKETS, given) == {
        "content": "Why?",
        "hs_ticket_category": "BILLING_ISSUE",
        "hs_pipeline": "0",
    }


def test_many_unknown_names_are_refused_without_much_thought(portal_id):
    refresh_stale_schemas()
    given = {f"unknown_property_{each}": "1" for each in range(5000)}

    errors = errors_of(portal_id, DEALS, given)

    assert len(errors) == 5000
