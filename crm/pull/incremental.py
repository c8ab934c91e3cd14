"""Search for what was modified in HubSpot since the last time, and read that."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice

from crm.hubspot import search
from crm.hubspot.answers import HubSpotRecord
from crm.hubspot.client import HubSpotClient
from crm.hubspot.errors import HubSpotError
from crm.models import SyncRun
from crm.object_types import ObjectType
from crm.pull import associations, diff, runs
from crm.pull.steps import Step, leaving_out_unseen, refresh

_SEARCHED = 1_000
"""Records of a search that are looked at together: as many as one read of associations takes."""


def search_changes(
    client: HubSpotClient, run: SyncRun, object_type: ObjectType, until: float
) -> Iterator[Step]:
    """Read what a part of the search shows to be stale for each step."""
    covered = runs.find_covered_until(run.portal_id, object_type.name)
    begin = datetime.fromisoformat(run.cursor) if run.cursor else _before(covered)
    found = search.search_modified(client, object_type, begin)
    while some := list(islice(found, _SEARCHED)):
        # The index may be behind, and tell of what was archived: only a read decides.
        stale = diff.find_stale(run.portal_id, object_type, some)
        changed = refresh(client, run.portal_id, object_type, stale)
        for other_type in associations.list_associated_types(object_type):
            with leaving_out_unseen(other_type):
                changed += associations.refresh_associations(
                    client, run.portal_id, object_type, other_type, stale
                )
        reached = _modified(some[-1])
        yield Step(reached.isoformat(), len(some), changed)
        # Those of one moment are looked at in one go, since a cursor cannot tell them apart.
        if time.monotonic() > until and reached > begin:
            return
    yield Step(None, 0, 0)


def _before(covered: datetime | None) -> datetime:
    return covered - search.LAG if covered else datetime.fromtimestamp(0, UTC)


def _modified(record: HubSpotRecord) -> datetime:
    if record.updated_at is None:
        raise HubSpotError(f"HubSpot tells no time of record {record.id}")
    return record.updated_at
