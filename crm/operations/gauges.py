"""Measure the service's state in the database, for those who watch it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from crm.db import db
from crm.operations import health

# A label's value, or several, and then the figure.
_JOBS = """
    VALUES ('todo', (SELECT count(*) FROM procrastinate_jobs WHERE status = 'todo')),
        ('doing', (SELECT count(*) FROM procrastinate_jobs WHERE status = 'doing'))
"""
# A job is due when it was enqueued, or at the time for which it was.
_OLDEST_JOB = """
    SELECT coalesce(extract(epoch FROM max(clock_timestamp() - coalesce(scheduled_at, (
        SELECT min(at) FROM procrastinate_events WHERE job_id = jobs.id)))), 0)
    FROM procrastinate_jobs AS jobs
    WHERE status = 'todo' AND (scheduled_at IS NULL OR scheduled_at <= clock_timestamp())
"""
_PUSHES = """
    VALUES ('records', 'pending', (SELECT count(*) FROM records WHERE state = 'pending')),
        ('records', 'rejected', (SELECT count(*) FROM records WHERE state = 'rejected')),
        ('associations', 'pending', (SELECT count(*) FROM associations WHERE state = 'pending')),
        ('associations', 'rejected', (SELECT count(*) FROM associations WHERE state = 'rejected'))
"""
_WEBHOOK_LAG = """
    SELECT coalesce(extract(epoch FROM clock_timestamp() - least(
        (SELECT min(received_at) FROM deliveries),
        (SELECT min(received_at) FROM inbox WHERE processed_at IS NULL))), 0)
"""
_CALLS_LEFT = f"""
    SELECT coalesce(hub_id::text, ''), kind, {health.CALLS_LEFT}
    FROM call_windows JOIN portals ON portals.id = portal_id
    UNION ALL
    SELECT (-portal_id)::text, kind, {health.CALLS_LEFT} FROM call_windows WHERE portal_id < 0
    UNION ALL
    SELECT coalesce(hub_id::text, ''), 'day', greatest(0, max_calls - CASE
        WHEN closed_until > clock_timestamp() THEN max_calls
        WHEN began_at = date_trunc('day', clock_timestamp(), time_zone) THEN used ELSE 0 END)
    FROM day_quotas JOIN portals ON portals.id = portal_id WHERE max_calls IS NOT NULL
"""  # noqa: S608 - our own SQL


_SCANS = """
    SELECT status, count(scans.id) FROM unnest(
        ARRAY['pending', 'running', 'completed', 'failed', 'cancelled']) AS status
    LEFT JOIN scans USING (status) GROUP BY status
"""


@dataclass(frozen=True)
class Gauge:
    """One family of figures."""

    name: str
    description: str
    labels: Sequence[str]
    values: Sequence[tuple[Sequence[str], float]]
    """The labels' values, and the figure."""


@dataclass(frozen=True)
class _Question:
    name: str
    description: str
    labels: Sequence[str]
    sql: str


_QUESTIONS = (
    _Question("crm_jobs", "Background jobs that wait or run.", ("status",), _JOBS),
    _Question("crm_oldest_job_seconds", "How long the oldest due job waits.", (), _OLDEST_JOB),
    _Question("crm_pushes", "What HubSpot has not yet, or refused.", ("kind", "state"), _PUSHES),
    _Question(
        "crm_webhook_lag_seconds",
        "How long the oldest event from HubSpot waits to be acted on.",
        (),
        _WEBHOOK_LAG,
    ),
    _Question(
        "crm_hubspot_calls_left",
        "Calls that HubSpot allows yet: in its windows, and of the day.",
        ("portal", "kind"),
        _CALLS_LEFT,
    ),
    _Question("crm_scans", "Deal extractions that are kept.", ("status",), _SCANS),
)


def read_gauges() -> list[Gauge]:
    """Every gauge; while the database is down, only the one that says so."""
    try:
        gauges = health.within_a_second(partial(_read, db.engine))
    except (SQLAlchemyError, TimeoutError):
        return [_database(0)]
    return [_database(1), *gauges]


def _read(engine: Engine) -> list[Gauge]:
    with engine.connect() as connection:
        return [
            Gauge(
                each.name,
                each.description,
                each.labels,
                [(labels, figure) for *labels, figure in connection.execute(text(each.sql))],
            )
            for each in _QUESTIONS
        ]


def _database(is_up: int) -> Gauge:
    return Gauge("crm_database_up", "Whether the database answers.", (), [((), is_up)])
