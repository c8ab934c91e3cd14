"""Scans of some deals only."""

import pytest

from crm.scans import readers, work
from tests.domains.scans.conftest import named, results, status

LIST, SEARCH = r"GET .*/deals\?", "POST .*/deals/search"


@pytest.fixture
def two_pipelines(sandbox, hubspot):
    stages = [{"label": "Open", "displayOrder": 0, "metadata": {"probability": "0.5"}}]
    made = hubspot.post(
        "/crm/pipelines/2026-09/deals", {"label": "Other", "displayOrder": 1, "stages": stages}
    ).json()
    return made["id"], made["stages"][0]["id"]


def test_a_scan_pulls_only_the_deals_of_a_pipeline_and_stage(scan, create, two_pipelines):
    pipeline, stage = two_pipelines
    create("deals", 30)
    wanted = create("deals", 25, pipeline=pipeline, dealstage=stage)

    row = scan(pipeline_id=pipeline, deal_stage=stage)

    assert row["status"] == "completed", row["error_message"]
    assert row["total_items"] == row["processed_items"] == 25
    assert results().keys() == set(wanted)
    assert results()[wanted[0]]["pipeline_label"] == "Other"


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("2026-03-02", None, [1, 2, 3]),
        (None, "2026-03-02", [0, 1, 2]),
        ("2026-03-02", "2026-03-02", [1, 2]),
        ("2026-03-02T12:00:00Z", "2026-03-03T00:00:00Z", [2, 3]),
        ("2026-03-02T13:00:00+01:00", "2026-03-02T12:00:00Z", [2]),
        ("2027-01-01", None, []),
    ],
)
def test_a_scan_pulls_only_the_deals_of_some_days(scan, hubspot, start, end, expected):
    moments = [f"2026-03-{each}:00:00Z" for each in ("01T00", "02T00", "02T12", "03T00")]
    ids = [
        hubspot.create(
            "deals", **named("deals", n), closedate=f"{each[:10]}T{each[11:] or '00:00:00Z'}"
        )["id"]
        for n, each in enumerate(moments)
    ]
    hubspot.create("deals", **named("deals", 9))

    row = scan(date_property="closedate", start_date=start, end_date=end)

    assert row["status"] == "completed", row["error_message"]
    assert results().keys() == {ids[each] for each in expected}


def test_filters_apply_to_archived_deals_too(scan, hubspot, create):
    days = ("2026-03-01", "2026-03-05")
    for stage in ("qualifiedtobuy", "closedwon"):
        for day in days:
            made = hubspot.create(
                "deals", dealname=f"{stage} {day}", dealstage=stage, closedate=f"{day}T00:00:00Z"
            )
            hubspot.archive("deals", made["id"])
    create("deals", 3, dealstage="closedwon", closedate="2026-03-05T00:00:00Z")

    row = scan(
        include_archived=True,
        deal_stage="closedwon",
        date_property="closedate",
        start_date="2026-03-02",
    )

    found = [each for each in results().values() if each["is_archived"]]
    assert [each["deal_name"] for each in found] == ["closedwon 2026-03-05"]
    assert (row["archived_deals"], row["processed_items"], row["total_items"]) == (1, 4, 4)


def test_more_deals_than_a_search_gives_are_found_with_their_associations(
    scan,
    create,
    associate,
    sandbox,
):
    deals = create("deals", 1_250)
    [contact] = create("contacts", 1)
    for each in (deals[0], deals[999], deals[1_000], deals[-1]):
        associate(each, "contacts", [contact])
    sandbox.clear_requests()

    row = scan(deal_stage="qualifiedtobuy", association_types=("contacts", "companies"))

    assert row["status"] == "completed", row["error_message"]
    assert results().keys() == set(deals)
    assert row["with_associations"] == 4
    assert sandbox.list_requests(LIST) == []
    # A count and seven pages; two reads for each type.
    assert len(sandbox.list_requests(SEARCH)) == 8
    assert len(sandbox.list_requests("POST .*/associations/.*/batch/read")) == 4


def test_a_search_goes_on_where_it_was(begin, run_jobs, create, sandbox, monkeypatch):
    ids = create("deals", 500)
    monkeypatch.setattr(readers, "_SEARCHED", 200)
    monkeypatch.setattr(work, "is_leaving", lambda: True)
    begin(deal_stage="qualifiedtobuy")

    for _ in range(10):
        run_jobs()

    assert status()["status"] == "completed"
    assert results().keys() == set(ids)


def test_a_filter_that_hubspot_refuses_ends_the_scan(scan):
    row = scan(date_property="no_such_property", start_date="2026-01-01")

    assert (row["status"], row["error_code"]) == ("failed", "VALIDATION_ERROR")
    assert row["error_message"]
