"""flask scan, as somebody at a terminal runs it."""

import base64
import csv
import dataclasses
import json
import threading

import pytest
from sqlalchemy import text

from crm.accounts import users
from crm.db import db, transaction
from crm.scans import progress_stream
from crm.scans import work as scans_work
from crm.scans.commands import ScanConfig
from tests.api.scan_rows import make_scan
from tests.conftest import wait_until
from tests.sandbox.client import HubSpot

TOKEN = "pat-na1-sandbox"
KEY = base64.urlsafe_b64encode(b"k" * 32).decode()


@pytest.fixture
def run(app):
    """Runs a command of the group; returns exit code, standard output and standard error."""
    settings = app.extensions["crm_settings"]
    app.extensions["crm_settings"] = dataclasses.replace(settings, encryption_keys=KEY)
    runner = app.test_cli_runner()

    def do(*arguments, answers=None):
        result = runner.invoke(args=["scan", *arguments], input=answers)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result.exit_code, result.stdout, result.stderr

    return do


@pytest.fixture
def worker(app):
    """Works on the first scan that is started, as the worker does."""

    def find():
        with transaction() as session:
            return session.scalar(text("SELECT id FROM scans"))

    def work():
        with app.app_context():
            wait_until(find)
            scans_work.work(find())
            db.session.remove()

    thread = threading.Thread(target=work)
    thread.start()
    yield thread
    thread.join()


def test_a_scan_is_started_and_watched_to_its_end(run, worker, sandbox, monkeypatch):
    monkeypatch.setattr(progress_stream, "BETWEEN", 0.05)
    for number in range(3):
        HubSpot(sandbox.url).create("deals", dealname=f"Deal {number}", dealstage="closedwon")

    code, out, _ = run("start", "nightly", answers=f"{TOKEN}\n")

    assert code == 0
    assert "nightly: completed, 3 of 3 deals\n" in out
    assert TOKEN not in out


def test_what_is_asked_for_reaches_the_scan(run):
    code, out, _ = run(
        *("start", "nightly", "--token", TOKEN, "--detach", "--archived", "--batch-size", "50"),
        *("--property", "dealname", "--property", "amount", "--association", "contacts"),
        *("--pipeline", "default", "--stage", "closedwon", "--date", "createdate"),
        *("--since", "2026-01-01", "--until", "2026-06-30T12:00:00"),
    )

    assert (code, out) == (0, "Scan nightly is started.\n")
    with transaction() as session:
        kept = session.execute(text("SELECT config FROM scans")).scalar_one()
    assert ScanConfig.from_json(kept) == ScanConfig(
        properties=("dealname", "amount"),
        association_types=("contacts",),
        include_archived=True,
        pipeline_id="default",
        deal_stage="closedwon",
        date_property="createdate",
        start_date="2026-01-01",
        end_date="2026-06-30T12:00:00Z",
        batch_size=50,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("start", "a b", "--token", TOKEN),
        ("start", "x" * 256, "--token", TOKEN),
        ("start", "nightly", "--token", TOKEN, "--since", "2026-01-01"),
        ("start", "nightly", "--token", TOKEN, "--date", "createdate"),
        ("start", "nightly", "--token", TOKEN, "--batch-size", "101"),
        ("results", "nightly", "--limit", "0"),
    ],
)
def test_what_is_wrong_with_a_command_is_said(run, arguments):
    assert run(*arguments)[0] == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("status", "unknown"), "There is no scan unknown"),
        (("status", "unknown", "--follow"), "There is no scan unknown"),
        (("cancel", "unknown"), "There is no scan unknown"),
        (("cancel", "done"), "Cannot cancel completed extraction"),
        (("results", "unknown"), "There is no scan unknown"),
        (("export", "running"), "Scan not completed yet"),
        (("start", "running", "--token", "x"), "Extraction already in progress"),
        (("status", "done", "--organization", "None"), "There is no organization None"),
    ],
)
def test_a_problem_is_one_line_and_exit_code_1(run, arguments, sentence):
    make_scan("done")
    make_scan("running", status="running")

    code, out, err = run(*arguments)

    assert (code, out) == (1, "")
    assert err == f"Error: {sentence}\n"


def test_the_status_tells_how_far_it_is(run):
    make_scan(
        *("nightly",),
        status="running",
        total_items=1000,
        processed_items=399,
        failed_items=1,
        ago=120,
        error_message="HubSpot answered with HTTP 503",
    )

    code, out, _ = run("status", "nightly")

    assert code == 0
    assert out.splitlines() == [
        "nightly: running, 399 of 1000 deals, about 3 minutes left",
        "  1 could not be read (99.75% were)",
        "  → HubSpot answered with HTTP 503",
    ]


def test_the_status_tells_what_it_brought(run):
    make_scan(deals=3)

    assert run("status", "nightly")[1].splitlines() == [
        "nightly: completed, 3 of 3 deals",
        "  in 60 s; 0 with associations, 0 archived; 2.5 MB",
    ]


@pytest.mark.parametrize(("status", "code"), [("completed", 0), ("failed", 1), ("cancelled", 1)])
def test_watching_ends_with_what_came_of_it(run, status, code):
    make_scan(status=status)

    assert run("status", "nightly", "--follow")[0] == code


def test_a_scan_is_cancelled(run):
    run("start", "nightly", "--token", TOKEN, "--detach")

    code, out, _ = run("cancel", "nightly")

    assert (code, out) == (0, "Scan nightly is cancelled; 0 deals were read.\n")


def test_results_are_json_lines(run):
    make_scan(deals=6)

    _, out, _ = run("results", "nightly", "--stage", "closedwon", "--limit", "2")

    assert [json.loads(line)["deal_id"] for line in out.splitlines()] == ["7006", "7012"]


def test_more_results_than_a_page_are_printed(run):
    make_scan(deals=1200)

    assert run("results", "nightly", "--limit", "1100")[1].count("\n") == 1100


@pytest.mark.parametrize("to_file", [True, False])
def test_an_export_goes_to_a_file_or_to_the_terminal(run, tmp_path, to_file):
    make_scan(deals=3)
    file = tmp_path / "deals.csv"

    code, out, _ = run("export", "nightly", *(("--output", str(file)) if to_file else ()))

    rows = csv.DictReader((file.read_text() if to_file else out).splitlines())
    assert code == 0
    assert [each["deal_id"] for each in rows] == ["7003", "7006", "7009"]


def test_json_lines_are_exported_on_request(run):
    make_scan(deals=3)

    out = run("export", "nightly", "--format", "jsonl")[1]

    assert [json.loads(line)["id"] for line in out.splitlines()] == [
        *("result_001", "result_002", "result_003")
    ]


def test_an_organization_sees_its_own_scans_only(run):
    users.create_organization("Other")
    make_scan("nightly", organization="Other", deals=2)

    assert run("status", "nightly")[0] == 1
    assert "2 of 2 deals" in run("status", "nightly", "--organization", "Other")[1]


@pytest.mark.parametrize(
    "command", ["", "start", "status", "cancel", "results", "export"], ids=lambda name: name or "-"
)
def test_every_option_is_explained(run, command):
    code, out, _ = run(*([command] if command else []), "--help")

    lines = out.partition("Options:\n")[2].partition("\n\n")[0].splitlines()
    assert code == 0
    # An option's help stands beside it or, if it is long, in the line below.
    for number, line in enumerate(lines):
        if line.startswith("  --"):
            below = lines[number + 1] if number + 1 < len(lines) else ""
            assert "  " in line.strip() or below.startswith("     "), line
