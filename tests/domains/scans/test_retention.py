"""Scans are kept for some days."""

import pytest
from sqlalchemy import text

from crm.db import transaction
from crm.scans import retention
from crm.scans.commands import ScanConfig, start_scan
from tests.domains.scans.conftest import results


@pytest.fixture
def age():
    """Let a scan have ended so many days ago."""

    def do(days):
        with transaction() as session:
            session.execute(
                text("UPDATE scans SET completed_at = now() - :days * interval '1 day'"),
                {"days": days},
            )

    return do


def count(table):
    with transaction() as session:
        return session.scalar(text(f"SELECT count(*) FROM {table}"))  # noqa: S608 - the test's own


def test_a_scan_goes_with_its_results_when_its_days_are_over(scan, create, age, change_settings):
    create("deals", 20)
    scan()
    change_settings(scan_retention_days=7)
    age(6.9)
    retention.forget_old()
    kept = count("scan_deals")

    age(7.1)
    retention.forget_old()

    assert kept == 20
    assert count("scans") == count("scan_deals") == 0


def test_a_scan_that_has_not_ended_is_kept(begin, age):
    begin()
    with transaction() as session:
        session.execute(text("UPDATE scans SET created_at = now() - interval '1 year'"))

    retention.forget_old()

    assert count("scans") == 1


def test_any_number_of_old_scans_goes(organization_id, age):
    for number in range(10):
        start_scan(organization_id, f"scan-{number}", "token", ScanConfig())
    with transaction() as session:
        session.execute(
            text(
                "INSERT INTO scans (organization_id, scan_id, job_id, config, status, completed_at)"
                " SELECT :id, 'old-' || n, 'job-' || n, '{}', 'completed', '2026-01-01'"
                " FROM generate_series(1, 45) AS n"
            ),
            {"id": organization_id},
        )

    retention.forget_old()

    assert count("scans") == 10


def test_the_budget_of_a_portal_without_scans_goes_too(scan, portal_id, age):
    with transaction() as session:
        session.execute(text("UPDATE portals SET hub_id = NULL"))
    scan()
    before = count("call_windows WHERE portal_id < 0")

    age(31)
    retention.forget_old()

    assert before == 3
    assert count("call_windows WHERE portal_id < 0") == 0
    assert count("day_quotas WHERE portal_id < 0") == 0
    assert count(f"call_windows WHERE portal_id = {portal_id}") == 3
    assert results() == {}
