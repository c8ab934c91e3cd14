"""The account itself: its details, its use of the API, its apps and its owners.

Sources: HubSpot docs, account information, app uninstalls and owners guides.
"""

from typing import Any

from hubspot_sandbox.calls import Answer, Call, Route
from hubspot_sandbox.clock import iso
from hubspot_sandbox.errors import invalid, resource_not_found
from hubspot_sandbox.payload import whole_number

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
        "utcOffsetMilliseconds": call.portal.utc_offset_ms,
        "uiDomain": call.portal.ui_domain,
        "dataHostingLocation": "eu1" if "-eu1." in call.portal.ui_domain else "na1",
    }
    if call.is_since("2026-09"):
        details |= {"portalName": call.portal.name, "createdAt": iso(_CREATED)}
    return Answer(details)


def read_daily_usage(call: Call) -> Answer:
    """Return how much of the day's quota the private apps have used."""
    return Answer({"results": [call.portal.limits.report_day()]})


def uninstall_app(call: Call) -> Answer:
    """Take the calling app out of the portal: 204, and its refresh tokens are worth nothing."""
    call.registry.uninstall(call.portal.id, call.access.app_id)
    return Answer(status=204)


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
    Route("account", "GET", "/api-usage/daily/private-apps", read_daily_usage),
    Route("installs", "DELETE", "/external-install", uninstall_app),
    Route("owners", "GET", "", list_owners),
    Route("owners", "GET", "/<owner_id>", read_owner),
)
