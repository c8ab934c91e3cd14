"""Comparing: a stretch of HubSpot's list goes by number, whatever the ids look like as text."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from crm.db import transaction
from crm.object_types import DEALS
from crm.pull.diff import find_unlisted

IDS = st.integers(1, 200_000) | st.integers(1, 10**19 - 1)


def fill(portal_id, ids):
    with transaction() as session:
        session.execute(text("DELETE FROM records"))
        session.execute(
            text(
                "INSERT INTO records (portal_id, object_type, hs_object_id, properties, state)"
                " SELECT :portal_id, 'deals', id, '{}', 'synced'"
                " FROM unnest(CAST(:ids AS text[])) AS id"
            ),
            {"portal_id": portal_id, "ids": [str(each) for each in ids]},
        )


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    here=st.sets(IDS, max_size=12),
    there=st.sets(IDS, max_size=12),
    at=st.integers(0, 12),
)
def test_every_row_that_no_page_lists_is_found_once(portal_id, here, there, at):
    shared = set(list(here)[:4])
    listed = sorted(there | shared)
    fill(portal_id, here)
    first, second = [str(each) for each in listed[:at]], [str(each) for each in listed[at:]]
    middle = first[-1] if first else ""

    found = [
        *(find_unlisted(portal_id, DEALS, first, "", middle) if first else ()),
        *find_unlisted(portal_id, DEALS, second, middle, None),
    ]

    assert sorted(found) == sorted(str(each) for each in here - set(listed))
