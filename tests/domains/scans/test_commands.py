"""Starting and cancelling scans."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from crm.accounts import users
from crm.db import db, transaction
from crm.errors import (
    InvalidCancellationError,
    ScanInProgressError,
    ScanNotFoundError,
    TooManyScansError,
    UnavailableError,
)
from crm.scans.commands import MOST_AT_ONCE, ScanConfig, cancel_scan, start_scan

TOKEN = "pat-na1-very-secret"


@pytest.fixture
def start(organization_id):
    return lambda name: start_scan(organization_id, name, TOKEN, ScanConfig())


def row(name, *columns):
    with transaction() as session:
        statement = text(
            f"SELECT {', '.join(columns)} FROM scans WHERE scan_id = :name"  # noqa: S608
        )
        return tuple(session.execute(statement, {"name": name}).one())


def end(name, status="completed"):
    with transaction() as session:
        session.execute(
            text("UPDATE scans SET status = :status, token = NULL WHERE scan_id = :name"),
            {"name": name, "status": status},
        )


def test_a_scan_waits_for_its_job_with_what_it_is_to_do(start, organization_id):
    config = ScanConfig(properties=("dealname",), association_types=("contacts",), batch_size=50)

    job_id = start_scan(organization_id, "nightly", TOKEN, config)

    assert row("nightly", "job_id", "status") == (job_id, "pending")
    assert ScanConfig.from_json(*row("nightly", "config")) == config
    with transaction() as session:
        jobs = session.execute(text("SELECT task_name FROM procrastinate_jobs")).scalars().all()
    assert jobs == ["scan"]


def test_the_token_is_stored_encrypted_and_nowhere_else(start):
    start("nightly")

    (token,) = row("nightly", "token")
    everything = str(row("nightly", "scans::text"))
    assert TOKEN.encode() not in bytes(token)
    assert TOKEN not in everything


def test_a_scan_stores_no_token_without_an_encryption_key(start, change_settings):
    change_settings(encryption_keys="")

    with pytest.raises(UnavailableError, match="ENCRYPTION_KEYS"):
        start("nightly")


def test_a_scan_that_has_not_ended_is_not_started_again(start):
    start("nightly")

    with pytest.raises(ScanInProgressError) as refusal:
        start("nightly")

    assert refusal.value.details["scanId"] == "nightly"
    assert refusal.value.details["currentStatus"] == "pending"
    assert refusal.value.details["startedAt"].endswith("Z")


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_a_scan_that_has_ended_gives_way_to_one_of_its_name(start, status):
    first = start("nightly")
    end("nightly", status)

    second = start("nightly")

    assert first != second
    assert row("nightly", "job_id", "status") == (second, "pending")


def test_an_organization_has_ten_unfinished_scans_at_most(start):
    for number in range(MOST_AT_ONCE):
        start(f"scan-{number}")

    with pytest.raises(TooManyScansError):
        start("one-more")
    end("scan-3")
    start("one-more")


def test_another_organization_has_scans_of_the_same_names(start, organization_id):
    start("nightly")
    users.create_organization("Other")
    with transaction() as session:
        other = session.scalar(text("SELECT id FROM organizations WHERE name = 'Other'"))

    start_scan(other, "nightly", TOKEN, ScanConfig())
    cancel_scan(other, "nightly")

    with transaction() as session:
        found = session.execute(
            text("SELECT status FROM scans WHERE organization_id = :id"), {"id": organization_id}
        )
        assert found.scalars().all() == ["pending"]


def test_an_organization_gets_no_more_than_ten_of_many_scans_that_start_at_once(
    app, organization_id
):
    def start(number):
        with app.app_context():
            try:
                start_scan(organization_id, f"scan-{number}", TOKEN, ScanConfig())
            except TooManyScansError:
                return False
            return True

    with ThreadPoolExecutor(8) as pool:
        let_in = sum(pool.map(start, range(30)))

    assert let_in == MOST_AT_ONCE


def test_a_cancelled_scan_has_no_token_any_more(start, organization_id):
    start("nightly")

    cancelled = cancel_scan(organization_id, "nightly")

    assert cancelled.items_processed == 0
    status, token, completed_at = row("nightly", "status", "token", "completed_at")
    assert (status, token) == ("cancelled", None)
    assert cancelled.cancelled_at == f"{completed_at:%Y-%m-%dT%H:%M:%SZ}"


def test_a_scan_that_has_ended_cannot_be_cancelled(start, organization_id):
    start("nightly")
    end("nightly")

    with pytest.raises(InvalidCancellationError, match="Cannot cancel completed extraction"):
        cancel_scan(organization_id, "nightly")


def test_a_scan_that_there_is_not_cannot_be_cancelled(organization_id):
    with pytest.raises(ScanNotFoundError):
        cancel_scan(organization_id, "nightly")


def test_the_database_keeps_no_token_of_a_scan_that_has_ended(start):
    start("nightly")

    with pytest.raises(Exception, match="token_while_unfinished"), transaction() as session:
        session.execute(text("UPDATE scans SET status = 'failed'"))
    db.session.rollback()
