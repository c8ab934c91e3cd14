"""The worker as a process: killed, asked to stop, deprived of its database. Nothing is lost."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import flask_migrate
import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from crm import create_app
from crm.accounts import registration
from crm.accounts.registration import NewDeal
from crm.config import Settings
from crm.db import db, transaction
from crm.queue import give_back_stalled_jobs
from hubspot_sandbox import SandboxServer
from tests.conftest import PASSWORD, wait_until
from tests.domains.graphs import CONTACT, DEAL, TICKET, pairs_in, records_in, states
from tests.forked import Workers
from tests.sandbox.client import HubSpot

ROOT = Path(__file__).resolve().parents[1]
PEOPLE = 120
ROUNDS = 8
LATENCY_MS = 40
LONGEST = 90


def environment(settings: Settings, folder: Path) -> dict[str, str]:
    """What ``flask worker`` is to find in its environment."""
    names = ("DATABASE_URL", "SECRET_KEY", "JWT_SECRET_KEY", "HUBSPOT_API_URL")
    given = {name: getattr(settings, name.lower()) for name in names}
    given["HUBSPOT_PRIVATE_APP_TOKEN"] = settings.hubspot_private_app_token
    return {**os.environ, **given, "DATA_DIR": str(folder)}


@contextmanager
def flask_worker(settings: Settings, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """``flask worker``, as it is started in earnest; its log and heartbeat are in the folder."""
    command = [sys.executable, "-m", "flask", "--app", "crm", "worker"]
    with (folder / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--heartbeat", str(folder / "heartbeat")],
            cwd=ROOT,
            env=environment(settings, folder),
            stdout=log,
            stderr=log,
        )
    yield process
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the workers of a test have told."""
    return tmp_path_factory.mktemp("workers") / "worker.log"


@pytest.fixture(scope="module")
def _mother(make_settings: Callable[..., Settings], log: Path) -> Iterator[Workers]:
    with log.open("ab") as file, Workers(environment(make_settings(), log.parent), file) as workers:
        yield workers


@pytest.fixture
def workers(app: Flask, _mother: Workers, log: Path) -> Iterator[Workers]:
    """Starts workers at once; what they wrote down of themselves is removed."""
    os.truncate(log, 0)
    yield _mother
    _mother.kill_all()
    forget_workers()


def forget_workers() -> None:
    with transaction() as session:
        session.execute(text("DELETE FROM procrastinate_jobs"))
        session.execute(text("DELETE FROM procrastinate_workers"))


@pytest.fixture
def slow_sandbox(sandbox: SandboxServer) -> Iterator[SandboxServer]:
    sandbox.sandbox.settings.latency_ms = LATENCY_MS
    yield sandbox
    sandbox.sandbox.settings.latency_ms = 0


@pytest.fixture
def hubspot(sandbox: SandboxServer) -> Iterator[HubSpot]:
    client = HubSpot(sandbox.url)
    with client.session:
        yield client


def register(app: Flask, email: str) -> None:
    with app.app_context():
        deal = NewDeal({**DEAL, "dealname": email}, [{**TICKET, "subject": email}])
        registration.register(email=email, password=PASSWORD, contact=CONTACT, deals=[deal])


def count(statement: str) -> int:
    with transaction() as session:
        return int(session.execute(text(statement)).scalar_one())


def is_all_synced() -> bool:
    return all("synced" in each for each in states())


def let_time_pass() -> int:
    """What nobody has heard of since is dead; returns how many jobs it had begun."""
    with transaction() as session:
        session.execute(
            text("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 minute'")
        )
    return give_back_stalled_jobs()


def wait_for_a_write(sandbox: SandboxServer) -> None:
    sandbox.clear_requests()
    wait_until(lambda: any("/batch/" in route for route in sandbox.requests()["by_route"]))


def in_hubspot_once(hubspot: HubSpot, emails: set[str]) -> None:
    """Assert that each person's graph stands in HubSpot, whole and once."""
    named = {"contacts": "email", "deals": "dealname", "tickets": "subject"}
    found: dict[str, dict[str, str]] = {}
    for object_type, name in named.items():
        records = records_in(hubspot, object_type, name)
        times = Counter(each["properties"][name] for each in records)
        assert {key: times[key] for key in times if times[key] > 1} == {}
        assert emails - times.keys() == set()
        found[object_type] = {each["id"]: each["properties"][name] for each in records}
    for from_type, to_type in (("contacts", "deals"), ("deals", "tickets")):
        pairs = [
            (found[from_type][from_id], found[to_type][to_id])
            for from_id, to_id in pairs_in(hubspot, from_type, to_type)
        ]
        assert all(from_name == to_name for from_name, to_name in pairs)
        assert emails - {name for name, _ in pairs} == set()
        assert len(pairs) == len(set(pairs))


def test_a_worker_killed_at_random_loses_nothing_and_doubles_nothing(
    app, workers, slow_sandbox, hubspot
):
    dice = random.Random(20261121)
    emails = [f"person{number}@example.com" for number in range(PEOPLE)]
    killed_within_a_job = 0
    with ThreadPoolExecutor(4) as pool:
        for number in range(ROUNDS):
            registering = [pool.submit(register, app, email) for email in emails[number::ROUNDS]]
            worker = workers.start()
            wait_for_a_write(slow_sandbox)
            time.sleep(dice.uniform(0, 8 * LATENCY_MS / 1000))
            workers.kill(worker)
            killed_within_a_job += let_time_pass()
            for each in registering:
                each.result()
    worker = workers.start()
    wait_until(is_all_synced, LONGEST)
    workers.stop(worker)

    assert killed_within_a_job
    assert states() == {
        "contacts synced": PEOPLE,
        "deals synced": PEOPLE,
        "tickets synced": PEOPLE,
        "associations synced": 2 * PEOPLE,
    }
    assert len(records_in(hubspot, "contacts")) == PEOPLE
    assert len(records_in(hubspot, "deals")) == PEOPLE
    assert len(records_in(hubspot, "tickets")) == PEOPLE
    in_hubspot_once(hubspot, set(emails))


@pytest.mark.long
def test_a_job_whose_worker_died_is_done_by_another(app, workers, slow_sandbox):
    worker = workers.start()
    wait_until(lambda: count("SELECT count(*) FROM procrastinate_workers") == 1)
    register(app, "ada@example.com")
    wait_for_a_write(slow_sandbox)
    workers.kill(worker)
    workers.start()

    wait_until(is_all_synced, LONGEST)


@pytest.mark.one_of_many
@pytest.mark.parametrize("asked_by", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_is_asked_to_stop_finishes_what_it_began(
    app, slow_sandbox, tmp_path, asked_by
):
    with flask_worker(app.extensions["crm_settings"], tmp_path) as worker:
        register(app, "ada@example.com")
        wait_for_a_write(slow_sandbox)
        began = time.monotonic()
        worker.send_signal(asked_by)
        code = worker.wait(LONGEST)
        took = time.monotonic() - began
    left = count("SELECT count(*) FROM procrastinate_workers")
    said = (tmp_path / "worker.log").read_text()
    is_done = is_all_synced()
    unfinished = count("SELECT count(*) FROM procrastinate_jobs WHERE status = 'doing'")
    forget_workers()

    assert code == 0, said
    assert took < 10  # Seconds that `docker stop` leaves it.
    assert is_done
    assert (left, unfinished) == (0, 0)
    assert "Traceback" not in said


def test_a_push_resumes_by_itself_when_hubspot_is_back(app, workers, sandbox, hubspot):
    sandbox.stop()
    register(app, "ada@example.com")
    workers.start()
    wait_until(lambda: count("SELECT push_failures FROM portals") >= 2)
    sandbox.start()

    wait_until(is_all_synced, LONGEST)

    in_hubspot_once(hubspot, {"ada@example.com"})


def test_a_worker_that_was_suspended_goes_on(app, workers, log, sandbox, hubspot):
    """Like a laptop that slept: meanwhile everyone took it for dead."""
    worker = workers.start()
    wait_until(lambda: count("SELECT count(*) FROM portals WHERE set_up_at IS NOT NULL"))
    wait_until(lambda: not count("SELECT count(*) FROM procrastinate_jobs"))
    os.kill(worker, signal.SIGSTOP)
    with transaction() as session:
        session.execute(text("DELETE FROM procrastinate_workers"))
    register(app, "ada@example.com")
    os.kill(worker, signal.SIGCONT)

    wait_until(is_all_synced, LONGEST)

    assert workers.is_alive(worker)
    assert "worker lost its database" in log.read_text()
    in_hubspot_once(hubspot, {"ada@example.com"})


@pytest.fixture
def ends_cannot_be_written() -> Iterator[None]:
    """As when the connection breaks just when a job has ended."""
    statements = (
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql"
        " AS $$ BEGIN RAISE 'not now'; END $$",
        "CREATE TRIGGER refuse BEFORE DELETE ON procrastinate_jobs"
        " FOR EACH ROW WHEN (old.task_name = 'push') EXECUTE FUNCTION refuse()",
    )
    with transaction() as session:
        for each in statements:
            session.execute(text(each))
    yield
    with transaction() as session:
        session.execute(text("DROP FUNCTION IF EXISTS refuse CASCADE"))


def test_a_job_whose_end_could_not_be_written_down_does_not_run_for_ever(
    app, ends_cannot_be_written, workers, log
):
    worker = workers.start()
    wait_until(lambda: "worker starts anew" in log.read_text())
    with transaction() as session:
        session.execute(text("DROP FUNCTION refuse CASCADE"))
    register(app, "ada@example.com")

    wait_until(is_all_synced, LONGEST)

    assert workers.is_alive(worker)


def beats_within(seconds: float, file: Path) -> bool:
    """Whether the worker shows a sign of life."""
    file.unlink(missing_ok=True)
    until = time.monotonic() + seconds
    while time.monotonic() < until and not file.exists():
        time.sleep(0.05)
    return file.exists()


@pytest.mark.long
def test_a_worker_shows_that_it_is_alive_unless_it_hangs(app, tmp_path):
    file = tmp_path / "heartbeat"
    with flask_worker(app.extensions["crm_settings"], tmp_path) as worker:
        begins = beats_within(LONGEST, file)
        goes_on = beats_within(10, file)
        worker.send_signal(signal.SIGSTOP)
        hangs = beats_within(5, file)
        worker.send_signal(signal.SIGCONT)
        recovers = beats_within(30, file)
    forget_workers()

    assert (begins, goes_on, hangs, recovers) == (True, True, False, True)


@pytest.mark.long
def test_a_worker_without_its_database_shows_no_life(own_postgres, make_settings, tmp_path):
    file = tmp_path / "heartbeat"
    settings = make_settings(DATABASE_URL=own_postgres.get_uri(database="crm"))
    with create_app(settings).app_context():
        flask_migrate.upgrade()
        db.session.remove()
        for engine in db.engines.values():
            engine.dispose()
    with flask_worker(settings, tmp_path):
        begins = beats_within(LONGEST, file)
        own_postgres._stop()
        is_silent = not beats_within(5, file)
        own_postgres.ensure_postgres_running()
        recovers = beats_within(30, file)

    assert (begins, is_silent, recovers) == (True, True, True)


@pytest.mark.long
def test_a_restart_of_postgres_loses_nothing_accepted(
    own_postgres, make_settings, slow_sandbox, hubspot, tmp_path
):
    settings = make_settings(DATABASE_URL=own_postgres.get_uri(database="crm"))
    app = create_app(settings)
    with app.app_context(), flask_worker(settings, tmp_path) as worker:
        flask_migrate.upgrade()
        with registrations_meanwhile(app) as accepted:
            wait_for_a_write(slow_sandbox)
            own_postgres._stop()
            time.sleep(1)
            own_postgres.ensure_postgres_running()
            before = len(accepted)
            wait_until(lambda: len(accepted) > before + 5)
            wait_for_a_write(slow_sandbox)
        wait_until(is_all_synced, LONGEST)

        assert worker.poll() is None
        in_hubspot_once(hubspot, set(accepted))
        db.session.remove()
        for engine in db.engines.values():
            engine.dispose()


@contextmanager
def registrations_meanwhile(app: Flask) -> Iterator[list[str]]:
    """People register all the time; the list holds those who were accepted."""
    accepted: list[str] = []
    is_over = threading.Event()

    def keep_registering(name: str) -> None:
        number = 0
        while not is_over.is_set():
            number += 1
            email = f"{name}{number}@example.com"
            try:
                register(app, email)
                accepted.append(email)
                time.sleep(0.05)  # A hundred are enough; thousands would keep the worker out.
            except DBAPIError:
                time.sleep(0.1)

    with ThreadPoolExecutor(2) as pool:
        registering = [pool.submit(keep_registering, name) for name in "ab"]
        try:
            yield accepted
        finally:
            is_over.set()
    for each in registering:
        each.result()
