"""Look up in HubSpot what its events are about, unless the mirror knows it already.

Doing it twice changes nothing: an event says only where to look, and a read is the truth. So a
crash at any point is mended by doing it again, and neither order nor duplicates matter.
"""

import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import func, select, text

from crm import jobs
from crm.db import transaction
from crm.errors import ConfigError, CRMError
from crm.hubspot.client import HubSpotClient
from crm.hubspot.errors import (
    HubSpotConflictError,
    HubSpotError,
    HubSpotNotFoundError,
    HubSpotRefusedError,
    HubSpotScopeError,
)
from crm.inbox.already_known import Verdict, classify
from crm.inbox.events import MERGE, PRIVACY_DELETION, RESTORE, Notice, Ref, read_notice
from crm.inbox.privacy import purge_contacts
from crm.inbox.receive import TASK, unpack
from crm.mirror.rows import find_known_ids
from crm.models import Portal, WebhookEvent
from crm.object_types import OBJECT_TYPES, ObjectType
from crm.portals import portals
from crm.pull import apply
from crm.pull.associations import list_associated_types, refresh_associations
from crm.queue import enqueue_once, wait_for_enqueuers

log = structlog.get_logger(__name__)

BATCH = 2000
"""Events that are looked at together."""
PAUSES = (1, 2, 4, 8, 16)
"""Seconds after which HubSpot is asked again for what it told of and does not show yet."""
PATIENCE_FOR_OURS = 2
"""Of these pauses, those to wait for the answer to a write of our own."""
NEWS_IS_YOUNG = timedelta(minutes=5)
"""Later HubSpot shows all that it will ever show of what happened."""
KEPT = timedelta(days=30)
"""How long an event can be looked at and replayed after it was processed."""

READ, GIVEN_UP = "read", "given up"
OUTCOMES = (str(Verdict.KNOWN), READ, str(Verdict.PURGED), str(Verdict.IGNORED), GIVEN_UP)

# They are about some records, or a type; of the portal as a whole they say nothing.
_NARROW = (HubSpotScopeError, HubSpotRefusedError, HubSpotNotFoundError, HubSpotConflictError)


def process(portal_id: int, failures: int = 0) -> None:
    """Act on a portal's events, or note why that cannot be done now and come back later.

    Args:
        portal_id: whose.
        failures: how often in a row HubSpot could not be asked.
    """
    wait_for_enqueuers(TASK, portal_id)
    unpack()
    until = jobs.deadline()
    try:
        while events := _list_due(portal_id):
            _process(portal_id, events)
            failures = 0
            if time.monotonic() > until:
                jobs.hand_over(TASK, portal_id)
                return
    except (HubSpotError, ConfigError) as error:
        _retry_later(portal_id, failures + 1, error)


def sweep() -> None:
    """Enqueue a job for every portal with events that are due, whatever was lost."""
    unpack()
    with transaction() as session:
        session.execute(_IGNORE_STRANGERS)
        waiting = session.scalars(_PORTALS_WITH_DUE).all()
    jobs.sweep_up(TASK, waiting)


def forget_processed() -> None:
    """Delete the events that were processed long ago."""
    with transaction() as session:
        session.execute(_FORGET, {"kept": KEPT})


_IS_DUE = "processed_at IS NULL AND due_at <= now()"

_PORTALS_WITH_DUE = text(f"""
    SELECT id FROM portals WHERE EXISTS (
        SELECT FROM inbox WHERE inbox.hub_id = portals.hub_id AND {_IS_DUE})
""")  # noqa: S608 - our own

# Once every portal has shown its number, no other event can be about one of them.
_IGNORE_STRANGERS = text(f"""
    UPDATE inbox SET processed_at = now(), outcome = 'ignored'
    WHERE {_IS_DUE}
        AND NOT EXISTS (SELECT FROM portals WHERE portals.hub_id = inbox.hub_id)
        AND NOT EXISTS (SELECT FROM portals WHERE hub_id IS NULL)
""")  # noqa: S608 - our own

_FORGET = text("DELETE FROM inbox WHERE processed_at < now() - CAST(:kept AS interval)")


@dataclass(frozen=True)
class _Event:
    id: int
    attempts: int
    payload: Mapping[str, Any]


def _list_due(portal_id: int) -> list[_Event]:
    hub_id = select(Portal.hub_id).where(Portal.id == portal_id).scalar_subquery()
    statement = (
        select(WebhookEvent.id, WebhookEvent.attempts, WebhookEvent.payload)
        .where(WebhookEvent.hub_id == hub_id, WebhookEvent.processed_at.is_(None))
        .where(WebhookEvent.due_at <= func.now())
        .order_by(WebhookEvent.due_at, WebhookEvent.id)
        .limit(BATCH)
    )
    with transaction() as session:
        return [_Event(*row) for row in session.execute(statement)]


@dataclass
class _Outcomes:
    """What becomes of some events."""

    done: dict[int, str] = field(default_factory=dict)
    """Outcomes, by event id."""
    later: dict[int, int] = field(default_factory=dict)
    """Seconds until to look again, by event id."""

    def write(self) -> None:
        """Write it down."""
        with transaction() as session:
            session.execute(
                _DONE, {"ids": list(self.done), "outcomes": list(map(str, self.done.values()))}
            )
            session.execute(_LATER, {"ids": list(self.later), "seconds": list(self.later.values())})


# What comes after a purge must not bring back what it took away.
_DONE = text("""
    UPDATE inbox SET processed_at = now(), outcome = told.outcome, payload = CASE
        WHEN told.outcome = 'purged' THEN payload - 'propertyValue' ELSE payload END
    FROM unnest(CAST(:ids AS bigint[]), CAST(:outcomes AS text[])) AS told(id, outcome)
    WHERE inbox.id = told.id
""")

_LATER = text("""
    UPDATE inbox SET attempts = attempts + 1, due_at = now() + make_interval(secs => told.seconds)
    FROM unnest(CAST(:ids AS bigint[]), CAST(:seconds AS integer[])) AS told(id, seconds)
    WHERE inbox.id = told.id
""")


def _process(portal_id: int, events: Sequence[_Event]) -> None:
    notices = list(
        filter(None, (read_notice(each.id, each.attempts, each.payload) for each in events))
    )
    purged = [ref for each in notices if each.kind == PRIVACY_DELETION for ref in each.ids]
    if purged:
        purge_contacts(portal_id, purged)
    verdicts = classify(portal_id, notices)
    outcomes = _Outcomes({each.id: Verdict.IGNORED for each in events})
    news = []
    for notice in notices:
        verdict, attempts = verdicts[notice.event_id], notice.attempts
        outcomes.done[notice.event_id] = verdict
        if verdict is Verdict.OURS and attempts < PATIENCE_FOR_OURS:
            outcomes.later[notice.event_id] = PAUSES[attempts]
        elif verdict in (Verdict.OURS, Verdict.NEWS):
            news.append(notice)
    for event_id in [*outcomes.later, *(each.event_id for each in news)]:
        del outcomes.done[event_id]
    outcomes.write()
    log.info("webhook events judged", events=len(events), news=len(news))
    if news:
        _read(portal_id, news)


def _read(portal_id: int, news: Sequence[Notice]) -> None:
    client = portals.connect(portal_id)
    portals.ensure_set_up(client, portal_id)
    reading = _Reading(client, portal_id)
    reading.refresh_records(news)
    reading.refresh_associations(news)
    verdicts = classify(portal_id, news, after_reading=True)
    outcomes, gone = _Outcomes(), set()
    for notice in news:
        unseen = [ref for ref in notice.refs if ref in reading.missing | reading.unread]
        verdict = verdicts[notice.event_id]
        if verdict is Verdict.PURGED:
            outcomes.done[notice.event_id] = verdict
        elif not unseen and verdict is Verdict.KNOWN:
            outcomes.done[notice.event_id] = READ
        elif notice.attempts < len(PAUSES) and _is_young(notice):
            outcomes.later[notice.event_id] = PAUSES[notice.attempts]
        else:
            outcomes.done[notice.event_id] = GIVEN_UP if unseen else READ
            gone.update(reading.missing.intersection(unseen))
    for object_type, ids in _by_type(gone):
        apply.archive_missing(portal_id, object_type, ids)
    outcomes.write()


def _is_young(notice: Notice) -> bool:
    return notice.occurred_at > datetime.now(UTC) - NEWS_IS_YOUNG


@dataclass
class _Reading:
    """Asking HubSpot for everything that some news is about."""

    client: HubSpotClient
    portal_id: int
    missing: set[Ref] = field(default_factory=set)
    """HubSpot has them nowhere."""
    unread: set[Ref] = field(default_factory=set)
    """HubSpot would not tell of them."""

    def refresh_records(self, news: Sequence[Notice]) -> None:
        """Read what the news is about, and of associations what the mirror does not know yet."""
        refs = {ref for each in news if not each.association for ref in each.refs}
        ends = _by_type(each.refs[0] for each in news if each.association)
        for object_type, ids in ends:
            known = find_known_ids(self.portal_id, object_type, ids)
            refs |= {(object_type.name, each) for each in ids if each not in known}
        for object_type, ids in _by_type(refs):
            with self._refusals_noted(object_type, ids):
                refreshed = apply.refresh(self.client, self.portal_id, object_type, ids)
                self.missing.update((object_type.name, each) for each in refreshed.missing)

    def refresh_associations(self, news: Sequence[Notice]) -> None:
        """Read which records hang together, as far as the news is about that."""
        wanted: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        for notice in news:
            for other in _others(notice):
                wanted[notice.object_type.name, other.name].add(notice.ids[0])
        for (name, other_name), ids in wanted.items():
            object_type, other_type = OBJECT_TYPES[name], OBJECT_TYPES[other_name]
            known = ids - {each for of_type, each in self.missing if of_type == name}
            with self._refusals_noted(object_type, ids):
                refresh_associations(self.client, self.portal_id, object_type, other_type, known)

    @contextmanager
    def _refusals_noted(self, object_type: ObjectType, ids: Collection[str]) -> Iterator[None]:
        try:
            yield
        except _NARROW as error:
            log.warning("hubspot will not tell", object_type=object_type.name, reason=error.message)
            self.unread.update((object_type.name, each) for each in ids)


def _others(notice: Notice) -> list[ObjectType]:
    """The types of which to read what the notice's record is associated with."""
    if notice.association:
        return [notice.association.to_type]
    # What hangs together with records that were merged or restored HubSpot tells nothing of.
    return list_associated_types(notice.object_type) if notice.kind in (MERGE, RESTORE) else []


def _by_type(refs: Iterable[Ref]) -> Iterator[tuple[ObjectType, list[str]]]:
    by_type: defaultdict[str, set[str]] = defaultdict(set)
    for name, each in refs:
        by_type[name].add(each)
    for name, object_type in OBJECT_TYPES.items():
        if name in by_type:
            yield object_type, sorted(by_type[name])


def _retry_later(portal_id: int, failures: int, error: CRMError) -> None:
    until = datetime.now(UTC) + jobs.back_off(failures, getattr(error, "retry_after", None))
    log.warning("webhook events wait", reason=error.message, until=until.isoformat())
    with transaction():
        enqueue_once(TASK, portal_id, at=until, failures=failures)
