"""Serve what a person changes in HubSpot's own screens, as admin routes that stand in for them.

They run the API's own views where it has one, and so keep its rules; what differs is who is told
to have done it.
A new one is a line in `ROUTES`, whose paths stand under ``/_sandbox/portals/{portal id}``.
"""

from typing import Final

from flask import request

from hubspot_sandbox.access import DEFAULT_APP, Access
from hubspot_sandbox.association_routes import (
    archive_association,
    associate_default,
    replace_labels,
)
from hubspot_sandbox.calls import Answer, Call, Route
from hubspot_sandbox.errors import invalid, resource_not_found
from hubspot_sandbox.merges import merge_objects
from hubspot_sandbox.objects import archive_object, create_object, update_object
from hubspot_sandbox.owners import STOCK_OWNERS
from hubspot_sandbox.payload import whole_number
from hubspot_sandbox.records import Selection, get_record, render_record, restore_record
from hubspot_sandbox.schema import ObjectType
from hubspot_sandbox.store import Sandbox

_VERSION: Final = "2026-09"  # People are held to the rules of the newest API.
_RECORD: Final = "/objects/<object_type>/<record_id>"
_ASSOCIATIONS: Final = "/objects/<from_type>/<record_id>/associations"


def restore_object(call: Call, object_type: ObjectType, record_id: str) -> Answer:
    """Bring a record back from the recycle bin, for which HubSpot's API has no call."""
    record = get_record(call.portal, object_type, record_id, archived=True)
    restore_record(call.portal, object_type, record)
    return Answer(render_record(call.portal, object_type, record, Selection()))


ROUTES: Final = (
    Route("persons", "POST", "/objects/<object_type>", create_object),
    Route("persons", "PATCH", _RECORD, update_object),
    Route("persons", "DELETE", _RECORD, archive_object),
    Route("persons", "POST", f"{_RECORD}/restore", restore_object),
    Route("persons", "POST", "/objects/<object_type>/merge", merge_objects),
    Route("persons", "PUT", f"{_ASSOCIATIONS}/default/<to_type>/<to_id>", associate_default),
    Route("persons", "PUT", f"{_ASSOCIATIONS}/<to_type>/<to_id>", replace_labels),
    Route("persons", "DELETE", f"{_ASSOCIATIONS}/<to_type>/<to_id>", archive_association),
)


def make_user_call(sandbox: Sandbox, portal_id: int) -> tuple[Call, int]:
    """Return the present request as a call of a person, and that person's user id.

    The user id is the parameter ``userId``, by default the first owner's. Raises 404 for an
    unknown portal.
    """
    portal = sandbox.portals.get(portal_id)
    if portal is None:
        raise resource_not_found()
    user_id = whole_number(request.args.get("userId", str(STOCK_OWNERS[0].user_id)))
    if user_id is None:
        raise invalid("The userId must be a number")
    call = Call(
        portal=portal,
        access=Access(portal_id, DEFAULT_APP.id, user_id=user_id),
        registry=sandbox.registry,
        version=_VERSION,
        url=request.base_url,
        query=dict(request.args.lists()),
        body=request.get_data(cache=False),
        # As with the other tools, curl's default will do.
        content_type="application/json",
    )
    return call, user_id
