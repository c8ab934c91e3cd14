"""Check whether the service, its dependencies and its workers are up."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Lock
from typing import Any, TypeVar

import redis
import structlog
from flask import current_app
from sqlalchemy import Engine, func, or_, text, update

from crm.db import db, transaction
from crm.hubspot.account import get_details
from crm.hubspot.errors import HubSpotError, HubSpotRateLimitError
from crm.hubspot.probe import probe
from crm.models import Portal
from crm.outages import CONNECT, DATABASE_ERRORS, no_longer_than
from crm.portals.portals import connect, get_default_portal_id, list_connected_portal_ids
from crm.version import VERSION

log = structlog.get_logger(__name__)

Answer = TypeVar("Answer")

_LONGEST = 0.9
"""Seconds for all dependencies together to answer."""
_HEALTHY, _UNHEALTHY = "healthy", "unhealthy"
_DOWN: Mapping[str, Any] = {"status": _UNHEALTHY, "response_time_ms": None}
# Without a Redis of our own, what it would hold is in this process's memory.
_IN_MEMORY: Mapping[str, Any] = {"status": _HEALTHY, "response_time_ms": 0.0}
_OF_HUBSPOT = ("status", "response_time_ms", "rate_limit_remaining")
_METRICS = ("active_scans", "completed_scans_today", "total_deals_extracted_today")
_ASKED_EVERY = timedelta(seconds=30)
_BROKEN = 500
"""The status from which on an answer says that the other side is broken."""
_began = time.monotonic()
# A thread for each dependency, and some for the metrics, which take longer.
_asking = ThreadPoolExecutor(max_workers=3, thread_name_prefix="health")
_gauging = ThreadPoolExecutor(max_workers=2, thread_name_prefix="gauges")

CALLS_LEFT = """greatest(0, max_calls - CASE WHEN closed_until > clock_timestamp() THEN max_calls
    ELSE (SELECT count(*) FROM unnest(calls) AS at WHERE at > clock_timestamp() - period) END)"""
"""SQL for the calls that one of HubSpot's windows allows yet, over ``call_windows``."""

# An answer that is older than three of the times between two says nothing.
_KNOWN = text(f"""
    SELECT CASE WHEN answer_ms IS NULL OR asked_at < clock_timestamp() - interval '90 seconds'
            THEN 'unhealthy' ELSE 'healthy' END AS status,
        answer_ms AS response_time_ms,
        coalesce(asked_at < clock_timestamp() - :asked_every, true) AS is_due,
        (SELECT count(*) FROM scans WHERE status IN ('pending', 'running')) AS active_scans,
        today.*,
        (SELECT {CALLS_LEFT} FROM call_windows
            WHERE portal_id = portals.id AND kind = 'general') AS rate_limit_remaining
    FROM portals JOIN organizations ON organizations.id = organization_id,
        LATERAL (SELECT count(*) AS completed_scans_today,
                coalesce(sum(processed_items), 0) AS total_deals_extracted_today
            FROM scans WHERE status = 'completed'
                AND completed_at >= date_trunc('day', clock_timestamp(), 'UTC')) AS today
    WHERE organizations.name = 'Default'
""")  # noqa: S608 - our own SQL

Known = dict[str, Any]


@dataclass
class _Asking:
    """What is being asked for an app: however many want to know, each dependency is asked once."""

    lock: Lock = field(default_factory=Lock)
    under_way: dict[str, Future[Any]] = field(default_factory=dict)

    def ask(self, name: str, question: Callable[[], Answer]) -> Future[Answer]:
        """The answer to a question that is asked already, or now."""
        with self.lock:
            found = self.under_way.get(name)
            if found is None or found.done():
                found = self.under_way[name] = _asking.submit(question)
            return found

    def is_under_way(self, name: str) -> bool:
        """Whether this process waits for an answer."""
        with self.lock:
            return name in self.under_way and not self.under_way[name].done()


def check() -> dict[str, Any]:
    """Ask every dependency, within a second; HubSpot at most every half a minute.

    HubSpot being down costs only delay, so the service is healthy without it.

    Returns:
        ``{"status": "healthy" | "unhealthy", "timestamp", "version", "uptime_seconds",
        "dependencies": {name: {"status": "healthy" | "unhealthy", "response_time_ms"}}``, of
        ``hubspot_api`` also ``rate_limit_remaining``; and ``"metrics": {"active_scans",
        "completed_scans_today", "total_deals_extracted_today"}`` of all organizations, today in
        UTC, null while the database is down.
    """
    settings = current_app.extensions["crm_settings"]
    until = time.monotonic() + _LONGEST
    asking: _Asking = current_app.extensions.setdefault("crm_health", _Asking())
    database = asking.ask("database", partial(_timed, partial(_ask_database, db.engine)))
    cache = settings.redis_url and asking.ask(
        "redis", partial(_timed, partial(_ask_redis, settings.redis_url))
    )
    known, state = _wait_for(database, until)
    dependencies = {
        "database": state,
        "hubspot_api": _look_at_hubspot(asking, known, until),
        "redis_cache": _wait_for(cache, until)[1] if cache else _IN_MEMORY,
    }
    works = all(dependencies[each]["status"] == _HEALTHY for each in ("database", "redis_cache"))
    return {
        "status": _HEALTHY if works else _UNHEALTHY,
        "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "version": VERSION,
        "uptime_seconds": int(time.monotonic() - _began),
        "dependencies": dependencies,
        "metrics": {name: known and known[name] for name in _METRICS},
    }


def check_with_hubspot() -> dict[str, Any]:
    """As ``check``, but unhealthy when HubSpot is down, too."""
    found = check()
    if found["dependencies"]["hubspot_api"]["status"] == _UNHEALTHY:
        found["status"] = _UNHEALTHY
    return found


def ask_hubspot() -> Known:
    """Ask HubSpot whether it answers, unless any process did within the last half a minute.

    Returns:
        ``{"status", "response_time_ms"}``, or nothing if it was not asked.
    """
    is_ours = or_(
        Portal.asked_at.is_(None), Portal.asked_at < func.clock_timestamp() - _ASKED_EVERY
    )
    with transaction() as session:
        portal_id = get_default_portal_id()
        is_connected = portal_id in list_connected_portal_ids()
        row = update(Portal).where(Portal.id == portal_id)
        claim = row.where(is_ours).values(asked_at=func.clock_timestamp()).returning(Portal.id)
        if session.scalar(claim) is None:
            return {}
    answer_ms = _time_hubspot(portal_id, is_connected=is_connected)
    with transaction() as session:
        session.execute(row.values(asked_at=func.clock_timestamp(), answer_ms=answer_ms))
    return {
        "status": _UNHEALTHY if answer_ms is None else _HEALTHY,
        "response_time_ms": answer_ms,
    }


def _time_hubspot(portal_id: int, *, is_connected: bool) -> float | None:
    began = time.perf_counter()
    try:
        if is_connected:
            get_details(connect(portal_id, someone_waits=True))
        elif probe("GET", current_app.extensions["crm_settings"].hubspot_api_url).status >= _BROKEN:
            return None
    except HubSpotRateLimitError:
        pass  # It answers: that there were too many calls.
    except HubSpotError as error:
        log.warning("hubspot does not answer", reason=error.message)
        return None
    return round((time.perf_counter() - began) * 1000, 2)


def _look_at_hubspot(asking: _Asking, known: Known | None, until: float) -> Known:
    if known is None:
        return {**dict.fromkeys(_OF_HUBSPOT), "status": _UNHEALTHY}
    found = {name: known[name] for name in _OF_HUBSPOT}  # As it answered last.
    if not known["is_due"] and not asking.is_under_way("hubspot"):
        return found
    # The app itself, since another thread has no current one.
    ask = partial(_ask_hubspot_within, current_app._get_current_object().app_context())  # type: ignore[attr-defined]
    try:
        return found | asking.ask("hubspot", ask).result(_left(until))
    except (*DATABASE_ERRORS, TimeoutError) as error:
        log.warning("hubspot does not answer yet", reason=type(error).__name__)
        return found


def _ask_hubspot_within(context: AbstractContextManager[Any]) -> Known:
    with context, no_longer_than(CONNECT):
        return ask_hubspot()


def has_live_worker() -> bool:
    """Whether any worker has shown a sign of life within half a minute."""
    return bool(
        db.session.scalar(
            text(
                "SELECT EXISTS (SELECT FROM procrastinate_workers"
                " WHERE last_heartbeat > now() - interval '30 seconds')"
            )
        )
    )


def within_a_second(ask: Callable[[], Answer]) -> Answer:
    """Ask the database something that is not worth waiting for.

    Raises:
        TimeoutError: it took longer.
    """
    return _gauging.submit(partial(_briefly, ask)).result(_LONGEST)


def _briefly(ask: Callable[[], Answer]) -> Answer:
    # So that no thread waits on when nobody does any more.
    with no_longer_than(_LONGEST):
        return ask()


def _ask_database(engine: Engine) -> Known | None:
    with engine.connect() as connection:
        return connection.execute(_KNOWN, {"asked_every": _ASKED_EVERY}).one()._asdict()


def _ask_redis(url: str) -> None:
    with redis.Redis.from_url(
        url, socket_timeout=_LONGEST, socket_connect_timeout=_LONGEST
    ) as client:
        client.ping()


def _timed(ask: Callable[[], Answer]) -> tuple[Answer, Mapping[str, Any]]:
    started = time.perf_counter()
    answer = _briefly(ask)
    took_ms = round((time.perf_counter() - started) * 1000, 2)
    return answer, {"status": _HEALTHY, "response_time_ms": took_ms}


def _wait_for(
    asked: Future[tuple[Answer, Mapping[str, Any]]], until: float
) -> tuple[Answer | None, Mapping[str, Any]]:
    try:
        return asked.result(_left(until))
    except (*DATABASE_ERRORS, redis.RedisError, TimeoutError) as error:
        log.warning("dependency down", reason=type(error).__name__)
        return None, _DOWN


def _left(until: float) -> float:
    return max(until - time.monotonic(), 0)
