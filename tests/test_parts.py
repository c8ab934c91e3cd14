"""What the launcher starts: Postgres over what a crash left, and logs that stay small."""

import logging
import os
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import pytest

from crm.launcher.embedded_postgres import start_postgres, stop_postgres
from crm.launcher.parts import end, find_leftovers, keep_small
from crm.logs import configure_logs

LARGE = 10_000_001


@pytest.fixture(scope="module")
def postgres():
    """The folder of an embedded Postgres; it runs, as long as no test ends it."""
    # Below /tmp and not in a home folder: as root, it opens the folders above.
    with tempfile.TemporaryDirectory(prefix="crm-parts-", dir="/tmp") as above:
        folder = Path(above) / "postgres"
        # What an initdb leaves that is killed early.
        unfinished = folder.with_name("postgres.new")
        unfinished.mkdir()
        (unfinished / "PG_VERSION").write_text("18\n")
        start_postgres(folder)
        yield folder
        stop_postgres(folder)


@contextmanager
def stranger(*command):
    process = subprocess.Popen([*command, "sleep", "60"])
    try:
        yield process
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


def answer(address):
    connection = psycopg2.connect(address)
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_database()")
        [found] = cursor.fetchone()
    connection.close()
    return found


def test_an_embedded_postgres_starts_although_its_lock_names_somebody_elses_process(postgres):
    lock = postgres / "postmaster.pid"
    socket_lock = postgres / ".s.PGSQL.5432.lock"
    texts = {each: each.read_text() for each in (lock, socket_lock)}
    stop_postgres(postgres)
    with stranger() as process:
        for each, text in texts.items():
            _, rest = text.split("\n", 1)
            each.write_text(f"{process.pid}\n{rest}")
        part, address = start_postgres(postgres)

        assert answer(address) == "crm"
        assert part.find_end() is None


def test_an_embedded_postgres_starts_although_its_lock_was_half_written(postgres):
    stop_postgres(postgres)
    (postgres / "postmaster.pid").write_text("1")
    _, address = start_postgres(postgres)

    assert answer(address) == "crm"


def test_an_embedded_postgres_that_was_left_running_is_taken_over(postgres):
    part, _ = start_postgres(postgres)
    second, address = start_postgres(postgres)

    assert part.find_end() == "is gone"
    assert second.find_end() is None
    assert answer(address) == "crm"


@pytest.mark.parametrize("folder", ["/data/other", "/data/mine/sub", "/data/min"])
def test_a_process_over_another_folder_is_no_leftover(folder):
    with stranger("env", f"crm-part={os.getpid()}:{folder}"):
        assert find_leftovers(Path("/data/mine")) == []


def test_a_part_of_a_launcher_that_runs_is_no_leftover(tmp_path):
    launcher = tmp_path / "run.py"
    launcher.write_text("import time; time.sleep(60)")
    with stranger("python3", launcher) as running:
        mark = f"crm-part={running.pid}:{tmp_path}"
        with stranger("python3", "-X", mark, "-c", "import time; time.sleep(60)"):
            assert find_leftovers(tmp_path) == []


def test_a_part_whose_launcher_is_gone_is_a_leftover_that_ends(tmp_path):
    gone = subprocess.Popen(["true"])
    gone.wait()
    mark = f"crm-part={gone.pid}:{tmp_path}"
    part = subprocess.Popen(["python3", "-X", mark, "-c", "import time; time.sleep(60)"])
    found = find_leftovers(tmp_path)
    end(found)

    assert [each.pid for each in found] == [part.pid]
    assert part.poll() is not None


def test_a_large_log_is_put_aside_and_its_writers_go_on_in_a_new_one(tmp_path):
    log = tmp_path / "crm.log"
    handlers = logging.getLogger().handlers
    try:
        configure_logs(level="INFO", as_json=False, file=str(log))
        with log.open("ab") as file:
            file.truncate(LARGE)
        keep_small(log)
        logging.getLogger("a part").info("after")
    finally:
        for each in logging.getLogger().handlers:
            each.close()
        logging.getLogger().handlers = handlers

    assert (tmp_path / "crm.log.1").stat().st_size == LARGE
    assert "after" in log.read_text()
