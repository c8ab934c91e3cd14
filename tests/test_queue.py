"""The queue: a job exists exactly with the change it follows, never twice, and never too early."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import procrastinate
import pytest
from sqlalchemy import text

import crm.queue as queue_module
from crm.db import db, transaction
from crm.queue import (
    STALLED,
    enqueue,
    enqueue_once,
    forget_failed_jobs,
    give_back_stalled_jobs,
    is_needed,
    wait_for_enqueuers,
)
from crm.queue import app as queue
from tests.conftest import wait_until

pytestmark = pytest.mark.usefixtures("app")

KEY = 7


@pytest.fixture
def run_beside(app):
    """Runs a function in a thread with a session of its own; returns its future."""

    def within_app(function, arguments):
        with app.app_context():
            return function(*arguments)

    with ThreadPoolExecutor(8) as pool:
        yield lambda function, *arguments: pool.submit(within_app, function, arguments)


def enqueue_in_transaction(**options):
    with transaction():
        enqueue_once("push", KEY, **options)


def rows(statement, **parameters):
    with transaction() as session:
        return session.execute(text(statement), parameters).all()


def jobs():
    return rows(
        "SELECT id, status::text, scheduled_at, args, lock FROM procrastinate_jobs ORDER BY id"
    )


def statuses():
    return [job.status for job in jobs()]


def execute(statement, **parameters):
    with transaction() as session:
        return session.execute(text(statement), parameters)


def fetch(worker_id):
    """Take the next job, as a worker does; returns its id, or None."""
    [(job_id,)] = rows("SELECT id FROM procrastinate_fetch_job_v2(NULL, :id)", id=worker_id)
    return job_id


@pytest.fixture
def live_worker():
    [(worker_id,)] = rows("INSERT INTO procrastinate_workers DEFAULT VALUES RETURNING id")
    yield worker_id
    execute("DELETE FROM procrastinate_workers")


@pytest.fixture
def dead_worker():
    [(worker_id,)] = rows(
        "INSERT INTO procrastinate_workers (last_heartbeat)"
        " VALUES (now() - make_interval(secs => :ago)) RETURNING id",
        ago=STALLED.total_seconds() + 1,
    )
    yield worker_id
    execute("DELETE FROM procrastinate_workers")


def finish(job_id):
    execute("SELECT procrastinate_finish_job_v1(:id, 'succeeded', true)", id=job_id)


@pytest.mark.parametrize(
    "enqueuing",
    [lambda: enqueue("push", key=KEY), lambda: enqueue_once("push", KEY)],
    ids=["enqueue", "enqueue_once"],
)
def test_a_job_exists_only_once_its_transaction_is_committed(run_beside, enqueuing):
    with transaction():
        enqueuing()
        before = run_beside(statuses).result()

    assert before == []
    assert statuses() == ["todo"]


@pytest.mark.parametrize(
    "enqueuing",
    [lambda: enqueue("push", key=KEY), lambda: enqueue_once("push", KEY)],
    ids=["enqueue", "enqueue_once"],
)
def test_a_job_is_undone_with_its_transaction(enqueuing):
    def fail():
        with transaction():
            enqueuing()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert jobs() == []


def test_a_job_carries_its_arguments():
    with transaction():
        enqueue_once("push", KEY, more="x")

    [job] = jobs()
    assert job.args == {"key": KEY, "more": "x"}
    assert job.lock == f"push:{KEY}"


def test_one_waiting_job_of_a_kind_is_enough():
    enqueue_in_transaction()
    enqueue_in_transaction()
    with transaction():
        enqueue_once("push", KEY)
        enqueue_once("push", KEY)

    assert statuses() == ["todo"]


def test_other_keys_have_jobs_of_their_own():
    enqueue_in_transaction()
    with transaction():
        enqueue_once("push", KEY + 1)

    assert statuses() == ["todo", "todo"]


def test_while_one_runs_another_waits(live_worker):
    enqueue_in_transaction()
    running = fetch(live_worker)
    enqueue_in_transaction()

    assert statuses() == ["doing", "todo"]
    assert fetch(live_worker) is None

    finish(running)
    assert fetch(live_worker)


@pytest.mark.parametrize("is_committed", [True, False])
def test_of_two_transactions_at_once_one_makes_the_job_and_both_go_on(run_beside, is_committed):
    execute("CREATE TABLE IF NOT EXISTS notes (text text)")
    execute("DELETE FROM notes")

    def second():
        with transaction() as session:
            enqueue_once("push", KEY)
            session.execute(text("INSERT INTO notes VALUES ('the second went on')"))

    enqueue_once("push", KEY)
    going = run_beside(second)
    wait_until(lambda: run_beside(is_somebody_waiting).result())
    was_waiting = not going.done()
    db.session.commit() if is_committed else db.session.rollback()
    going.result(30)

    assert was_waiting
    assert statuses() == ["todo"]
    assert rows("SELECT count(*) FROM notes") == [(1,)]
    execute("DROP TABLE notes")


@pytest.mark.parametrize("offset", [timedelta(hours=1), timedelta(hours=-1)], ids=str)
def test_a_job_may_have_its_time(live_worker, offset):
    at = datetime.now(UTC) + offset

    enqueue_in_transaction(at=at)

    assert jobs()[0].scheduled_at == at
    assert bool(fetch(live_worker)) == (offset < timedelta(0))


def test_jobs_can_be_enqueued_from_within_a_worker(app):
    connector = procrastinate.PsycopgConnector(conninfo=app.extensions["crm_settings"].database_url)
    with queue.replace_connector(connector):
        enqueue_in_transaction()
        with transaction():
            enqueue("push", key=KEY + 1)

    assert statuses() == ["todo", "todo"]


@pytest.fixture
def patient(monkeypatch):
    """A job waits for a minute, so that a busy machine cannot make it give up."""
    monkeypatch.setattr(queue_module, "_SHORT_WAIT", text("SET LOCAL lock_timeout = '60s'"))


def test_a_job_that_began_waits_for_those_who_count_on_it(run_beside, patient):
    enqueue_once("push", KEY)
    waiting = run_beside(wait_for_enqueuers, "push", KEY)
    wait_until(lambda: run_beside(is_somebody_waiting).result())
    was_waiting = not waiting.done()
    db.session.commit()

    waiting.result(30)
    assert was_waiting


def test_it_does_not_wait_for_others(run_beside, patient):
    enqueue_once("push", KEY + 1)

    run_beside(wait_for_enqueuers, "push", KEY).result(30)
    db.session.rollback()


def test_it_does_not_wait_for_ever(run_beside):
    # Nor does it hold up those who come after it for longer than that.
    enqueue_once("push", KEY)
    waiting = run_beside(wait_for_enqueuers, "push", KEY)
    wait_until(lambda: waiting.done() or run_beside(is_somebody_waiting).result())
    later = run_beside(enqueue_in_transaction)

    waiting.result(30)
    db.session.commit()
    later.result(30)


def is_somebody_waiting():
    return rows("SELECT FROM pg_locks WHERE NOT granted")


def test_no_row_is_left_without_a_job_that_will_see_it(app, run_beside, live_worker):
    """Rows are written and jobs finish at the same moments; what is not seen has a job waiting."""
    execute("CREATE TABLE IF NOT EXISTS wakes (id bigserial, seen boolean DEFAULT false)")
    dice = random.Random(5)
    writing = threading.Event()

    def write(pause):
        with transaction() as session:
            session.execute(text("INSERT INTO wakes DEFAULT VALUES"))
            enqueue_once("push", KEY)
            time.sleep(pause)

    def consume():
        while True:
            is_over = not writing.is_set()
            job_id = fetch(live_worker)
            if job_id:
                wait_for_enqueuers("push", KEY)
                execute("UPDATE wakes SET seen = true WHERE NOT seen")
                finish(job_id)
            elif is_over:
                return

    left = []
    for _ in range(60):
        writing.set()
        consumer = run_beside(consume)
        writers = [run_beside(write, dice.uniform(0, 0.006)) for _ in range(3)]
        for each in writers:
            each.result(60)
        writing.clear()
        consumer.result(60)
        left += rows("SELECT id FROM wakes WHERE NOT seen")

    assert rows("SELECT count(*) FROM wakes") == [(180,)]
    assert left == []
    execute("DROP TABLE wakes")


def test_the_job_of_a_dead_worker_waits_again(dead_worker, live_worker):
    enqueue_in_transaction()
    job_id = fetch(dead_worker)

    assert give_back_stalled_jobs() == 1
    assert statuses() == ["todo"]
    assert fetch(live_worker) == job_id


def test_so_does_that_of_a_worker_nobody_knows_any_more(dead_worker):
    enqueue_in_transaction()
    fetch(dead_worker)
    execute("DELETE FROM procrastinate_workers WHERE id = :id", id=dead_worker)

    give_back_stalled_jobs()

    assert statuses() == ["todo"]


def test_the_job_of_a_live_worker_is_left_to_it(live_worker):
    enqueue_in_transaction()
    fetch(live_worker)

    assert give_back_stalled_jobs() == 0
    assert statuses() == ["doing"]


def test_a_stalled_job_whose_like_waits_is_dropped(dead_worker, live_worker):
    enqueue_in_transaction()
    fetch(dead_worker)
    enqueue_in_transaction()
    waiting = jobs()[1].id

    give_back_stalled_jobs()

    assert statuses() == ["todo"]
    assert fetch(live_worker) == waiting


def test_of_two_stalled_jobs_that_are_alike_one_waits_again(dead_worker):
    # Scheduled tasks have a queueing lock but no lock, so that two of them may run.
    for _ in range(2):
        execute(
            "INSERT INTO procrastinate_jobs"
            " (queue_name, task_name, queueing_lock, status, worker_id)"
            " VALUES ('default', 'sweep_unsent', 'sweep_unsent', 'doing', :id)",
            id=dead_worker,
        )
    execute(
        "INSERT INTO procrastinate_periodic_defers (task_name, defer_timestamp, job_id)"
        " SELECT 'sweep_unsent', id, id FROM procrastinate_jobs"
    )

    give_back_stalled_jobs()

    assert statuses() == ["todo"]


def test_jobs_without_a_queueing_lock_all_wait_again(dead_worker):
    with transaction():
        enqueue("push", key=1)
        enqueue("push", key=2)
    fetch(dead_worker)
    fetch(dead_worker)

    give_back_stalled_jobs()

    assert statuses() == ["todo", "todo"]


def test_failed_jobs_can_be_looked_at_for_a_month_and_are_deleted_then():
    for key in (1, 2):
        with transaction():
            enqueue("push", key=key)
    execute("UPDATE procrastinate_jobs SET status = 'doing'")
    execute("UPDATE procrastinate_jobs SET status = 'failed'")
    execute(
        "UPDATE procrastinate_events SET at = now() - interval '31 days'"
        " WHERE job_id = (SELECT min(id) FROM procrastinate_jobs)"
    )

    forget_failed_jobs()

    assert [job.args for job in jobs()] == [{"key": 2}]


def test_jobs_that_wait_are_kept_however_old():
    with transaction():
        enqueue("push", key=1)
    execute("UPDATE procrastinate_events SET at = now() - interval '31 days'")

    forget_failed_jobs()

    assert statuses() == ["todo"]


def test_a_long_job_makes_way_when_others_could_run(live_worker):
    enqueue_in_transaction()
    before = is_needed()
    fetch(live_worker)

    assert before
    assert not is_needed()


def test_a_long_job_does_not_make_way_for_one_that_waits_for_its_like(live_worker):
    enqueue_in_transaction()
    fetch(live_worker)

    enqueue_in_transaction()

    assert not is_needed()


def test_a_long_job_does_not_make_way_for_one_whose_time_has_not_come():
    enqueue_in_transaction(at=datetime.now(UTC) + timedelta(minutes=1))

    assert not is_needed()
