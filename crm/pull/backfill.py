"""List everything that HubSpot has, page by page, and apply it to the mirror."""

from collections.abc import Iterator

from crm.hubspot.client import HubSpotClient
from crm.hubspot.lists import Selection, list_pages
from crm.models import SyncRun
from crm.object_types import ObjectType
from crm.portals.property_schemas import list_mirrored
from crm.pull import apply
from crm.pull.prefetch import read_ahead
from crm.pull.steps import Step, associate, list_earlier_types, listed_step


def backfill(
    client: HubSpotClient, run: SyncRun, object_type: ObjectType, until: float
) -> Iterator[Step]:
    """Apply a batch of listed records for each step."""
    selection = Selection(
        object_type,
        properties=list_mirrored(run.portal_id, object_type),
        associations=list_earlier_types(run.portal_id, object_type),
    )
    pages = list_pages(client, selection, start=run.cursor)
    for batch in read_ahead(pages, run.cursor, until):
        applied = apply.apply_records(client, run.portal_id, object_type, batch.records)
        changed = applied.changed
        if applied.undecided:
            changed += apply.refresh(client, run.portal_id, object_type, applied.undecided).changed
        changed += associate(client, run.portal_id, object_type, batch)
        yield listed_step(run, batch, changed)
