"""Do what the steps of backfill, incremental and reconcile have in common."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from crm.hubspot.client import HubSpotClient
from crm.hubspot.errors import HubSpotScopeError
from crm.models import SyncRun
from crm.object_types import OBJECT_TYPES, ObjectType
from crm.pull import apply, associations, runs
from crm.pull.prefetch import Batch

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Step:
    """What was done of a run, which goes on from the cursor; None at the end."""

    cursor: str | None
    processed: int
    differences: int


def refresh(
    client: HubSpotClient, portal_id: int, object_type: ObjectType, ids: Collection[str]
) -> int:
    """Read records into the mirror and archive those that are gone; returns how many differed."""
    if not ids:
        return 0
    refreshed = apply.refresh(client, portal_id, object_type, ids)
    gone = apply.archive_missing(portal_id, object_type, refreshed.missing)
    return refreshed.changed + gone


def list_earlier_types(portal_id: int, object_type: ObjectType) -> list[ObjectType]:
    """The associated types whose records are taken in before those of this one.

    Usually those that come first; others too while this one could not be seen.
    """
    order = list(OBJECT_TYPES.values())
    earlier = order[: order.index(object_type)]
    backfilled = runs.list_backfilled(portal_id)
    if object_type not in backfilled:
        earlier += backfilled
    return [each for each in associations.list_associated_types(object_type) if each in earlier]


@contextmanager
def leaving_out_unseen(other_type: ObjectType) -> Iterator[None]:
    """Within it, records of another type that HubSpot does not let us see are nobody's failure."""
    try:
        yield
    except HubSpotScopeError as error:
        log.warning("associations left out", object_type=other_type.name, reason=error.message)


def associate(client: HubSpotClient, portal_id: int, object_type: ObjectType, batch: Batch) -> int:
    """Apply the associations of listed records; returns how many pairs came or went."""
    changed = 0
    for other_type in list_earlier_types(portal_id, object_type):
        targets = {each.id: each.associations.get(other_type.name, ()) for each in batch.records}
        with leaving_out_unseen(other_type):
            associations.refresh_unknown(client, portal_id, other_type, targets)
        changed += associations.apply_associations(
            portal_id, object_type, other_type, targets, batch.asked_at
        )
    return changed


def listed_step(run: SyncRun, batch: Batch, changed: int) -> Step:
    """Say how far a batch of listed records has brought a run."""
    ids = [each.id for each in batch.records]
    cursor = None if batch.is_last else ids[-1] if ids else run.cursor
    # The one to go on from comes again.
    return Step(cursor, len(ids) - ids.count(run.cursor), changed)
