"""The job queue: Procrastinate, in the same Postgres as everything else.

A job is enqueued in the caller's own transaction: it exists exactly when the change that it
follows is committed. Services name tasks by their string, so nothing here or there points upward
at ``crm.tasks``.
"""

from datetime import datetime, timedelta
from typing import Any

import procrastinate
from procrastinate.contrib.sqlalchemy import SQLAlchemyPsycopg2Connector
from procrastinate.exceptions import AlreadyEnqueued
from procrastinate.middleware import TaskMiddleware
from sqlalchemy import text

from crm.extensions import db, transaction

HEARTBEAT = timedelta(seconds=2)
STALLED = timedelta(seconds=10)
"""A worker without a heartbeat for so long is taken for dead, and its jobs are given back."""

app = procrastinate.App(connector=SQLAlchemyPsycopg2Connector())

_WAITING = text(
    "SELECT true FROM procrastinate_jobs WHERE queueing_lock = :lock AND status = 'todo'"
)
_LOCK_SHARED = text("SELECT pg_advisory_xact_lock_shared(hashtextextended(:lock, 0))")
_LOCK_ALONE = text("SELECT pg_advisory_xact_lock(hashtextextended(:lock, 0))")


def enqueue(task: str, **arguments: Any) -> None:
    """Enqueue a job in the current transaction."""
    app.configure_task(task, connection=db.session.connection()).defer(**arguments)


def enqueue_once(
    task: str, key: str | int, *, at: datetime | None = None, **arguments: Any
) -> None:
    """Enqueue a job unless one with the same key is waiting; two of them never run at once.

    Call it last in the transaction. The job that is waiting already will see this transaction's
    rows, because it begins with ``wait_for_enqueuers``, which waits for every transaction that
    came through here; and a transaction that still wanted locks of others after this call could
    make the two wait for each other for ever.

    Args:
        task: the task's name.
        key: what the job is about, such as a portal's id; also the task's first argument, ``key``.
        at: not before this time.
        arguments: of the task, as JSON knows them.
    """
    lock = f"{task}:{key}"
    db.session.flush()  # The rows must be written before the lock that promises them is taken.
    db.session.execute(_LOCK_SHARED, {"lock": lock})
    if db.session.scalar(_WAITING, {"lock": lock}):
        return
    deferrer = app.configure_task(
        task,
        lock=lock,
        queueing_lock=lock,
        schedule_at=at,
        connection=db.session.connection(),
    )
    try:
        with db.session.begin_nested():
            deferrer.defer(key=key, **arguments)
    except AlreadyEnqueued:
        # Another transaction was a moment faster; its job will see our rows too.
        return


def wait_for_enqueuers(task: str, key: str | int) -> None:
    """Wait until every transaction that counts on this job, already running, has ended."""
    with transaction() as session:
        session.execute(_LOCK_ALONE, {"lock": f"{task}:{key}"})


def run_worker(database_url: str, *, concurrency: int, around: TaskMiddleware) -> None:
    """Work on jobs until told to stop (SIGTERM, SIGINT), then finish those that are running.

    Args:
        database_url: the same database, for Procrastinate's own psycopg 3 connections.
        concurrency: how many jobs at once, a thread each.
        around: wraps every run of a task.
    """
    with app.replace_connector(procrastinate.PsycopgConnector(conninfo=database_url)) as worker_app:
        worker_app.run_worker(
            concurrency=concurrency,
            delete_jobs="successful",
            update_heartbeat_interval=HEARTBEAT.total_seconds(),
            stalled_worker_timeout=STALLED.total_seconds(),
            shutdown_graceful_timeout=STALLED.total_seconds(),
            task_middleware=[around],
        )


def give_back_stalled_jobs() -> int:
    """Make the jobs of dead workers wait again; returns how many there were.

    A stalled job whose like is waiting already is not needed twice and is dropped.
    """
    with transaction() as session:
        stalled = session.execute(
            text(
                "SELECT jobs.id, EXISTS (SELECT FROM procrastinate_jobs AS waiting"
                " WHERE waiting.status = 'todo' AND waiting.queueing_lock = jobs.queueing_lock)"
                " FROM procrastinate_jobs AS jobs"
                " LEFT JOIN procrastinate_workers AS workers ON workers.id = jobs.worker_id"
                " WHERE jobs.status = 'doing' AND (workers.id IS NULL"
                " OR workers.last_heartbeat < now() - make_interval(secs => :stalled))"
                " FOR UPDATE OF jobs SKIP LOCKED"
            ),
            {"stalled": STALLED.total_seconds()},
        ).all()
        doubled = [job_id for job_id, is_doubled in stalled if is_doubled]
        others = [job_id for job_id, is_doubled in stalled if not is_doubled]
        session.execute(
            text("DELETE FROM procrastinate_jobs WHERE id = ANY(:ids)"), {"ids": doubled}
        )
        session.execute(
            text(
                "SELECT procrastinate_retry_job_v2(id, now(), NULL, NULL, NULL)"
                " FROM unnest(CAST(:ids AS bigint[])) AS id"
            ),
            {"ids": others},
        )
    return len(stalled)
