"""A scan pulls every deal once, with all that belongs to it."""

from tests.services.scans.conftest import results


def test_every_deal_is_pulled_once(scan, create):
    ids = create("deals", 350)

    row = scan()

    assert row["status"] == "completed", row["error_message"]
    assert row["total_items"] == row["processed_items"] == 350
    assert results().keys() == set(ids)


def test_a_portal_without_deals_makes_an_empty_scan(scan):
    row = scan()

    assert (row["status"], row["total_items"], row["processed_items"]) == ("completed", 0, 0)
    assert row["token"] is None
    assert row["completed_at"] >= row["started_at"]
