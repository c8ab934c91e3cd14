"""Find whether everything between us and HubSpot is as it must be, and if not, what to do.

It looks and changes nothing. Whatever goes wrong is a finding.
"""

import re
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from flask import current_app
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from crm.config import Settings
from crm.db import transaction
from crm.hubspot.client import HubSpotClient
from crm.hubspot.errors import (
    HubSpotError,
    HubSpotNotFoundError,
    HubSpotRefusedError,
    HubSpotRevokedError,
    HubSpotScopeError,
    HubSpotUnavailableError,
)
from crm.hubspot.probe import Answered, probe
from crm.hubspot.properties import list_properties
from crm.hubspot.signature import LONGEST_AGE_MS
from crm.hubspot.versions import sunset_warning
from crm.inbox import replay
from crm.models import Portal
from crm.object_types import CRM_UID, OBJECT_TYPES, ObjectType
from crm.operations.findings import Finding, fail, ok, warn
from crm.portals import portals
from crm.portals.oauth_tokens import make_app

_SKEW_WARNED = timedelta(seconds=60)
_SKEW_TOO_LARGE = timedelta(minutes=4)
"""Signatures hold for five minutes; the way takes time too."""
_FEW_LEFT = 0.1
_COME_BACK = "Try again; look at https://status.hubspot.com"
_DAY = "day"
_NUMBER = re.compile(r"[0-9]{1,9}")
_LIMITS = {
    "10 seconds": ("X-HubSpot-RateLimit-Remaining", "X-HubSpot-RateLimit-Max"),
    _DAY: ("X-HubSpot-RateLimit-Daily-Remaining", "X-HubSpot-RateLimit-Daily"),
}
"""Period to the headers that tell what is left, and of how much."""
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def examine() -> Iterator[Finding]:
    """Check one thing after another; what depends on something that failed is left out."""
    settings: Settings = current_app.extensions["crm_settings"]
    yield from _check_address(settings)
    yield from _check_portal(settings)
    yield from _check_webhooks(settings)


def _check_address(settings: Settings) -> Iterator[Finding]:
    address = settings.hubspot_api_url
    try:
        answer = probe("GET", address)
    except HubSpotError as error:
        yield fail(
            "address",
            f"{address} cannot be reached ({error.met})",
            "Check HUBSPOT_API_URL, and whether this machine may reach it",
        )
        return
    yield ok("address", f"{address} answers within {answer.seconds * 1000:.0f} ms")
    yield _check_clock(answer)


def _check_clock(answer: Answered) -> Finding:
    if answer.skew is None:
        return warn("clock", "HubSpot does not tell its time", "Check HUBSPOT_API_URL")
    off = abs(answer.skew)
    side = "ahead of" if answer.skew > timedelta(0) else "behind"
    found = f"ours is {off.total_seconds():.0f} s {side} HubSpot's"
    advice = "Set the clock of this machine by a time server; signatures hold for 5 minutes only"
    if off > _SKEW_TOO_LARGE:
        return fail("clock", found, advice)
    return warn("clock", found, advice) if off > _SKEW_WARNED else ok("clock", found)


def _check_portal(settings: Settings) -> Iterator[Finding]:
    try:
        with transaction() as session:
            portal_id = portals.get_default_portal_id()
            mirrored = session.scalar(select(Portal.hub_id).where(Portal.id == portal_id))
            is_connected = portal_id in portals.list_connected_portal_ids()
        if not is_connected:
            yield fail(
                "token",
                "no portal is configured",
                "Set HUBSPOT_PRIVATE_APP_TOKEN, or what OAuth needs; see docs/production.md",
            )
            return
        client = portals.connect(portal_id)
        token = client.token if isinstance(client.token, str) else client.token.get()
        answer = probe(
            "GET",
            settings.hubspot_api_url + client.path("account", "details"),
            headers={"Authorization": f"Bearer {token}"},
        )
    except DBAPIError as error:
        reason = str(error.orig).strip().partition("\n")[0]
        advice = "Check DATABASE_URL; `flask --app crm db upgrade` makes the tables"
        yield fail("database", f"it cannot be used: {reason}", advice)
    except HubSpotError as error:
        yield fail("token", error.message, _token_advice(settings, error))
    else:
        yield from _check_answer(settings, client, answer, token, mirrored)


def _token_advice(settings: Settings, error: HubSpotError | None = None) -> str:
    if isinstance(error, HubSpotUnavailableError):
        return _COME_BACK
    if settings.hubspot_private_app_token:
        return "Copy the token of the private app or service key into HUBSPOT_PRIVATE_APP_TOKEN"
    if error and not isinstance(error, HubSpotRevokedError):
        return "Mend the setting that it names, and start the service anew"
    return "Connect the portal again, and set the HUBSPOT_REFRESH_TOKEN that this gives"


def _check_answer(
    settings: Settings, client: HubSpotClient, answer: Answered, token: str, mirrored: int | None
) -> Iterator[Finding]:
    """What the account's details tell, and what else there is to ask with a good token."""
    hub_id = answer.body.get("portalId") if isinstance(answer.body, dict) else None
    if answer.status == HTTPStatus.NOT_FOUND:
        found = f"HubSpot does not answer in version {settings.hubspot_api_version}"
        yield fail("version", found, "Set HUBSPOT_API_VERSION to a version that HubSpot has")
    elif answer.status == HTTPStatus.UNAUTHORIZED:
        yield fail("token", f"HubSpot refuses it: {_message(answer)}", _token_advice(settings))
    elif answer.status != HTTPStatus.OK or not hub_id:
        found = f"HubSpot answered with HTTP {answer.status}: {_message(answer)}"
        yield fail("token", found, _COME_BACK)
    else:
        yield _describe_token(settings, token, hub_id)
        yield _compare_portals(hub_id, mirrored)
        yield _check_version(settings.hubspot_api_version)
        yield _check_limits(answer.headers)
        yield from _check_blocked()
        try:
            yield _check_scopes(client)
            for object_type in OBJECT_TYPES.values():
                if object_type.id_property == CRM_UID:
                    yield _check_crm_uid(client, object_type)
        except HubSpotError as error:
            found = f"HubSpot did not answer all questions: {error.message}"
            yield fail("scopes", found, _COME_BACK)


def _message(answer: Answered) -> str:
    message = answer.body.get("message") if isinstance(answer.body, dict) else None
    return str(message or "it gives no reason")


def _describe_token(settings: Settings, token: str, hub_id: int) -> Finding:
    if settings.hubspot_private_app_token:
        return ok("token", f"a private app or service key of portal {hub_id}; it does not expire")
    try:
        state = make_app(settings).introspect(token)
    except HubSpotError as error:
        found = f"OAuth of portal {hub_id}, but HubSpot tells nothing of it: {error.message}"
        return warn("token", found, "Check HUBSPOT_CLIENT_ID and HUBSPOT_CLIENT_SECRET")
    minutes = (state.expires_in or 0) // 60
    return ok("token", f"OAuth of portal {hub_id}; good for {minutes} minutes, then refreshed")


def _compare_portals(hub_id: int, mirrored: int | None) -> Finding:
    if mirrored in (None, hub_id):
        return ok("portal", f"{hub_id}" + ("" if mirrored else "; the mirror begins with it"))
    return fail(
        "portal",
        f"the token is of portal {hub_id}, the mirror of portal {mirrored}",
        f"Configure a token of portal {mirrored}, or start with an empty database",
    )


def _check_version(version: str) -> Finding:
    warning = sunset_warning(version, datetime.now(UTC).date())
    if warning is None:
        return ok("version", f"HubSpot answers in version {version}")
    return warn("version", warning, "Read HubSpot's changelog, then change HUBSPOT_API_VERSION")


def _check_limits(headers: Mapping[str, str]) -> Finding:
    left_of = {
        period: (int(headers[remaining]), int(headers[most]))
        for period, (remaining, most) in _LIMITS.items()
        if all(_NUMBER.fullmatch(headers.get(each, "")) for each in (remaining, most))
    }
    found = ", ".join(
        f"{left} of {most} calls for the {each}" for each, (left, most) in left_of.items()
    )
    left, most = left_of.get(_DAY, (1, 1))
    advice = "Wait until midnight in the portal's time zone, or let its other apps call less"
    if left == 0:
        return fail("limits", f"{found} are left", advice)
    if left < most * _FEW_LEFT:
        return warn("limits", f"{found} are left", advice)
    return ok("limits", f"{found} are left" if found else "HubSpot tells none")


def _check_scopes(client: HubSpotClient) -> Finding:
    missing = [
        scope for object_type in OBJECT_TYPES.values() for scope in _missing(client, object_type)
    ]
    if not missing:
        return ok("scopes", "all that the service needs")
    return fail(
        "scopes",
        f"the token lacks {', '.join(dict.fromkeys(missing))}",
        "Add them to the app in HubSpot; with OAuth, connect the portal again too",
    )


def _missing(client: HubSpotClient, object_type: ObjectType) -> Iterator[str]:
    """The scopes that calls of no effect show to be missing: nobody tells those of a private app.

    HubSpot looks at scopes before it looks at what is sent, so a write of nothing will do.
    """
    name = object_type.name
    objects, properties = client.path("objects", name), client.path("properties", name)
    calls: dict[str, tuple[str, str, Any]] = {
        f"crm.objects.{name}.read": ("GET", f"{objects}?limit=1", None),
        f"crm.objects.{name}.write": ("POST", f"{objects}/batch/update", {"inputs": []}),
    }
    if object_type.id_property == CRM_UID:
        calls[f"crm.schemas.{name}.read"] = ("GET", f"{properties}/{CRM_UID}", None)
        calls[f"crm.schemas.{name}.write"] = ("POST", properties, {})
    for scope, (method, path, body) in calls.items():
        try:
            client.call(method, path, body=body, repeatable=True)
        except HubSpotScopeError:
            # HubSpot has one scope for all of tickets.
            yield "tickets" if name == "tickets" else scope
        except (HubSpotNotFoundError, HubSpotRefusedError):
            continue


def _check_blocked() -> Iterator[Finding]:
    """What push found out; what it lacks, the findings after these tell."""
    blocked = portals.list_blocked().get(portals.get_default_portal_id(), {})
    for name, reason in blocked.items():
        advice = "Mend that in HubSpot; what waits is sent by itself within a minute"
        yield fail(f"sending {name}", f"blocked: {reason}", advice)


def _check_crm_uid(client: HubSpotClient, object_type: ObjectType) -> Finding:
    name = f"{CRM_UID} of {object_type.name}"
    try:
        properties = {each.name: each for each in list_properties(client, object_type)}
    except HubSpotScopeError:
        return warn(name, "cannot be seen for want of a scope", "Mend the scopes first")
    if CRM_UID not in properties:
        return warn(name, "is not there yet", "Start a worker, which makes it")
    if not properties[CRM_UID].has_unique_value:
        advice = "Archive or rename it in HubSpot (Settings, Properties), then start a worker anew"
        return fail(name, "is there, but its values are not unique", advice)
    return ok(name, "is there, and its values are unique")


def _check_webhooks(settings: Settings) -> Iterator[Finding]:
    address = settings.webhook_url
    if not address:
        advice = (
            "Set PUBLIC_URL to how HubSpot reaches this service, such as https://crm.example.com"
        )
        yield warn("webhook", "HubSpot cannot tell us of changes: there is no PUBLIC_URL", advice)
        return
    parts = urlsplit(address)
    if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
        advice = "Let a proxy end TLS, and begin PUBLIC_URL with https://"
        yield fail("webhook", f"HubSpot does not call {address}: it wants https", advice)
    if not settings.hubspot_client_secret:
        advice = "Set HUBSPOT_CLIENT_SECRET to the secret of the app in HubSpot"
        yield fail("webhook", "every delivery is refused: there is no secret to verify it", advice)
        return
    yield _deliver_to_ourselves(settings)


def _deliver_to_ourselves(settings: Settings) -> Finding:
    """Send what HubSpot would, but without an event; once signed now and once too long ago."""
    address = settings.webhook_url
    now = time.time_ns() // 1_000_000
    try:
        fresh = replay.deliver_to_ourselves(timestamp=now)
        stale = replay.deliver_to_ourselves(timestamp=now - 2 * LONGEST_AGE_MS)
    except HubSpotError as error:
        found = f"{address} cannot be reached from here ({error.met})"
        return fail("webhook", found, "Start the service, and check PUBLIC_URL and the proxy")
    if fresh.status == HTTPStatus.UNAUTHORIZED:
        found = f"{address} refuses what we sign: {_message(fresh)}"
        advice = "Start the service with the same HUBSPOT_CLIENT_SECRET and PUBLIC_URL as this"
        return fail("webhook", found, advice)
    if fresh.status != HTTPStatus.NO_CONTENT:
        found = f"{address} answers a delivery with HTTP {fresh.status}"
        return fail("webhook", found, "Let PUBLIC_URL lead to this service; check the proxy")
    if stale.status != HTTPStatus.UNAUTHORIZED:
        found = f"{address} answers a stale delivery with HTTP {stale.status}"
        return fail("webhook", found, "Set the clocks of the service's machines by a time server")
    return ok("webhook", f"{address} takes a signed delivery and refuses a stale one")
