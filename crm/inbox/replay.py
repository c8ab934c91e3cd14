"""List the events that HubSpot sent, and have them looked at again."""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from flask import current_app
from sqlalchemy import false, func, or_, select, update

from crm.config import Settings
from crm.db import transaction
from crm.errors import TokenError
from crm.hubspot import signature
from crm.hubspot.probe import Answered, probe
from crm.hubspot.signature import FindHeader
from crm.inbox import process
from crm.inbox.receive import TASK, unpack
from crm.models import Portal, WebhookEvent
from crm.queue import enqueue_once

log = structlog.get_logger(__name__)

WAITING = "waiting"
STATES = (WAITING, *process.OUTCOMES)


def check_signature(find_header: FindHeader, *, method: str, uri: str, body: bytes) -> None:
    """Let pass what HubSpot signed.

    Args:
        find_header: the request's header of a name in any letter case, or None.
        method: of the request, in capitals.
        uri: its whole address as it arrived here; ``PUBLIC_URL``, when set, takes the place of
            all before the query, because a proxy may have changed that, or the address of this
            machine, which the sandbox calls whatever ``PUBLIC_URL`` is.
        body: as received.

    Raises:
        TokenError: the signature is missing, wrong or stale, or we have no secret.
    """
    settings: Settings = current_app.extensions["crm_settings"]
    _, question_mark, query = uri.partition("?")
    uris = [uri]
    if settings.webhook_url:
        known = (settings.webhook_url, settings.local_webhook_url)
        uris = [f"{each}{question_mark}{query}" for each in known]
    try:
        signature.check_signature(
            find_header,
            secret=settings.hubspot_client_secret,
            method=method,
            uris=uris,
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


@dataclass(frozen=True)
class StoredEvent:
    """An event in the inbox."""

    id: int
    hub_id: int
    payload: Mapping[str, Any]
    received_at: datetime
    attempts: int
    outcome: str | None
    """None while it waits."""


def list_events(
    *, state: str | None = None, limit: int, portal_id: int | None = None
) -> list[StoredEvent]:
    """The latest events, newest first.

    Args:
        state: only those that are ``waiting``, or came to this outcome.
        limit: how many.
        portal_id: only those about this portal; None for all.
    """
    columns = (
        *(WebhookEvent.id, WebhookEvent.hub_id, WebhookEvent.payload),
        *(WebhookEvent.received_at, WebhookEvent.attempts, WebhookEvent.outcome),
    )
    unpack()
    statement = select(*columns).order_by(WebhookEvent.id.desc()).limit(limit)
    if state == WAITING:
        statement = statement.where(WebhookEvent.processed_at.is_(None))
    elif state:
        statement = statement.where(WebhookEvent.outcome == state)
    if portal_id is not None:
        hub_id = select(Portal.hub_id).where(Portal.id == portal_id).scalar_subquery()
        statement = statement.where(WebhookEvent.hub_id == hub_id)
    with transaction() as session:
        return [StoredEvent(*row) for row in session.execute(statement)]


def replay(*, ids: Collection[int] = (), since: datetime | None = None) -> int:
    """Have events looked at as if they had just come; returns how many there are.

    Args:
        ids: of events in the inbox.
        since: all that were received from this time on.
    """
    unpack()
    is_wanted = or_(
        WebhookEvent.id.in_(ids), false() if since is None else WebhookEvent.received_at >= since
    )
    with transaction() as session:
        replayed = session.scalars(
            update(WebhookEvent)
            .where(is_wanted)
            .values(processed_at=None, outcome=None, attempts=0, due_at=func.now())
            .returning(WebhookEvent.hub_id)
        ).all()
        statement = select(Portal.id).where(Portal.hub_id.in_(set(replayed))).order_by(Portal.id)
        for portal_id in session.scalars(statement).all():
            enqueue_once(TASK, portal_id)
    return len(replayed)
