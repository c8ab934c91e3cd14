"""The account itself and its owners.

Sources: HubSpot docs, account information and owners guides.
"""

from typing import Any

from crm.sandbox.calls import Answer, Call, Route
from crm.sandbox.clock import iso
from crm.sandbox.errors import invalid, resource_not_found
from crm.sandbox.payload import whole_number

_OWNERS_PAGE = 100
_MAX_OWNERS_PAGE = 500
_CREATED = 1_704_096_000_000


def read_account(call: Call) -> Answer:
    """Return the portal's id, currency, time zone and hosting."""
    details: dict[str, Any] = {
        "portalId": call.portal.id,
        "accountType": "STANDARD",
        "timeZone": "US/Eastern",
        "companyCurrency": "USD",
        "additionalCurrencies": [],
        "utcOffset": "-05:00",
        "utcOffsetMilliseconds": -18_000_000,
        "uiDomain": "app.hubspot.com",
        "dataHostingLocation": "na1",
    }
    if call.is_since("2026-09"):
        details |= {"portalName": "Bright Harbor", "createdAt": iso(_CREATED)}
    return Answer(details)


def list_owners(call: Call) -> Answer:
    """Return a page of owners; deactivated ones only with ``archived=true``."""
    size = call.limit(_OWNERS_PAGE, _MAX_OWNERS_PAGE)
    after = whole_number(call.text("after") or "0")
    if after is None:
        raise invalid("Invalid paging cursor")
    email = call.text("email")
    found = [
        owner
        for owner in call.portal.owners
        if owner.archived == call.flag("archived")
        and int(owner.id) >= after
        and (email is None or owner.email == email.lower())
    ]
    payload: dict[str, Any] = {"results": [owner.render() for owner in found[:size]]}
    if len(found) > size:
        payload["paging"] = call.page_link(found[size].id)
    return Answer(payload)


def read_owner(call: Call, owner_id: str) -> Answer:
    """Return an owner by id, or by user id when ``idProperty`` says so."""
    by_user_id = call.text("idProperty") == "userId"
    for owner in call.portal.owners:
        key = str(owner.user_id) if by_user_id else owner.id
        if key == owner_id and owner.archived == call.flag("archived"):
            return Answer(owner.render())
    raise resource_not_found()


ROUTES = (
    Route("account", "GET", "/details", read_account),
    Route("owners", "GET", "", list_owners),
    Route("owners", "GET", "/<owner_id>", read_owner),
)
