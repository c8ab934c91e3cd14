"""List what HubSpot has, read what differs in the mirror, and archive what HubSpot lost."""

from collections.abc import Iterator

from crm.hubspot.client import HubSpotClient
from crm.hubspot.lists import Selection, list_pages
from crm.models import SyncRun
from crm.object_types import ObjectType
from crm.pull import diff
from crm.pull.prefetch import read_ahead
from crm.pull.steps import Step, associate, list_earlier_types, listed_step, refresh


def reconcile(
    client: HubSpotClient, run: SyncRun, object_type: ObjectType, until: float
) -> Iterator[Step]:
    """Compare a batch of listed records with the mirror for each step."""
    selection = Selection(
        object_type,
        properties=[object_type.modified_property],
        associations=list_earlier_types(run.portal_id, object_type),
    )
    pages = list_pages(client, selection, start=run.cursor)
    after = run.cursor
    for batch in read_ahead(pages, run.cursor, until):
        ids = [each.id for each in batch.records]
        through = None if batch.is_last else ids[-1] if ids else after
        stale = diff.find_stale(run.portal_id, object_type, batch.records)
        unlisted = diff.find_unlisted(run.portal_id, object_type, ids, after, through)
        changed = refresh(client, run.portal_id, object_type, stale | unlisted)
        changed += associate(client, run.portal_id, object_type, batch)
        yield listed_step(run, batch, changed)
        after = through or after
