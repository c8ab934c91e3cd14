"""GET /contacts/pipelines."""

import threading

import pytest
from sqlalchemy import text

from crm.db import transaction
from crm.portals import pipelines
from crm.portals.portals import get_default_portal_id
from tests.conftest import wait_until

PATH = "/contacts/pipelines"
TICKETS = {
    "data": {
        "data": [
            {
                "id": "0",
                "label": "Support Pipeline",
                "display_order": 0,
                "stages": [
                    {"id": "1", "label": "New", "display_order": 0},
                    {"id": "2", "label": "Waiting on contact", "display_order": 1},
                    {"id": "3", "label": "Waiting on us", "display_order": 2},
                    {"id": "4", "label": "Closed", "display_order": 3},
                ],
            }
        ]
    },
    "message": "Pipeline tickets retrieve successfully",
}


def test_the_ticket_pipelines_are_listed_with_their_stages_to_anybody(client):
    answer = client.get(PATH)

    assert answer.status_code == 200
    assert answer.json == TICKETS


def test_the_deals_have_pipelines_of_their_own(client):
    answer = client.get(PATH, query_string={"object_type": "deals"})

    pipelines = answer.json["data"]["data"]
    assert answer.json["message"] == "Pipeline deals retrieve successfully"
    assert [each["id"] for each in pipelines] == ["default"]
    assert "qualifiedtobuy" in [stage["id"] for stage in pipelines[0]["stages"]]


def test_hubspot_is_asked_once_a_minute(client, sandbox):
    client.get(PATH)
    _age(seconds=50)
    for _ in range(5):
        client.get(PATH)
    within_a_minute = sandbox.requests()["total"]
    _age(seconds=61)
    for _ in range(5):
        client.get(PATH)

    assert within_a_minute == 1
    assert sandbox.requests()["total"] == 2


def test_each_object_type_is_fetched_for_itself(client, sandbox):
    client.get(PATH)
    client.get(PATH, query_string={"object_type": "deals"})

    assert set(sandbox.requests()["by_route"].values()) == {1}


def test_stale_pipelines_are_served_while_hubspot_is_down(client, sandbox):
    client.get(PATH)
    _age(seconds=3600)
    sandbox.stop()

    answers = [client.get(PATH) for _ in range(3)]

    assert [each.status_code for each in answers] == [200] * 3
    assert answers[0].json == TICKETS


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 500},
        {"kind": "status", "status": 429},
        {"kind": "html"},
        {"kind": "truncated_json"},
        {"kind": "reset_before"},
        {"kind": "reset_after"},
    ],
    ids=lambda each: "-".join(map(str, each.values())),
)
def test_stale_pipelines_are_served_whatever_is_wrong_with_hubspot(client, sandbox, fault):
    client.get(PATH)
    _age(seconds=3600)
    sandbox.set_faults([fault])

    answer = client.get(PATH)

    assert answer.status_code == 200
    assert answer.json == TICKETS


def test_a_hubspot_that_is_down_is_asked_every_five_seconds_at_most(client, sandbox):
    client.get(PATH)
    _age(seconds=3600)
    sandbox.set_faults([{"kind": "status", "status": 500}])
    client.get(PATH)
    asked_once = sandbox.requests()["total"]
    for _ in range(5):
        client.get(PATH)
    within_the_pause = sandbox.requests()["total"]
    sandbox.set_faults([])
    _age(seconds=6)

    client.get(PATH)

    assert within_the_pause == asked_once
    assert sandbox.requests()["total"] == asked_once + 1


def test_without_ever_having_been_fetched_a_hubspot_that_is_down_is_a_503(client, sandbox):
    sandbox.stop()

    answers = [client.get(PATH) for _ in range(2)]

    for answer in answers:
        assert answer.status_code == 503
        assert answer.json["error_code"] == "HUBSPOT_UNAVAILABLE"
        assert answer.json["request_id"] == answer.headers["X-Request-ID"]


def test_without_a_portal_the_answer_says_what_to_configure(make_app):
    client = make_app(HUBSPOT_PRIVATE_APP_TOKEN="").test_client()

    answer = client.get(PATH)

    assert answer.status_code == 503
    assert "HUBSPOT_PRIVATE_APP_TOKEN" in answer.json["message"]


def test_a_refused_token_is_said_in_hubspots_words_and_not_shown(make_app):
    client = make_app(HUBSPOT_PRIVATE_APP_TOKEN="pat-na1-nobodys").test_client()

    answer = client.get(PATH)

    assert answer.status_code == 401
    assert answer.json["error_code"] == "HUBSPOT_AUTH_FAILED"
    assert "nobodys" not in answer.text


def test_others_are_served_the_stale_ones_while_one_is_asking(app, sandbox):
    app.test_client().get(PATH)
    _age(seconds=3600)
    sandbox.set_faults([{"kind": "slow", "seconds": 1.5}])
    before = sandbox.requests()["total"]
    waiting = threading.Thread(target=lambda: app.test_client().get(PATH))
    waiting.start()
    wait_until(_is_claimed)

    answer = app.test_client().get(PATH)

    assert answer.json == TICKETS
    assert waiting.is_alive()
    waiting.join()
    assert sandbox.requests()["total"] == before + 1


def test_a_caller_who_asks_during_the_very_first_fetch_waits_for_it(app, sandbox):
    sandbox.set_faults([{"kind": "slow", "seconds": 0.5}])
    first = threading.Thread(target=lambda: app.test_client().get(PATH))
    first.start()
    wait_until(_is_claimed)

    answer = app.test_client().get(PATH)

    first.join()
    assert answer.json == TICKETS
    assert sandbox.requests()["total"] == 1


def _is_claimed():
    with transaction() as session:
        statement = "SELECT bool_or(attempted_at > now() - interval '1 minute') FROM pipeline_sets"
        return session.execute(text(statement)).scalar_one()


def _age(*, seconds):
    with transaction() as session:
        session.execute(
            text(
                "UPDATE pipeline_sets SET fetched_at = fetched_at - make_interval(secs => :age),"
                " attempted_at = attempted_at - make_interval(secs => :age)"
            ),
            {"age": seconds},
        )


def test_the_scheduled_refresh_waits_for_a_hubspot_that_is_down(app, sandbox):
    sandbox.stop()

    pipelines.refresh_stale_pipelines()

    assert pipelines.find_pipelines(get_default_portal_id(), "deals") is None
