"""Sync: the mirror becomes what HubSpot has, whatever happens on the way."""

import pytest
from sqlalchemy import text

from crm.extensions import transaction
from crm.services import sync
from tests.sandbox.client import OBJECTS


@pytest.fixture
def follow(portal_id):
    """Do a kind of run in one go; returns the processed records and differences by type."""

    def do(kind, *names):
        last = {run.object_type: run for run in sync.follow(kind, names)}
        return {name: (run.processed, run.differences) for name, run in last.items()}

    return do


def mirrored(object_type="contacts"):
    """The live records of the mirror by HubSpot's ids."""
    statement = (
        "SELECT hs_object_id, properties FROM records"
        " WHERE object_type = :type AND archived_at IS NULL"
    )
    with transaction() as session:
        found = session.execute(text(statement), {"type": object_type})
        return {row.hs_object_id: row.properties for row in found}


def pairs():
    with transaction() as session:
        rows = session.execute(
            text("""
            SELECT a.hs_object_id, b.hs_object_id, associations.state FROM associations
            JOIN records AS a ON a.id = from_id JOIN records AS b ON b.id = to_id""")
        )
        return {tuple(row) for row in rows}


def test_a_backfill_takes_in_every_record_with_its_associations(follow, hubspot, set_up):
    created = hubspot.batch(
        "contacts", "create", *({"properties": {"email": f"p{n}@example.com"}} for n in range(100))
    ).json()["results"]
    one = created[0]["id"]
    deal = hubspot.create(
        "deals", dealname="A new engine", dealstage="qualifiedtobuy", pipeline="default"
    )
    hubspot.put(f"{OBJECTS}/deals/{deal['id']}/associations/default/contacts/{one}")

    done = follow("backfill")

    assert done["contacts"] == (100, 100)
    assert mirrored().keys() == {each["id"] for each in created}
    assert mirrored("deals")[deal["id"]]["dealname"] == "A new engine"
    assert pairs() == {(one, deal["id"], "synced")}
