"""Health: whether the service, its dependencies and its workers are up."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any

import redis
import structlog
from flask import current_app
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from crm.extensions import db
from crm.version import VERSION

log = structlog.get_logger(__name__)

_LONGEST = 1.0
"""Seconds for each dependency to answer."""
_NOT_CONFIGURED: Mapping[str, Any] = {"status": "not configured", "response_time_ms": None}
_began = time.monotonic()
# Few threads: those that wait for a dependency which hangs keep others from piling up behind them.
_asking = ThreadPoolExecutor(max_workers=4, thread_name_prefix="health")


def check() -> dict[str, Any]:
    """Ask every dependency; never waits longer than a second for one.

    Returns:
        ``{"status": "healthy" | "unhealthy", "timestamp", "version", "uptime_seconds",
        "dependencies": {name: {"status": "up" | "down" | "not configured", "response_time_ms"}}}``.
    """
    url = current_app.extensions["crm_settings"].redis_url
    dependencies = {
        "database": _timed(partial(_ask_database, db.engine)),
        "redis_cache": _timed(partial(_ask_redis, url)) if url else _NOT_CONFIGURED,
    }
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


def _ask_database(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))


def _ask_redis(url: str) -> None:
    with redis.Redis.from_url(
        url, socket_timeout=_LONGEST, socket_connect_timeout=_LONGEST
    ) as client:
        client.ping()


def _timed(ask: Callable[[], None]) -> Mapping[str, Any]:
    started = time.perf_counter()
    try:
        # In a thread, since neither driver has a time limit for everything that it waits for.
        _asking.submit(ask).result(_LONGEST)
    except (SQLAlchemyError, redis.RedisError, TimeoutError) as error:
        log.warning("dependency down", reason=type(error).__name__)
        return {"status": "down", "response_time_ms": None}
    return {"status": "up", "response_time_ms": round((time.perf_counter() - started) * 1000, 2)}
