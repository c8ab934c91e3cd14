"""The job queue: Procrastinate, in the same Postgres as everything else.

A job is enqueued in the caller's own transaction: it exists exactly when the change that it
follows is committed. Domains name tasks by their string, so nothing here or there points upward
at ``crm.tasks``.
"""

import asyncio
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, LiteralString

import procrastinate
import psycopg
import structlog
from procrastinate.contrib.sqlalchemy import SQLAlchemyPsycopg2Connector
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException
from procrastinate.jobs import JobDeferrer
from procrastinate.manager import JobManager
from procrastinate.middleware import TaskMiddleware
from psycopg2.errors import LockNotAvailable
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from crm.db import db, transaction

log = structlog.get_logger(__name__)

HEARTBEAT = timedelta(seconds=2)
STALLED = timedelta(seconds=10)
"""A worker without a heartbeat for so long is taken for dead, and its jobs are given back."""
KEPT = timedelta(days=30)
"""How long a job that failed can be looked at."""
POLLING = timedelta(seconds=1)
"""How often a worker looks for jobs whose time has come; of new ones it is told at once."""

_RESTART_PAUSE = 2.0
_LONGEST_WAIT_FOR_A_CONNECTION = 10.0

_leaving = threading.Event()
_through_session = SQLAlchemyPsycopg2Connector()
_session_jobs = JobManager(connector=_through_session)
app = procrastinate.App(connector=_through_session)

_WAITING = text(
    "SELECT true FROM procrastinate_jobs WHERE queueing_lock = :lock AND status = 'todo'"
)
_RUNNING = text("SELECT id FROM procrastinate_jobs WHERE lock = :lock AND status = 'doing'")
_LOCK_SHARED = text("SELECT pg_advisory_xact_lock_shared(hashtextextended(:lock, 0))")
_LOCK_ALONE = text("SELECT pg_advisory_xact_lock(hashtextextended(:lock, 0))")
_FORGET_FAILED = text(
    "DELETE FROM procrastinate_jobs AS jobs"
    " WHERE status IN ('failed', 'cancelled', 'aborted') AND NOT EXISTS ("
    "SELECT FROM procrastinate_events"
    " WHERE job_id = jobs.id AND at > now() - make_interval(days => :days))"
)
# Where there is room, what was enqueued is taken at once, and what has a time a second later.
_NEEDED = text("""
    SELECT EXISTS (SELECT FROM procrastinate_jobs AS jobs WHERE status = 'todo'
        AND (scheduled_at IS NULL OR scheduled_at < now() - interval '2 seconds')
        AND NOT EXISTS (SELECT FROM procrastinate_jobs AS others
            WHERE others.lock = jobs.lock AND others.status = 'doing'))
""")
_SHORT_WAIT = text("SET LOCAL lock_timeout = '1s'")

_STALLED_JOBS = text("""
    SELECT jobs.id, jobs.queueing_lock, EXISTS (
        SELECT FROM procrastinate_jobs AS waiting
        WHERE waiting.status = 'todo' AND waiting.queueing_lock = jobs.queueing_lock)
    FROM procrastinate_jobs AS jobs
    LEFT JOIN procrastinate_workers AS workers ON workers.id = jobs.worker_id
    WHERE jobs.status = 'doing' AND (
        workers.id IS NULL OR workers.last_heartbeat < now() - make_interval(secs => :stalled))
    ORDER BY jobs.id
    FOR UPDATE OF jobs SKIP LOCKED
""")


def enqueue(task: str, **arguments: Any) -> None:
    """Enqueue a job in the current transaction."""
    _deferrer(task).defer(**arguments)


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
    try:
        with db.session.begin_nested():
            # Only a connection taken here is within the savepoint. Without it a conflict would
            # abort the whole transaction, and its commit would undo it without a word.
            deferrer = _deferrer(task, lock=lock, queueing_lock=lock, schedule_at=at)
            deferrer.defer(key=key, **arguments)
    except AlreadyEnqueued:
        # Another transaction was a moment faster; its job will see our rows too.
        return


def list_running(task: str, key: str | int) -> set[int]:
    """The jobs with this key that are running: one, or a dead worker's besides."""
    with transaction() as session:
        return set(session.scalars(_RUNNING, {"lock": f"{task}:{key}"}))


def wait_for_enqueuers(task: str, key: str | int) -> None:
    """Wait until every transaction that counts on this job, already running, has ended.

    One that hangs is waited for briefly, since all that come after it stand in line meanwhile;
    what it commits in the end, the sweep will find.
    """
    try:
        with transaction() as session:
            session.execute(_SHORT_WAIT)
            session.execute(_LOCK_ALONE, {"lock": f"{task}:{key}"})
    except OperationalError as error:
        if not isinstance(error.orig, LockNotAvailable):
            raise
        log.warning("a transaction that enqueued hangs", task=task, key=key)


def is_leaving() -> bool:
    """Whether this worker was told to stop, so that a long job should leave the rest to others."""
    return _leaving.is_set()


def is_needed() -> bool:
    """Whether jobs wait because every worker is busy, so that a long one should make way."""
    with transaction() as session:
        return bool(session.scalar(_NEEDED))


def run_worker(
    database_url: str, *, concurrency: int, around: TaskMiddleware, heartbeat: Path | None = None
) -> None:
    """Work on jobs until told to stop (SIGTERM, SIGINT), then finish those that are running.

    Args:
        database_url: the same database, for Procrastinate's own psycopg 3 connections.
        concurrency: how many jobs at once, a thread each.
        around: wraps every run of a task.
        heartbeat: a file that is touched with each sign of life that the database has taken.
    """
    asyncio.run(
        _work_until_stopped(
            partial(_WorkerConnector, database_url, heartbeat),
            concurrency=concurrency,
            delete_jobs="successful",
            fetch_job_polling_interval=POLLING.total_seconds(),
            update_heartbeat_interval=HEARTBEAT.total_seconds(),
            stalled_worker_timeout=STALLED.total_seconds(),
            shutdown_graceful_timeout=STALLED.total_seconds(),
            task_middleware=[around],
            install_signal_handlers=False,
        )
    )


class _WorkerConnector(procrastinate.PsycopgConnector):
    """Procrastinate's own connections; ``lost`` is set when the database failed to do its bit.

    Procrastinate gives up when it can neither fetch a job nor show a sign of life, but does not
    notice when it cannot write down that a job has ended: that job would run for ever, as far as
    everyone else can see, and hold its lock.
    """

    def __init__(self, database_url: str, heartbeat: Path | None) -> None:
        super().__init__(conninfo=database_url, timeout=_LONGEST_WAIT_FOR_A_CONNECTION)
        self.lost = asyncio.Event()
        self._heartbeat = heartbeat

    async def execute_query_async(self, query: LiteralString, **arguments: Any) -> None:
        """Do what ends a job and what shows a sign of life, among others."""
        try:
            await super().execute_query_async(query, **arguments)
        except ConnectorException:
            self.lost.set()
            raise
        if self._heartbeat:
            self._heartbeat.touch()


async def _work_until_stopped(connect: Callable[[], _WorkerConnector], **options: Any) -> None:
    """Run Procrastinate's worker, and a new one whenever the database was lost."""
    stopped = asyncio.Event()
    _leaving.clear()

    def stop() -> None:
        stopped.set()
        _leaving.set()

    for each in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(each, stop)
    while not stopped.is_set():
        connector = connect()
        working = asyncio.create_task(_work(connector, options))
        await _first(working, stopped.wait(), connector.lost.wait())
        working.cancel()
        try:
            with suppress(asyncio.CancelledError):
                await working
        except (ConnectorException, psycopg.Error, OSError) as error:
            log.warning("worker lost its database", reason=str(error.__cause__ or error).strip())
        if not stopped.is_set():
            log.info("worker starts anew", pause=_RESTART_PAUSE)
            await _first(stopped.wait(), asyncio.sleep(_RESTART_PAUSE))


async def _work(connector: _WorkerConnector, options: Any) -> None:
    with app.replace_connector(connector) as worker_app:
        async with worker_app.open_async():
            await worker_app.run_worker_async(**options)


async def _first(*waited_for: Any) -> None:
    """Wait for the first of several; the others, unless given as tasks, are dropped."""
    tasks = [asyncio.ensure_future(each) for each in waited_for]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task, each in zip(tasks, waited_for, strict=True):
        if task is not each:
            task.cancel()


def _deferrer(task: str, **options: Any) -> JobDeferrer:
    deferrer = app.configure_task(task, connection=db.session.connection(), **options)
    # Within a worker the app has that worker's connector, which cannot use the session's.
    deferrer.job_manager = _session_jobs
    return deferrer


def forget_failed_jobs() -> None:
    """Delete jobs that failed long ago; those that succeeded are deleted at once."""
    with transaction() as session:
        session.execute(_FORGET_FAILED, {"days": KEPT.days})


def give_back_stalled_jobs() -> int:
    """Make the jobs of dead workers wait again; returns how many there were.

    A stalled job whose like is waiting already is not needed twice and is dropped.
    """
    with transaction() as session:
        stalled = session.execute(_STALLED_JOBS, {"stalled": STALLED.total_seconds()}).all()
        # Of several stalled jobs that are alike, one is enough too.
        wanted = {lock or job_id: job_id for job_id, lock, is_doubled in stalled if not is_doubled}
        others = list(wanted.values())
        doubled = [job_id for job_id, *_ in stalled if job_id not in others]
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
