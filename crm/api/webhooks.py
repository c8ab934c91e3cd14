"""Where HubSpot calls us."""

from flask import Response, request

from crm.api.blueprints import APIBlueprint
from crm.api.guards import Guard, guarded
from crm.api.schemas.inputs import body_of
from crm.api.schemas.webhooks import events_from
from crm.inbox.receive import store_events

bp = APIBlueprint("webhooks", __name__, description="Webhooks")


@bp.post("/webhooks/hubspot")
@guarded(Guard.HUBSPOT)
@bp.response(204)
@bp.alt_response(400, "BAD_REQUEST")
@bp.alt_response(413, "REQUEST_ENTITY_TOO_LARGE")
def receive_events() -> Response:
    """Take HubSpot's word that something changed; the answer comes once it is stored.

    The body is HubSpot's: a JSON array of events.
    """
    store_events(events_from(body_of(request)))
    return Response(status=204)
