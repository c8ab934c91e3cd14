"""Continue a scan, job by job, until all of it is stored.

A job works for some seconds, or as long as nobody needs its place. Whatever ends it, what was
stored is whole, and the next job goes on from there: the deals of a page and how far their range
was read are committed together. No transaction is open while HubSpot is being called.
"""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import structlog
from cryptography.fernet import InvalidToken
from flask import current_app
from sqlalchemy import func, select

from crm import jobs
from crm.db import transaction
from crm.errors import ConfigError, CRMError
from crm.hubspot import owners, search
from crm.hubspot.account import get_details
from crm.hubspot.answers import HubSpotRecord
from crm.hubspot.client import HubSpotClient
from crm.hubspot.errors import (
    HubSpotAuthError,
    HubSpotError,
    HubSpotRateLimitError,
    HubSpotScopeError,
    HubSpotUnavailableError,
)
from crm.hubspot.owners import Owner
from crm.hubspot.pipelines import list_pipelines
from crm.models import Scan
from crm.models.scans import UNFINISHED
from crm.object_types import DEALS
from crm.portals import portals
from crm.portals.oauth_tokens import make_vault
from crm.queue import is_leaving, is_needed
from crm.scans import storage
from crm.scans.commands import TASK, ScanConfig
from crm.scans.deal_rows import find_id, make_labels, make_row
from crm.scans.filters import is_wanted, list_filters
from crm.scans.ranges import Bounds, CursorError, Plan, Range
from crm.scans.readers import Reading, ReadPage
from crm.scans.storage import Hold, LostLeaseError

log = structlog.get_logger(__name__)

SHORTEST_RUN = 5.0
"""Seconds for which a job goes on also when others wait for its place."""
LONGEST_OUTAGE = timedelta(hours=1)
"""Without any progress, after which a scan fails."""
LONGEST_LIMIT = timedelta(hours=24)
"""The same while HubSpot's rate limit is used up, which a day's may be until midnight."""

_LOOK_EVERY = 0.5
"""Seconds between two looks whether the scan was cancelled, while nothing comes from HubSpot."""
_LOST = timedelta(seconds=30)
_LONGEST_MESSAGE = 500
_LONGEST_NAME = 100


def work(row_id: int) -> None:
    """Go on with a scan, whose row's id this is."""
    hold = storage.take_over(row_id)
    if hold is None:
        return
    try:
        _work(hold)
    except LostLeaseError:
        log.info("scan let go of", scan=row_id)


def sweep() -> None:
    """Enqueue the scans that nobody works on, whatever became of their jobs."""
    with transaction() as session:
        forgotten = session.scalars(
            select(Scan.id).where(
                Scan.status.in_(UNFINISHED), Scan.updated_at < func.clock_timestamp() - _LOST
            )
        ).all()
    jobs.sweep_up(TASK, forgotten)


def _work(hold: Hold) -> None:
    try:
        hold = _prepare(hold)
        is_complete = _continue(hold)
    except CursorError:
        log.warning("scan goes on with one reader", scan=hold.id)
        storage.forget_ranges(hold)
        jobs.hand_over(TASK, hold.id)
    except CRMError as error:
        _note(hold, error)
    except LostLeaseError:
        raise
    except Exception:
        storage.retry_later(
            hold, "INTERNAL_ERROR", "Internal server error; see the log", longest=LONGEST_OUTAGE
        )
        raise
    else:
        if is_complete:
            storage.complete(hold)
            log.info("scan completed", scan=hold.id)
        else:
            jobs.hand_over(TASK, hold.id)


def _prepare(hold: Hold) -> Hold:
    """Learn whose token it is, what there is to read and what the portal calls things, once."""
    if hold.labels is not None:
        return hold
    account = get_details(portals.connect_with(_token(hold)))
    client = portals.connect_with(_token(hold), account.hub_id)
    if client.budget:
        # The call that told whose portal it is counts too.
        client.budget.wait("general")
    with ThreadPoolExecutor(3) as pool:
        counting = pool.submit(search.count, client, DEALS, list_filters(hold.config))
        pipelines = pool.submit(list_pipelines, client, DEALS.name)
        owning = pool.submit(_list_owners, client)
    count = counting.result()
    labels = make_labels(account, pipelines.result(), owning.result())
    last_id = count.last_id or 0
    storage.change(
        hold,
        hub_id=account.hub_id,
        labels=labels,
        last_deal_id=last_id,
        total_items=count.total,
    )
    return replace(hold, hub_id=account.hub_id, labels=labels, last_deal_id=last_id)


def _list_owners(client: HubSpotClient) -> list[Owner]:
    """All owners, deactivated ones too; none where the token may not see them."""
    try:
        return [*owners.iterate(client), *owners.iterate(client, archived=True)]
    except HubSpotScopeError:
        log.warning("owners not visible to the scan's token")
        return []


def _continue(hold: Hold) -> bool:
    """Read and store until everything is stored, or others need the place; whether it all is."""
    plan = _make_plan(hold)
    look_at = time.monotonic() + SHORTEST_RUN
    client = portals.connect_with(_token(hold), hold.hub_id, pause=plan.pause)
    with Reading(client, hold.config, plan) as reading:
        kept: set[Bounds] = set()
        while not plan.is_stored:
            kept = _store(hold, plan, reading.take(_LOOK_EVERY), kept)
            is_time = time.monotonic() > look_at
            if is_leaving() or (is_time and is_needed()):
                plan.abandon()
                _store(hold, plan, reading.take(0), kept)
                break
            if is_time:
                look_at = time.monotonic() + _LOOK_EVERY
    return plan.is_stored


def _make_plan(hold: Hold) -> Plan:
    kept = storage.list_ranges(hold)
    if not kept:
        kinds = [False, True] if hold.config.include_archived else [False]
        kept = [Bounds(number, kind, "", None, False) for number, kind in enumerate(kinds)]
    is_filtered = bool(list_filters(hold.config))
    ranges = [
        Range(
            number=each.number,
            is_archived=each.is_archived,
            after=each.after,
            until=each.until,
            is_read=each.is_done,
            is_searched=is_filtered and not each.is_archived,
        )
        for each in kept
    ]
    return Plan(ranges, hold.last_deal_id, may_split=not hold.has_one_reader)


def _store(hold: Hold, plan: Plan, pages: Sequence[ReadPage], kept: set[Bounds]) -> set[Bounds]:
    """Store pages and how far they go; returns the ranges as they are kept now."""
    if not pages:
        storage.check(hold)
        return kept
    deals: list[Mapping[str, Any]] = []
    failures: dict[str, str] = {}
    for each in pages:
        failures |= {_named(key): why for key, why in each.page.unreadable.items()}
        for deal in each.page.records:
            if find_id(deal.id) is None:
                failures[_named(deal.id)] = "Its id is no number that HubSpot would give"
            elif _is_of(each.piece, deal, hold.config):
                deals.append(make_row(deal, hold.labels or {}, hold.config))
        each.piece.stored_after = each.page.after or each.piece.stored_after
        each.piece.is_stored = each.is_last
    # Only now, so that a range which was halved meanwhile is kept together with its other half.
    ranges = plan.list_bounds()
    storage.store(hold, deals, failures, [each for each in ranges if each not in kept])
    return set(ranges)


def _named(deal_id: str) -> str:
    """What a deal is called that has no proper id, as far as Postgres can keep and index it."""
    return deal_id[:_LONGEST_NAME].replace("\0", "")


def _is_of(piece: Range, deal: HubSpotRecord, config: ScanConfig) -> bool:
    if piece.until is not None and int(deal.id) > piece.until:
        return False  # It comes with the next range.
    return not piece.is_archived or is_wanted(config, deal)


def _note(hold: Hold, error: CRMError) -> None:
    """End the scan for what will not pass; for everything else come back later."""
    message = _message_for_people(hold, error)
    log.warning("scan interrupted", scan=hold.id, reason=message)
    if not isinstance(error, HubSpotUnavailableError):
        storage.fail(hold, error.error_code, message)
        return
    is_limit = isinstance(error, HubSpotRateLimitError)
    storage.retry_later(
        hold,
        "RATE_LIMIT_EXCEEDED" if is_limit else error.error_code,
        message,
        pause=error.retry_after or 0,
        longest=LONGEST_LIMIT if is_limit else LONGEST_OUTAGE,
    )


def _message_for_people(hold: Hold, error: CRMError) -> str:
    """What happened, for people: without the token, and without the pages of proxies."""
    message = error.message
    if isinstance(error, HubSpotError) and message.startswith("HTTP "):
        message = f"HubSpot answered with {message.partition(':')[0]}"
    if isinstance(error, HubSpotAuthError):
        message = f"HubSpot API authentication failed: {message}"
    if isinstance(error, HubSpotScopeError) and error.scopes:
        message += f" Needed: {', '.join(error.scopes)}"
    with suppress(CRMError):
        message = message.replace(_token(hold), "…")
    return message[:_LONGEST_MESSAGE]


def _token(hold: Hold) -> str:
    try:
        return make_vault(current_app.extensions["crm_settings"]).decrypt(hold.token).decode()
    except InvalidToken as error:
        raise ConfigError(
            "The scan's token cannot be decrypted: ENCRYPTION_KEYS has changed; start it again"
        ) from error
