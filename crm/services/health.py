"""Health: whether the service, its dependencies and its workers are up."""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import redis
import structlog
from flask import current_app
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from crm.extensions import db

log = structlog.get_logger(__name__)

VERSION = "0.1.0"
_LONGEST = 1.0
"""Seconds for each dependency to answer."""
_began = time.monotonic()


def check() -> dict[str, Any]:
    """Ask every dependency; never waits longer than a second for one.

    Returns:
        ``{"status": "healthy" | "unhealthy", "timestamp", "version", "uptime_seconds",
        "dependencies": {name: {"status": "up" | "down" | "not configured", "response_time_ms"}}}``.
    """
    dependencies = {"database": _timed(_ask_database), "redis_cache": _redis()}
    is_healthy = all(each["status"] != "down" for each in dependencies.values())
    return {
        "status": "healthy" if is_healthy else "unhealthy",
        "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "version": VERSION,
        "uptime_seconds": int(time.monotonic() - _began),
        "dependencies": dependencies,
    }


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


def _ask_database() -> None:
    db.session.execute(text("SELECT 1"))
    db.session.rollback()


def _redis() -> Mapping[str, Any]:
    url = current_app.extensions["crm_settings"].redis_url
    if not url:
        return {"status": "not configured", "response_time_ms": None}

    def ask() -> None:
        with redis.Redis.from_url(
            url, socket_timeout=_LONGEST, socket_connect_timeout=_LONGEST
        ) as client:
            client.ping()

    return _timed(ask)


def _timed(ask: Callable[[], None]) -> Mapping[str, Any]:
    started = time.perf_counter()
    try:
        ask()
    except (SQLAlchemyError, redis.RedisError) as error:
        log.warning("dependency down", reason=type(error).__name__)
        return {"status": "down", "response_time_ms": None}
    return {"status": "up", "response_time_ms": round((time.perf_counter() - started) * 1000, 2)}
