"""Webhooks: what HubSpot sends is verified, and stored before it is answered."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from flask import current_app
from sqlalchemy import insert

from crm.config import Settings
from crm.errors import TokenError
from crm.extensions import transaction
from crm.hubspot import signature
from crm.hubspot.probe import Answered, probe
from crm.models import WebhookEvent

log = structlog.get_logger(__name__)


def check_signature(headers: Mapping[str, str], *, method: str, uri: str, body: bytes) -> None:
    """Let pass what HubSpot signed.

    Args:
        headers: of the request, their names in lower case.
        method: of the request, in capitals.
        uri: its whole address as it arrived here; ``PUBLIC_URL``, when set, takes the place of
            all before the query, because a proxy may have changed that.
        body: as received.

    Raises:
        TokenError: the signature is missing, wrong or stale, or we have no secret.
    """
    settings: Settings = current_app.extensions["crm_settings"]
    _, question_mark, query = uri.partition("?")
    if settings.webhook_url:
        uri = f"{settings.webhook_url}{question_mark}{query}"
    try:
        signature.check_signature(
            headers,
            secret=settings.hubspot_client_secret,
            method=method,
            uri=uri,
            body=body,
            now_ms=time.time_ns() // 1_000_000,
        )
    except TokenError as error:
        advice = "" if settings.hubspot_client_secret else "set HUBSPOT_CLIENT_SECRET"
        log.warning("webhook refused", reason=error.message, advice=advice)
        raise


def deliver_to_ourselves(*, timestamp: int) -> Answered:
    """Send a delivery without events to our public address, signed as HubSpot signs.

    Args:
        timestamp: of the signature, in milliseconds since 1970.

    Raises:
        HubSpotUnavailableError: nobody answers there.
    """
    settings: Settings = current_app.extensions["crm_settings"]
    body = b"[]"
    signed = signature.sign_v3(
        settings.hubspot_client_secret,
        method="POST",
        uri=settings.webhook_url,
        body=body,
        timestamp=timestamp,
    )
    headers = {
        "Content-Type": "application/json",
        signature.SIGNATURE_V3: signed,
        signature.TIMESTAMP: str(timestamp),
    }
    return probe("POST", settings.webhook_url, headers=headers, body=body)


def store_events(events: Sequence[Mapping[str, Any]]) -> None:
    """Keep a delivery's events, all of them or none; each has the number of its ``portalId``."""
    if not events:
        return
    with transaction() as session:
        session.execute(
            insert(WebhookEvent),
            [{"hub_id": each["portalId"], "payload": each} for each in events],
        )
    log.info("webhook stored", events=len(events))
