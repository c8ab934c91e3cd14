"""Health: whether the service, its dependencies and its workers are up."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

import redis
import structlog
from flask import current_app
from sqlalchemy import Engine, func, text, update
from sqlalchemy.exc import SQLAlchemyError

from crm.extensions import db, transaction
from crm.hubspot.account import get_details
from crm.hubspot.errors import HubSpotError, HubSpotRateLimitError
from crm.models import Portal
from crm.services.portals import connect, get_default_portal_id, list_connected_portal_ids
from crm.version import VERSION

log = structlog.get_logger(__name__)

Answer = TypeVar("Answer")

_LONGEST = 0.9
"""Seconds for all dependencies together to answer."""
_NOT_CONFIGURED: Mapping[str, Any] = {"status": "not configured", "response_time_ms": None}
_DOWN: Mapping[str, Any] = {"status": "down", "response_time_ms": None}
_OF_HUBSPOT = ("response_time_ms", "rate_limit_remaining")
_METRICS = ("active_scans", "completed_scans_today", "total_deals_extracted_today")
_began = time.monotonic()
# Few threads: those that wait for a dependency which hangs keep others from piling up behind them.
_asking = ThreadPoolExecutor(max_workers=4, thread_name_prefix="health")

CALLS_LEFT = """greatest(0, max_calls - CASE WHEN closed_until > clock_timestamp() THEN max_calls
    ELSE (SELECT count(*) FROM unnest(calls) AS at WHERE at > clock_timestamp() - period) END)"""
"""SQL for the calls that one of HubSpot's windows allows yet, over ``call_windows``."""

# HubSpot is asked every half a minute; an answer that is older than two of them says nothing.
_KNOWN = text(f"""
    SELECT CASE WHEN asked_at IS NULL OR asked_at < clock_timestamp() - interval '90 seconds'
            THEN 'unknown' WHEN answer_ms IS NULL THEN 'down' ELSE 'up' END AS status,
        answer_ms AS response_time_ms,
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


def check() -> dict[str, Any]:
    """Ask every dependency but HubSpot, of which the last answer is told; within a second.

    HubSpot being down costs only delay, so the service is healthy without it.

    Returns:
        ``{"status": "healthy" | "unhealthy", "timestamp", "version", "uptime_seconds",
        "dependencies": {name: {"status": "up" | "down" | "not configured", "response_time_ms"}}``;
        of ``hubspot_api`` also ``rate_limit_remaining`` and the status ``unknown``; and
        ``"metrics": {"active_scans", "completed_scans_today", "total_deals_extracted_today"}``
        of all organizations, today in UTC, null while the database is down.
    """
    settings = current_app.extensions["crm_settings"]
    until = time.monotonic() + _LONGEST
    database = _asking.submit(_timed, partial(_ask_database, db.engine))
    cache = settings.redis_url and _asking.submit(_timed, partial(_ask_redis, settings.redis_url))
    known, told = _wait_for(database, until)
    hubspot = {name: known and known[name] for name in ("status", *_OF_HUBSPOT)}
    dependencies = {
        "database": told,
        "hubspot_api": {**hubspot, "status": hubspot["status"] or "unknown"}
        if settings.has_portal
        else {**dict.fromkeys(_OF_HUBSPOT), "status": "not configured"},
        "redis_cache": _wait_for(cache, until)[1] if cache else _NOT_CONFIGURED,
    }
    is_healthy = all(dependencies[each]["status"] != "down" for each in ("database", "redis_cache"))
    return {
        "status": "healthy" if is_healthy else "unhealthy",
        "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "version": VERSION,
        "uptime_seconds": int(time.monotonic() - _began),
        "dependencies": dependencies,
        "metrics": {name: known and known[name] for name in _METRICS},
    }


def ask_hubspot() -> None:
    """Ask HubSpot whether it answers us, for all health checks of the next half a minute."""
    with transaction():
        portal_id = get_default_portal_id()
        is_connected = portal_id in list_connected_portal_ids()
    if not is_connected:
        return
    began = time.perf_counter()
    answer_ms: float | None = None
    try:
        get_details(connect(portal_id, someone_waits=True))
        answer_ms = round((time.perf_counter() - began) * 1000, 2)
    except HubSpotRateLimitError:
        return  # It is up, and not to be asked now.
    except HubSpotError as error:
        log.warning("hubspot does not answer", reason=error.message)
    with transaction() as session:
        session.execute(
            update(Portal)
            .where(Portal.id == portal_id)
            .values(asked_at=func.clock_timestamp(), answer_ms=answer_ms)
        )


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
    # In a thread, since the driver has no time limit for everything that it waits for.
    return _asking.submit(ask).result(_LONGEST)


def _ask_database(engine: Engine) -> Mapping[str, Any] | None:
    with engine.connect() as connection:
        return connection.execute(_KNOWN).one()._asdict()


def _ask_redis(url: str) -> None:
    with redis.Redis.from_url(
        url, socket_timeout=_LONGEST, socket_connect_timeout=_LONGEST
    ) as client:
        client.ping()


def _timed(ask: Callable[[], Answer]) -> tuple[Answer, Mapping[str, Any]]:
    started = time.perf_counter()
    answer = ask()
    took_ms = round((time.perf_counter() - started) * 1000, 2)
    return answer, {"status": "up", "response_time_ms": took_ms}


def _wait_for(
    asked: Future[tuple[Answer, Mapping[str, Any]]], until: float
) -> tuple[Answer | None, Mapping[str, Any]]:
    try:
        return asked.result(max(until - time.monotonic(), 0))
    except (SQLAlchemyError, redis.RedisError, TimeoutError) as error:
        log.warning("dependency down", reason=type(error).__name__)
        return None, _DOWN
