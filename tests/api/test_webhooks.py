"""Webhooks: stored before they are answered, and only what HubSpot signed."""

import time
from concurrent.futures import ThreadPoolExecutor

import orjson
import pytest
from sqlalchemy import select, text

from crm.db import db, transaction
from crm.hubspot.signature import LONGEST_AGE_MS, sign_v1, sign_v3
from crm.inbox.receive import unpack
from crm.models import WebhookEvent

SECRET = "a secret of an app"
PATH = "/webhooks/hubspot"
HERE = f"http://localhost{PATH}"
JSON = "application/json"


def event(**changes):
    """A deal's association as HubSpot really sends it: without an ``objectId``."""
    given = {
        "eventId": 3816279340,
        "portalId": 62515,
        "appId": 54321,
        "occurredAt": 1564113600000,
        "subscriptionType": "deal.associationChange",
        "attemptNumber": 0,
        "changeSource": "USER",
        "associationType": "DEAL_TO_LINE_ITEM",
        "fromObjectId": 12,
        "toObjectId": 13,
        "associationRemoved": False,
        "sourceId": "userId:9",
    }
    return given | changes


def now_ms():
    return time.time_ns() // 1_000_000


def signed(body, *, uri=HERE, timestamp=None, secret=SECRET):
    timestamp = timestamp or now_ms()
    signature = sign_v3(secret, method="POST", uri=uri, body=body, timestamp=timestamp)
    return {"X-HubSpot-Signature-v3": signature, "X-HubSpot-Request-Timestamp": str(timestamp)}


def signed_v1(body):
    return {
        "X-HubSpot-Signature": sign_v1(SECRET, body=body),
        "X-HubSpot-Signature-Version": "v1",
    }


@pytest.fixture
def client(app, change_settings):
    change_settings(hubspot_client_secret=SECRET)
    return app.test_client()


@pytest.fixture
def deliver(client):
    """Deliver a body as HubSpot does, or with other headers."""

    def do(body, headers=None, path=PATH):
        body = body if isinstance(body, bytes) else orjson.dumps(body)
        headers = signed(body) if headers is None else headers
        return client.post(path, data=body, headers=headers, content_type=JSON)

    return do


@pytest.fixture
def stored(client):
    def read():
        with client.application.app_context():
            unpack()
        with client.application.app_context(), transaction() as session:
            rows = session.execute(select(WebhookEvent).order_by(WebhookEvent.id)).scalars()
            return [(row.hub_id, dict(row.payload)) for row in rows]

    return read


def test_every_event_of_a_delivery_is_stored_as_it_came(deliver, stored):
    events = [event(), event(portalId=7, eventId=1, isNew=None, nested={"ids": [1, 2]})]

    answer = deliver(events)

    assert (answer.status_code, answer.data) == (204, b"")
    assert stored() == [(62515, events[0]), (7, events[1])]


def test_the_same_delivery_twice_is_stored_twice(deliver, stored):
    # HubSpot's event ids are not unique; who processes events tells what is the same.
    for _ in range(2):
        deliver([event()])

    assert len(stored()) == 2


def test_an_empty_delivery_is_taken(deliver, stored):
    assert deliver([]).status_code == 204
    assert stored() == []


def test_a_delivery_of_a_private_app_carries_version_1_alone(deliver, stored):
    body = orjson.dumps([event()])

    assert deliver(body, signed_v1(body)).status_code == 204
    assert len(stored()) == 1


def test_a_query_is_signed_with_the_address(deliver):
    body = orjson.dumps([event()])

    good = deliver(body, signed(body, uri=f"{HERE}?a=%40&b"), path=f"{PATH}?a=%40&b")
    bad = deliver(body, signed(body), path=f"{PATH}?a=%40&b")

    assert (good.status_code, bad.status_code) == (204, 401)


def test_below_another_path_that_is_part_of_what_hubspot_signed(client):
    headers = signed(b"[]", uri=HERE.replace(PATH, f"/crm{PATH}"))

    answer = client.post(PATH, base_url="http://localhost/crm", data=b"[]", headers=headers)

    assert answer.status_code == 204


def test_behind_a_proxy_the_public_address_is_what_hubspot_signed(client, change_settings):
    change_settings(public_url="https://crm.example.com/behind/")
    headers = signed(b"[]", uri="https://crm.example.com/behind/webhooks/hubspot?a=1")

    assert client.post(f"{PATH}?a=1", data=b"[]", headers=headers).status_code == 204
    assert client.post(PATH, data=b"[]", headers=signed(b"[]")).status_code == 401


def test_the_sandbox_on_this_machine_signs_its_own_address_whatever_the_public_one_is(
    client, change_settings
):
    change_settings(public_url="https://crm.example.com", port=4012)
    statuses = [
        client.post(PATH, data=b"[]", headers=signed(b"[]", uri=uri)).status_code
        for uri in (f"http://localhost:4012{PATH}", f"http://localhost:4013{PATH}")
    ]

    assert statuses == [204, 401]


REFUSED = {
    "nothing": lambda body: {},
    "another secret": lambda body: signed(body, secret="another"),
    "another body": lambda body: signed(body + b" "),
    "too old": lambda body: signed(body, timestamp=now_ms() - LONGEST_AGE_MS - 1000),
    "of the future": lambda body: signed(body, timestamp=now_ms() + LONGEST_AGE_MS + 1000),
    "a token of ours": lambda body: {"Authorization": "Bearer x", "X-API-Key": "crm_x"},
    "another v1": lambda body: signed_v1(body + b" "),
}


@pytest.mark.parametrize("headers", REFUSED.values(), ids=REFUSED)
def test_what_hubspot_did_not_sign_is_refused_and_not_stored(deliver, stored, headers):
    body = orjson.dumps([event()])

    answer = deliver(body, headers(body))

    assert (answer.status_code, answer.json["error_code"]) == (401, "INVALID_TOKEN")
    assert stored() == []


def test_without_a_secret_all_is_refused_and_the_log_says_what_to_set(make_app, capfd):
    client = make_app().test_client()

    answer = client.post(PATH, data=b"[]", headers=signed(b"[]", secret=""))

    assert answer.status_code == 401
    assert "set HUBSPOT_CLIENT_SECRET" in capfd.readouterr().err


HOSTILE = {
    "nothing": b"",
    "no JSON": b"[{",
    "an object": b'{"portalId": 1}',
    "null": b"null",
    "no object inside": b"[1]",
    "another array inside": b"[[]]",
    "no portal": b'[{"eventId": 1}]',
    "a portal's name": b'[{"portalId": "62515"}]',
    "portal true": b'[{"portalId": true}]',
    "portal 0": b'[{"portalId": 0}]',
    "a broken number": b'[{"portalId": 1.5}]',
    "a large portal": b'[{"portalId": 9223372036854775808}]',
    "a huge number": b'[{"portalId": 1, "x": 1e400}]',
    "no number": b'[{"portalId": 1, "x": NaN}]',
    "a lone surrogate": b'[{"portalId": 1, "x": "\\ud800"}]',
    "no UTF-8": b'[{"portalId": 1, "x": "\xff"}]',
    "deep": b'[{"portalId": 1, "x": ' + b"[" * 900 + b"]" * 900 + b"}]",
    "deeper": b"[" * 100_000,
    "too many": orjson.dumps([event()] * 201),
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_a_signed_body_that_is_no_delivery_is_refused_whole(deliver, stored, body):
    answer = deliver(body)

    assert (answer.status_code, answer.json["error_code"]) == (400, "VALIDATION_ERROR")
    assert stored() == []


def test_one_bad_event_keeps_the_whole_delivery_out(deliver, stored):
    answer = deliver([event(), {"eventId": 2}])

    assert list(answer.json["errors"]) == ["1.portalId"]
    assert stored() == []


def test_what_postgres_cannot_hold_does_not_cost_the_event(deliver, stored):
    answer = deliver([event(propertyValue="a\0b", **{"na\0me": ["\0"]}, large=2.0**90)])

    assert answer.status_code == 204
    [(_, payload)] = stored()
    assert (payload["propertyValue"], payload["name"]) == ("ab", [""])


def test_a_body_of_more_than_a_mebibyte_is_too_large(deliver, stored):
    body = orjson.dumps([event(propertyValue="x" * 1024 * 1024)])

    answer = deliver(body)

    assert (answer.status_code, answer.json["error_code"]) == (413, "PAYLOAD_TOO_LARGE")
    assert stored() == []


def test_hubspot_is_never_asked_to_come_back_later_but_others_are(client, change_settings):
    change_settings(rate_limit="3 per 1 minute")

    good = {client.post(PATH, data=b"[]", headers=signed(b"[]")).status_code for _ in range(9)}
    bad = [client.post(PATH, data=b"[]").status_code for _ in range(5)]

    assert good == {204}
    assert bad == [401, 401, 401, 429, 429]


def test_a_delivery_that_cannot_be_stored_is_not_confirmed(client, deliver, stored):
    with client.application.app_context():
        db.session.execute(text("ALTER TABLE deliveries RENAME TO away"))
        db.session.commit()
        try:
            answer = deliver([event()])
        finally:
            db.session.execute(text("ALTER TABLE away RENAME TO deliveries"))
            db.session.commit()

    assert answer.status_code == 500
    assert deliver([event()]).status_code == 204


def test_many_deliveries_at_once_are_all_stored(client, deliver, stored):
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda number: deliver([event(eventId=number)]), range(40)))

    assert {each.status_code for each in answers} == {204}
    assert sorted(payload["eventId"] for _, payload in stored()) == list(range(40))


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_other_methods_are_not_allowed(client, method):
    assert client.open(PATH, method=method).status_code == 405
