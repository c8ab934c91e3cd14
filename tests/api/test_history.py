"""GET /{type}/{id}/history: which value a property took, where, and what became of it."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import text, update

from crm.db import transaction
from crm.models import Record
from tests.domains.graphs import write_contact


@pytest.fixture
def ask(client, make_key):
    headers = make_key()

    def ask(record_id, **query):
        return client.get(f"/contacts/{record_id}/history", query_string=query, headers=headers)

    return ask


def changes_in(answer):
    assert answer.status_code == 200, answer.json
    return answer.json["data"]["data"]["changes"]


def uuid_of(row_id):
    with transaction() as session:
        return session.get_one(Record, row_id).uuid


def test_a_change_tells_its_values_its_side_and_its_time(ask, portal_id, run_jobs):
    row_id = write_contact(portal_id, "ada@example.com")
    run_jobs()
    began = datetime.now(UTC)
    write_contact(portal_id, "ada@example.com", firstname="Augusta")

    newest = changes_in(ask(uuid_of(row_id)))[0]

    changed_at = newest.pop("changed_at")
    assert newest == {
        "property": "firstname",
        "from": "Ada",
        "to": "Augusta",
        "side": "here",
        "overruled": False,
        "reason": None,
    }
    assert changed_at.endswith("Z")
    assert abs((datetime.fromisoformat(changed_at) - began).total_seconds()) < 60


def test_a_value_that_lost_says_why(ask, portal_id):
    row_id = write_contact(portal_id, "ada@example.com")
    with transaction() as session:
        session.execute(
            text(
                "UPDATE record_changes SET overruled_at = now(), reason = 'policy hubspot'"
                " WHERE name = 'lastname'"
            )
        )

    by_name = {each["property"]: each for each in changes_in(ask(uuid_of(row_id)))}

    lost = by_name["lastname"]
    assert (lost["overruled"], lost["reason"]) == (True, "policy hubspot")
    assert by_name["firstname"]["overruled"] is False


def test_pages_show_every_change_once_the_newest_first(ask, portal_id):
    for number in range(5):
        row_id = write_contact(portal_id, "ada@example.com", phone=str(number))
    write_contact(portal_id, "eve@example.com")
    everything = changes_in(ask(uuid_of(row_id), limit=100))
    seen, cursor = [], None

    while True:
        answer = ask(uuid_of(row_id), limit=3, **({"cursor": cursor} if cursor else {}))
        seen += changes_in(answer)
        cursor = answer.json["data"]["data"]["next_after"]
        if cursor is None:
            break

    assert seen == everything
    assert [each["to"] for each in seen if each["property"] == "phone"] == list("43210")


def test_a_cursor_of_another_records_history_is_refused(ask, portal_id):
    first, other = (write_contact(portal_id, f"{name}@example.com") for name in ("ada", "eve"))
    cursor = ask(uuid_of(first), limit=1).json["data"]["data"]["next_after"]

    answer = ask(uuid_of(other), cursor=cursor)

    assert (answer.status_code, list(answer.json["errors"])) == (400, ["cursor"])


def test_an_archived_record_still_tells_its_history(ask, portal_id):
    row_id = write_contact(portal_id, "ada@example.com")
    with transaction() as session:
        session.execute(update(Record).values(archived_at=datetime.now(UTC)))

    assert changes_in(ask(uuid_of(row_id)))


def test_a_plain_user_may_not_see_it(client, register):
    ada = register()

    assert ada.get("/contacts/1/history").status_code == 403
