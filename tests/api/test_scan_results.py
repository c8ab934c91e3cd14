"""/api/v1/scan/results: what a scan brought, by page, by cursor and as a file."""

import csv
import io
import json
import time

import pytest
from sqlalchemy import text

from crm.accounts import users
from crm.db import db, transaction
from crm.scans import export as scans_export
from crm.scans import results
from crm.scans.commands import ScanConfig

from .scan_rows import make_scan

PAGINATION = {
    *("current_page", "page_size", "total_items", "total_pages", "has_next", "has_previous"),
    *("next_page", "previous_page", "next_cursor"),
}


@pytest.fixture
def key(make_key):
    return make_key()


@pytest.fixture
def get(client, key):
    """Reads results of a scan; ``rest`` stands behind its name in the path."""

    def do(scan_id="nightly", rest="", **query):
        path = f"/api/v1/scan/results/{scan_id}{rest}"
        # Streams are read to their end within the request's context, as a server does.
        return client.get(path, query_string=query, headers=key, buffered=True)

    return do


def change_deal(number, **values):
    with transaction() as session:
        for name, value in values.items():
            session.execute(
                text(f"UPDATE scan_deals SET {name} = :value WHERE deal_id = :id"),  # noqa: S608
                {"value": value, "id": 7000 + number * 3},
            )


def ids_in(answer):
    assert answer.status_code == 200, answer.json
    return [int(each["deal_id"]) for each in answer.json["deals"]]


def test_a_deal_has_every_field_of_the_contract(get):
    make_scan(deals=1)
    change_deal(
        1,
        amount=50000,
        currency="EUR",
        deal_stage_label="Qualified",
        pipeline_label="Sales",
        close_date="2026-12-31T00:00:00+02:00",
        owner_email="a@b.c",
        deal_type="newbusiness",
        deal_url="https://x/1",
        associations='{"contacts": [{"id": "5", "type": "deal_to_contact"}]}',
    )

    body = get().json

    assert body["deals"] == [
        {
            "id": "result_001",
            "deal_id": "7003",
            "deal_name": "Deal 1",
            "amount": 50000.0,
            "currency": "EUR",
            "deal_stage": "qualifiedtobuy",
            "deal_stage_label": "Qualified",
            "pipeline_id": "default",
            "pipeline_label": "Sales",
            "close_date": "2026-12-30T22:00:00Z",
            "deal_created_at": "2026-11-20T10:30:00Z",
            "deal_updated_at": None,
            "owner_id": "1",
            "owner_email": "a@b.c",
            "deal_type": "newbusiness",
            "is_archived": False,
            "deal_url": "https://x/1",
            "properties": {"amount": "1"},
            "associations": {"contacts": [{"id": "5", "type": "deal_to_contact"}]},
        }
    ]
    assert (body["scanId"], body["status"]) == ("nightly", "completed")
    assert set(body["pagination"]) == PAGINATION


def test_pages_by_number_have_every_deal_once(get):
    make_scan(deals=7)

    pages = [get(page=number, page_size=3) for number in (1, 2, 3)]

    assert [ids_in(each) for each in pages] == [*([7003, 7006, 7009], [7012, 7015, 7018], [7021])]
    assert [each["id"] for each in pages[2].json["deals"]] == ["result_007"]
    middle, last = pages[1].json["pagination"], pages[2].json["pagination"]
    assert middle.pop("next_cursor")
    assert middle == {
        "current_page": 2,
        "page_size": 3,
        "total_items": 7,
        "total_pages": 3,
        "has_next": True,
        "has_previous": True,
        "next_page": 3,
        "previous_page": 1,
    }
    assert (last["has_next"], last["next_page"], last["next_cursor"]) == (False, None, None)


def all_pages(get, **query):
    pages, cursor = [], None
    while True:
        answer = get(**query, **({"cursor": cursor} if cursor else {}))
        pages.append(answer)
        cursor = answer.json["pagination"]["next_cursor"]
        if not cursor:
            return pages


@pytest.mark.parametrize("page_size", [1, 3, 6, 7, 500])
def test_pages_by_cursor_are_those_by_number(get, page_size):
    make_scan(deals=6)

    pages = all_pages(get, page_size=page_size)

    assert [each for page in pages for each in ids_in(page)] == [
        *(7003, 7006, 7009, 7012, 7015, 7018)
    ]
    for number, page in enumerate(pages, 1):
        assert get(page=number, page_size=page_size).json == page.json


def test_numbers_of_results_grow_beyond_three_digits(get):
    make_scan(deals=1001)

    [page] = [get(page=3, page_size=500).json["deals"]]

    assert [each["id"] for each in page] == ["result_1001"]
    assert get(page=2, page_size=500).json["deals"][0]["id"] == "result_501"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"dealstage": "closedwon"}, [7006, 7012, 7018]),
        ({"owner_id": "0"}, [7009, 7018]),
        ({"dealstage": "closedwon", "owner_id": "0"}, [7018]),
        ({"pipeline": "default"}, [7003, 7006, 7009, 7012, 7015, 7018]),
        ({"pipeline": "other"}, []),
        ({"dealstage": "'; DROP TABLE scans; --"}, []),
    ],
)
def test_results_are_filtered(get, query, found):
    make_scan(deals=6)

    pages = all_pages(get, **query, page_size=2)

    assert [each for page in pages for each in ids_in(page)] == found
    assert {page.json["pagination"]["total_items"] for page in pages} == {len(found)}


@pytest.mark.parametrize("page", [2, 10**9])
def test_a_page_beyond_the_last_is_empty_at_once(get, page):
    make_scan(deals=3)
    began = time.process_time()

    body = get(page=page).json

    assert time.process_time() - began < 0.5
    assert body["deals"] == []
    assert body["pagination"]["has_next"] is False
    assert body["pagination"]["previous_page"] == 1


def test_a_scan_that_found_nothing_has_one_empty_page(get):
    make_scan(deals=0)

    body = get().json

    assert body["deals"] == []
    assert body["pagination"]["total_pages"] == 0
    assert not body["pagination"]["has_previous"]


WRONG = [
    *(("page", each) for each in ("0", "-1", "x", "1000000001", "9" * 40)),
    *(("page_size", each) for each in ("0", "501", "x")),
    *(("cursor", each) for each in ("x", "WzFd", "x" * 2001)),
    *(("dealstage", "a\x00b"), ("owner_id", "x" * 256)),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_query_is_a_400(get, name, value):
    make_scan(deals=3)

    answer = get(**{name: value})

    assert answer.status_code == 400
    assert answer.json["message"] == "Input validation failed"
    assert list(answer.json["errors"]) == [name]


def test_an_empty_value_in_the_query_of_results_counts_as_not_given(get):
    make_scan(deals=3)
    names = ("page", "page_size", "cursor", "pipeline", "dealstage", "owner_id")

    assert get(**dict.fromkeys(names, "")).json == get().json


def test_a_page_and_a_cursor_are_not_given_both(get):
    make_scan(deals=3)
    cursor = get(page_size=1).json["pagination"]["next_cursor"]

    answer = get(page=2, cursor=cursor)

    assert answer.json["errors"] == {"cursor": "Give page or cursor, not both."}


def test_a_cursor_of_other_results_is_refused(get):
    make_scan(deals=3)
    make_scan("other", deals=3)
    cursor = get(page_size=1).json["pagination"]["next_cursor"]

    assert get("other", cursor=cursor).status_code == 400
    assert get(cursor=cursor, owner_id="1").status_code == 400


@pytest.mark.parametrize("rest", ["", "/export"])
@pytest.mark.parametrize("status", ["pending", "running", "failed", "cancelled"])
def test_a_scan_that_has_not_completed_is_not_ready(get, status, rest):
    make_scan(status=status, total_items=2543, processed_items=1160, failed_items=3)

    answer = get(rest=rest, **({"format": "csv"} if rest else {}))

    assert (answer.status_code, answer.json["error_code"]) == (404, "SCAN_NOT_READY")
    assert answer.json["message"] == "Scan not completed yet"
    assert answer.json["details"] == {
        "scanId": "nightly",
        "currentStatus": status,
        "progress": "45%",
        "counts": {"total_items": 2543, "processed_items": 1160, "failed_items": 3},
    }


def test_a_scan_whose_total_is_not_known_yet_is_at_0_percent(get):
    make_scan(status="pending", total_items=None)

    details = get().json["details"]

    assert (details["progress"], details["counts"]["total_items"]) == ("0%", 0)


@pytest.mark.parametrize("rest", ["", "/export"])
def test_an_unknown_scan_has_no_results(get, rest):
    answer = get("unknown", rest, **({"format": "csv"} if rest else {}))

    assert (answer.status_code, answer.json["error_code"]) == (404, "SCAN_NOT_FOUND")
    assert answer.json["message"] == "Resource not found"


def test_json_lines_are_the_deals_of_all_pages(get, monkeypatch):
    monkeypatch.setattr(results, "_PIECE", 3)
    make_scan(deals=7)
    change_deal(2, deal_name='Two\nlines, "quoted"')

    answer = get(rest="/export", format="jsonl")

    assert answer.status_code == 200
    assert answer.content_type == "application/jsonl"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="nightly.jsonl"'
    assert [json.loads(line) for line in answer.text.splitlines()] == get().json["deals"]


def test_a_csv_has_a_column_for_each_field_association_and_property(get, monkeypatch):
    monkeypatch.setattr(results, "_PIECE", 3)
    config = ScanConfig(properties=("amount",), association_types=("contacts", "line_items"))
    make_scan(deals=4, config=config)
    pair = '[{"id": "1", "type": "x"}, {"id": "2", "type": "y"}, {"id": "2", "type": "z"}]'
    change_deal(2, deal_name='Zwölf "Ö", a\nb', associations=f'{{"contacts": {pair}}}')

    answer = get(rest="/export", format="csv")

    assert answer.content_type == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert [each["deal_id"] for each in rows] == ["7003", "7006", "7009", "7012"]
    assert rows[1]["deal_name"] == 'Zwölf "Ö", a\nb'
    assert (rows[1]["contacts"], rows[1]["line_items"]) == ("1;2", "")
    assert (rows[1]["properties.amount"], rows[1]["amount"]) == ("1", "200")
    assert (rows[1]["is_archived"], rows[1]["close_date"]) == ("false", "")


def test_an_empty_export_is_a_head_or_nothing(get):
    make_scan(deals=0)

    assert get(rest="/export", format="jsonl").data == b""
    assert get(rest="/export", format="csv").text.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        *((each, f"'{each}") for each in ("=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1")),
        *((each, f"'{each}") for each in ("-", "+", "=", "-1-", '=HYPERLINK("http://x")')),
        *((each, each) for each in ("-1", "+49301234", "-1.5", "1=1", "a@b.c", " =1", "ok")),
    ],
)
def test_no_cell_is_a_formula(get, name, cell):
    make_scan(deals=1)
    change_deal(1, deal_name=name)

    [row] = csv.DictReader(io.StringIO(get(rest="/export", format="csv").text, newline=""))

    assert row["deal_name"] == cell


@pytest.mark.parametrize("query", [{}, {"format": "xml"}, {"format": ""}, {"formats": "csv"}])
def test_an_export_needs_a_format_that_there_is(get, query):
    make_scan(deals=1)

    assert get(rest="/export", **query).status_code == 400


def test_an_export_of_a_scan_that_goes_away_meanwhile_does_not_end_as_if_it_were_whole(
    app, monkeypatch
):
    monkeypatch.setattr(results, "_PIECE", 3)
    make_scan(deals=7)
    scan = results.get_completed(users.get_organization_id("Default"), "nightly")
    pieces = scans_export.export(scan, "jsonl")
    next(pieces)
    with transaction() as session:
        session.execute(text("DELETE FROM scans"))

    with pytest.raises(results.ScanNotReadyError):
        list(pieces)


def test_an_export_keeps_no_transaction_open(app, monkeypatch):
    monkeypatch.setattr(results, "_PIECE", 3)
    make_scan(deals=7)
    scan = results.get_completed(users.get_organization_id("Default"), "nightly")
    db.session.remove()
    pieces = scans_export.export(scan, "jsonl")
    next(pieces)

    with db.engine.connect() as connection:
        opened = connection.scalar(
            text(
                "SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                " AND datname = current_database() AND xact_start IS NOT NULL"
            )
        )
    assert opened == 0


def test_the_bytes_of_results_are_counted_for_an_organization(make_app, make_key):
    key = make_key()
    make_scan(deals=3)
    client = make_app(RATE_LIMIT_RESULTS="1000 per 1 minute").test_client()
    path = "/api/v1/scan/results/nightly"

    first = client.get(path, headers=key)
    second = client.get(path, headers=key)
    by_another_key = client.get(path, headers=make_key())
    export = client.get(f"{path}/export?format=csv", headers=key)

    assert first.status_code == 200
    assert first.headers["X-RateLimit-Bytes-Limit"] == "1000"
    assert first.headers["X-RateLimit-Bytes-Remaining"] == "0"
    assert 0 < int(first.headers["X-RateLimit-Bytes-Reset"]) - time.time() <= 61
    assert second.status_code == 429
    assert second.json["error_code"] == "RATE_LIMIT_EXCEEDED"
    assert second.json["message"] == "ratelimit exceeded 1000 per 1 minute"
    assert (second.headers["X-RateLimit-Limit"], second.headers["X-RateLimit-Remaining"]) == (
        *("1000", "0"),
    )
    assert 0 < int(second.headers["Retry-After"]) <= 60
    assert [by_another_key.status_code, export.status_code] == [429, 429]


def test_an_export_waits_for_its_allowance(make_app, make_key, monkeypatch):
    monkeypatch.setattr(results, "_PIECE", 3)
    key = make_key()
    make_scan(deals=7)
    client = make_app(RATE_LIMIT_RESULTS="1000 per 1 second").test_client()
    began = time.monotonic()

    answer = client.get(
        "/api/v1/scan/results/nightly/export?format=jsonl", headers=key, buffered=True
    )

    assert len(answer.text.splitlines()) == 7
    assert time.monotonic() - began > 0.5
