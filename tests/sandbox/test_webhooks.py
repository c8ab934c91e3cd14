"""Webhooks: what is told of which change, how it is delivered, and what goes wrong on request."""

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hubspot_sandbox import DEFAULT_PORTAL_ID, SandboxServer
from hubspot_sandbox.access import DEFAULT_APP, Access, App
from hubspot_sandbox.clock import DAY_MS
from hubspot_sandbox.demo import fill_with_demo_data
from hubspot_sandbox.signatures import sign_v1, sign_v3

from .client import OBJECTS, HubSpot
from .receiver import Receiver

Event = dict[str, Any]
OTHER_PORTAL = 51_000_077


def told(sandbox: SandboxServer, receiver: Receiver) -> list[Event]:
    """Wait for all deliveries, and return the events since the last time."""
    sandbox.flush_webhooks()
    found = receiver.events
    receiver.clear()
    return found


def admin(sandbox: SandboxServer, method: str, path: str, body: Any = None) -> requests.Response:
    return requests.request(method, f"{sandbox.url}/_sandbox/{path}", json=body, timeout=10)


def test_a_creation_is_told_with_every_field_that_hubspot_sends(
    sandbox: SandboxServer, hubspot: HubSpot, receiver: Receiver
) -> None:
    before = sandbox.sandbox.clock.now_ms()
    contact = hubspot.create("contacts", email="ada@example.com", firstname="Ada")
    (event,) = told(sandbox, receiver)

    occurred_at = event.pop("occurredAt")
    assert before <= occurred_at <= sandbox.sandbox.clock.now_ms()
    assert event == {
        "eventId": event["eventId"],
        "subscriptionId": event["subscriptionId"],
        "portalId": DEFAULT_PORTAL_ID,
        "appId": DEFAULT_APP.id,
        "subscriptionType": "contact.creation",
        "attemptNumber": 0,
        "objectId": int(contact["id"]),
        "changeFlag": "NEW",
        "changeSource": "INTEGRATION",
        "sourceId": str(DEFAULT_APP.id),
    }
    assert isinstance(event["eventId"], int)
    assert isinstance(event["subscriptionId"], int)


def test_each_changed_property_is_an_event_of_its_own_and_the_unchanged_is_none(
    sandbox: SandboxServer, hubspot: HubSpot, receiver: Receiver, contact: dict[str, str]
) -> None:
    told(sandbox, receiver)
    properties = {"firstname": "Grace", "lastname": "Okoye", "jobtitle": "1"}
    hubspot.patch(f"{OBJECTS}/contacts/{contact['id']}", {"properties": properties})
    said = told(sandbox, receiver)

    changed = {each["propertyName"]: each["propertyValue"] for each in said}
    assert changed == {
        "firstname": "Grace",
        "jobtitle": "1",
        "hs_full_name_or_email": "Grace Okoye",
    }
    assert {each["subscriptionType"] for each in said} == {"contact.propertyChange"}
    assert len({each["subscriptionId"] for each in said}) == 3


def test_a_cleared_property_is_told_with_an_empty_value(
    sandbox: SandboxServer, hubspot: HubSpot, receiver: Receiver, contact: dict[str, str]
) -> None:
    told(sandbox, receiver)
    hubspot.patch(f"{OBJECTS}/contacts/{contact['id']}", {"properties": {"lastname": ""}})
    said = told(sandbox, receiver)

    assert ("lastname", "") in [(each["propertyName"], each["propertyValue"]) for each in said]


def test_an_archived_record_is_told_as_deleted(
    sandbox: SandboxServer, hubspot: HubSpot, receiver: Receiver, contact: dict[str, str]
) -> None:
    told(sandbox, receiver)
    hubspot.delete(f"{OBJECTS}/contacts/{contact['id']}")
    (event,) = told(sandbox, receiver)

    assert event["subscriptionType"] == "contact.deletion"
    assert event["changeFlag"] == "DELETED"
    assert event["objectId"] == int(contact["id"])


def test_a_primary_association_is_told_as_primary_and_unlabelled_in_both_directions(
    sandbox: SandboxServer, hubspot: HubSpot, receiver: Receiver, contact: dict[str, str]
) -> None:
    company = hubspot.create("companies", name="Bletchley")
    told(sandbox, receiver)
    path = f"{OBJECTS}/contacts/{contact['id']}/associations/companies/{company['id']}"
    primary = [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 1}]
    hubspot.put(path, primary)
    said = told(sandbox, receiver)

    assert Counter(
        (each["subscriptionType"], each["associationType"], each["isPrimaryAssociation"])
        for each in said
    ) == {
        ("contact.associationChange", "CONTACT_TO_COMPANY", False): 1,
        ("contact.associationChange", "CONTACT_TO_COMPANY", True): 1,
        ("company.associationChange", "COMPANY_TO_CONTACT", False): 1,
        ("company.associationChange", "COMPANY_TO_CONTACT", True): 1,
    }
    ids = {each["subscriptionType"]: (each["fromObjectId"], each["toObjectId"]) for each in said}
    assert ids == {
        "contact.associationChange": (int(contact["id"]), int(company["id"])),
        "company.associationChange": (int(company["id"]), int(contact["id"])),
    }
    assert not any(each["associationRemoved"] for each in said)
    assert not any("objectId" in each for each in said)

    hubspot.put(path, primary)
    assert told(sandbox, receiver) == []


def test_a_removed_association_is_told_as_removed(
    sandbox: SandboxServer, hubspot: HubSpot, receiver: Receiver, make_deal: Callable[..., Event]
) -> None:
    deal, item = make_deal(), hubspot.create("line_items", name="Seat", price="3")
    hubspot.put(f"{OBJECTS}/deals/{deal['id']}/associations/default/line_items/{item['id']}")
    told(sandbox, receiver)
    hubspot.delete(f"{OBJECTS}/deals/{deal['id']}/associations/line_items/{item['id']}")
    said = told(sandbox, receiver)

    assert {each["associationType"] for each in said} == {
        "DEAL_TO_LINE_ITEM",
        "LINE_ITEM_TO_DEAL",
    }
    assert all(each["associationRemoved"] for each in said)


def test_generic_subscriptions_name_the_object_type(
    sandbox: SandboxServer, hubspot: HubSpot, receiver: Receiver, make_deal: Callable[..., Event]
) -> None:
    contact = hubspot.create("contacts", email="ada@example.com")
    sandbox.set_webhooks(
        receiver.url,
        [
            {"eventType": "object.creation", "objectTypeId": "0-3"},
            {
                "eventType": "object.propertyChange",
                "objectTypeId": "0-3",
                "propertyName": "dealname",
            },
            {"eventType": "object.associationChange", "objectTypeId": "0-3"},
        ],
    )
    told(sandbox, receiver)
    deal = make_deal()
    hubspot.patch(f"{OBJECTS}/deals/{deal['id']}", {"properties": {"dealname": "Renewal"}})
    hubspot.put(f"{OBJECTS}/deals/{deal['id']}/associations/default/contacts/{contact['id']}")
    creation, change, association = sorted(
        told(sandbox, receiver), key=lambda each: int(each["eventId"])
    )

    assert (creation["subscriptionType"], creation["objectTypeId"]) == ("object.creation", "0-3")
    assert (change["propertyName"], change["objectTypeId"]) == ("dealname", "0-3")
    assert change["isSensitive"] is False
    assert "associationType" not in association
    assert association["fromObjectTypeId"] == "0-3"
    assert association["toObjectTypeId"] == "0-1"
    assert association["associationTypeId"] == 3
    assert association["associationCategory"] == "HUBSPOT_DEFINED"


def test_nothing_is_told_of_a_write_that_is_refused(
    sandbox: SandboxServer, hubspot: HubSpot, receiver: Receiver
) -> None:
    hubspot.batch(
        "contacts", "create", {"properties": {"firstname": "A"}}, {"properties": {"nothing": "B"}}
    )

    assert told(sandbox, receiver) == []


def test_nothing_is_told_of_demo_data_and_of_a_loaded_state(
    sandbox: SandboxServer, hubspot: HubSpot, receiver: Receiver
) -> None:
    hubspot.create("contacts", firstname="A")
    told(sandbox, receiver)
    fill_with_demo_data(*sandbox.sandbox.portals.values())
    sandbox.sandbox.restore(sandbox.sandbox.serialize())

    assert told(sandbox, receiver) == []


def test_no_event_is_even_made_while_nobody_is_subscribed(
    sandbox: SandboxServer, hubspot: HubSpot, receiver: Receiver
) -> None:
    sandbox.set_webhooks(None)
    hubspot.create("contacts", email="ada@example.com")
    sandbox.set_webhooks(receiver.url)

    assert told(sandbox, receiver) == []
    assert sandbox.flush_webhooks()["counts"]["events"] == 0


@pytest.mark.parametrize("merge_mints_new_id", [True, False])
def test_a_merge_is_told_with_the_deletion_of_what_was_merged_away_and_nothing_else(
    sandbox: SandboxServer,
    hubspot: HubSpot,
    receiver: Receiver,
    contact: dict[str, str],
    merge_mints_new_id: bool,
) -> None:
    sandbox.sandbox.settings.merge_mints_new_id = merge_mints_new_id
    other = hubspot.create("contacts", email="ada@work.example", phone="555 1234")
    told(sandbox, receiver)
    pair = {"primaryObjectId": contact["id"], "objectIdToMerge": other["id"]}
    survivor = hubspot.post(f"{OBJECTS}/contacts/merge", pair).json()
    merge, deletion = told(sandbox, receiver)

    assert merge["subscriptionType"] == "contact.merge"
    assert "objectId" not in merge
    assert merge["primaryObjectId"] == int(contact["id"])
    assert merge["mergedObjectIds"] == [int(other["id"])]
    assert merge["newObjectId"] == int(survivor["id"])
    assert merge["numberOfPropertiesMoved"] == 1
    assert deletion["subscriptionType"] == "contact.deletion"
    assert deletion["objectId"] == int(other["id"])


def test_a_delivery_carries_both_signatures_of_its_exact_bytes_and_url(
    sandbox: SandboxServer, hubspot: HubSpot, receiver: Receiver
) -> None:
    hubspot.create("contacts", email="ada@example.com", firstname="Adá")
    sandbox.flush_webhooks()
    (delivery,) = receiver.deliveries
    headers, secret = delivery.headers, DEFAULT_APP.client_secret

    timestamp = int(headers["X-HubSpot-Request-Timestamp"])
    assert abs(time.time() * 1000 - timestamp) < 60_000
    assert delivery.uri == receiver.url
    assert headers["X-HubSpot-Signature-Version"] == "v1"
    assert headers["X-HubSpot-Signature"] == sign_v1(secret, delivery.body)
    assert headers["X-HubSpot-Signature-v3"] == sign_v3(
        secret, "POST", receiver.url, delivery.body, timestamp
    )
    assert headers["Content-Type"].startswith("application/json")


def test_a_delivery_holds_a_hundred_events_at_most(
    sandbox: SandboxServer, hubspot: HubSpot, receiver: Receiver
) -> None:
    release = threading.Event()
    receiver.answer = lambda _: 204 if release.wait(30) else 500
    for _ in range(25):
        hubspot.batch("contacts", "create", *[{"properties": {"firstname": "A"}}] * 10)
    release.set()
    sandbox.flush_webhooks()

    assert len(receiver.events) == 250
    assert max(len(each.events) for each in receiver.deliveries) <= 100


def test_one_delivery_mixes_the_portals_of_an_app(
    sandbox: SandboxServer, hubspot: HubSpot, receiver: Receiver
) -> None:
    two_portals(sandbox)
    sandbox.sandbox.webhooks.deliveries.stop()
    hubspot.create("contacts", firstname="A")
    create_elsewhere(hubspot, "token-of-the-other")
    sandbox.sandbox.webhooks.deliveries.start()
    sandbox.flush_webhooks()
    (delivery,) = receiver.deliveries

    assert [each["portalId"] for each in delivery.events] == [DEFAULT_PORTAL_ID, OTHER_PORTAL]
    # Not unique: each portal counts its events by itself.
    assert len({each["eventId"] for each in delivery.events}) == 1


def test_an_app_hears_of_the_portals_alone_that_it_is_installed_in(
    sandbox: SandboxServer, hubspot: HubSpot, receiver: Receiver
) -> None:
    two_portals(sandbox, app_id=77)
    create_elsewhere(hubspot, "token-of-the-other")

    assert told(sandbox, receiver) == []


def two_portals(sandbox: SandboxServer, app_id: int = DEFAULT_APP.id) -> None:
    """Add a portal, which a token of the app opens; until the next reset of the sandbox."""
    sandbox.sandbox.open_portal(OTHER_PORTAL)
    sandbox.sandbox.tokens["token-of-the-other"] = Access(OTHER_PORTAL, app_id)


def create_elsewhere(hubspot: HubSpot, token: str) -> None:
    answer = requests.post(
        f"{hubspot.url}{OBJECTS}/contacts",
        json={"properties": {"firstname": "B"}},
        headers={"Authorization": f"Bearer {token}"},
        timeout=5,
    )
    assert answer.status_code == 201


@pytest.mark.parametrize("status", [301, 400, 404, 429, 500])
def test_any_answer_but_2xx_is_tried_again_with_the_next_attempt_number(
    sandbox: SandboxServer, hubspot: HubSpot, receiver: Receiver, status: int
) -> None:
    receiver.answer = lambda _: status
    hubspot.create("contacts", firstname="A")
    report = first_failure(sandbox)
    assert report["pending"] == 1
    assert report["recent"][0]["status"] == status

    receiver.answer = lambda _: 200
    sandbox.flush_webhooks()

    assert [each["attemptNumber"] for each in receiver.events] == [0, 1]
    first, second = receiver.events
    assert {**first, "attemptNumber": 1} == second
    assert receiver.deliveries[0].headers != receiver.deliveries[1].headers


def test_ten_retries_are_spread_over_a_day_and_then_it_is_given_up(
    sandbox: SandboxServer, hubspot: HubSpot, receiver: Receiver
) -> None:
    receiver.answer = lambda _: 500
    hubspot.create("contacts", firstname="A")
    clock, deliveries = sandbox.sandbox.clock, sandbox.sandbox.webhooks.deliveries
    report = first_failure(sandbox)
    moments = [0]
    for attempt in range(1, 11):
        # Nothing comes before its time …
        assert report["pending"] == 1
        assert len(receiver.deliveries) == attempt
        # … and what is hours away comes when the clock says so.
        wait = deliveries.next_in_ms()
        assert wait > 0
        clock.offset_ms += wait
        moments.append(moments[-1] + wait)
        wait_until(lambda done=attempt: deliveries.report()["counts"]["failures"] > done)
        report = deliveries.report()

    assert [each["attemptNumber"] for each in receiver.events] == list(range(11))
    assert report["pending"] == 0
    assert report["counts"]["abandoned"] == 1
    assert DAY_MS * 0.7 < moments[-1] <= DAY_MS


def first_failure(sandbox: SandboxServer) -> dict[str, Any]:
    """Wait until an attempt has failed, and return the report."""
    deliveries = sandbox.sandbox.webhooks.deliveries
    wait_until(lambda: deliveries.report()["counts"]["failures"] > 0)
    return deliveries.report()


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_the_retries_can_be_pressed_together(
    sandbox: SandboxServer, hubspot: HubSpot, receiver: Receiver
) -> None:
    sandbox.set_delivery(retry_span_ms=20)
    receiver.answer = lambda _: 500
    hubspot.create("contacts", firstname="A")
    wait_until(lambda: len(receiver.deliveries) == 11)

    wait_until(lambda: sandbox.flush_webhooks()["counts"]["abandoned"] == 1)


def test_a_target_that_hangs_is_left_after_its_time(
    sandbox: SandboxServer, hubspot: HubSpot
) -> None:
    sandbox.set_delivery(timeout_ms=100)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        sandbox.set_webhooks(f"http://127.0.0.1:{silent.getsockname()[1]}/")
        hubspot.create("contacts", firstname="A")
        report = first_failure(sandbox)

    assert report["recent"][0]["error"] == "timed out"
    assert report["pending"] == 1


def test_a_target_that_hangs_holds_up_nobody(sandbox: SandboxServer, hubspot: HubSpot) -> None:
    sandbox.set_delivery(timeout_ms=60_000)
    deliveries = sandbox.sandbox.webhooks.deliveries
    with socket.create_server(("127.0.0.1", 0)) as silent:
        sandbox.set_webhooks(f"http://127.0.0.1:{silent.getsockname()[1]}/")
        for number in range(1, 4):
            hubspot.create("contacts", firstname="A")
            wait_until(lambda flights=number: deliveries.report()["in_flight"] == flights)
        deliveries.clear()


def test_a_target_that_trickles_is_cut_too(sandbox: SandboxServer, hubspot: HubSpot) -> None:
    sandbox.set_delivery(timeout_ms=150)
    with socket.create_server(("127.0.0.1", 0)) as trickling:

        def trickle() -> None:
            connection, _ = trickling.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\n")
                try:
                    for _ in range(500):
                        connection.sendall(b"X-Slow: 1\r\n")
                        time.sleep(0.03)
                except OSError:
                    return

        thread = threading.Thread(target=trickle)
        thread.start()
        sandbox.set_webhooks(f"http://127.0.0.1:{trickling.getsockname()[1]}/")
        started = time.monotonic()
        hubspot.create("contacts", firstname="A")
        report = first_failure(sandbox)
        assert time.monotonic() - started < 10
        thread.join()

    assert report["recent"][0]["error"] == "timed out"


def test_a_target_that_is_down_gets_it_when_it_is_back(
    sandbox: SandboxServer, hubspot: HubSpot, receiver: Receiver
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    sandbox.set_webhooks(f"http://127.0.0.1:{port}/")
    hubspot.create("contacts", firstname="A")
    assert first_failure(sandbox)["recent"][0]["error"] == "ConnectionRefusedError"

    sandbox.set_webhooks(receiver.url)
    assert [each["attemptNumber"] for each in told(sandbox, receiver)] == [1]


def test_ten_requests_are_under_way_at_most(
    sandbox: SandboxServer, hubspot: HubSpot, receiver: Receiver
) -> None:
    sandbox.set_delivery(timeout_ms=60_000)
    release = threading.Event()
    receiver.answer = lambda _: 204 if release.wait(30) else 500
    for number in [*range(1, 11), 10, 10, 10, 10]:
        hubspot.create("contacts", firstname="A")
        # Else a busy machine would send several events in one request.
        wait_until(lambda under_way=number: len(receiver.deliveries) == under_way)
    assert admin(sandbox, "GET", "deliveries").json()["in_flight"] == 10

    release.set()
    assert len(told(sandbox, receiver)) == 14


def test_a_stop_is_quick_and_what_was_under_way_comes_after_the_start() -> None:
    with Receiver() as receiver, socket.create_server(("127.0.0.1", 0)) as silent:
        server = SandboxServer(index_lag_ms=0)
        server.set_webhooks(f"http://127.0.0.1:{silent.getsockname()[1]}/")
        server.set_delivery(timeout_ms=60_000)
        server.start()
        client = HubSpot(server.url)
        with client.session:
            client.create("contacts", firstname="A")
        wait_until(lambda: server.sandbox.webhooks.deliveries.report()["in_flight"] == 1)
        started = time.monotonic()
        server.stop()
        assert time.monotonic() - started < 20  # The target has a minute.
        assert server.flush_webhooks()["pending"] == 1

        server.set_webhooks(receiver.url)
        with server:
            server.flush_webhooks()

        assert receiver.types() == ["contact.creation"]
        assert receiver.events[0]["attemptNumber"] == 0


@given(
    chances=st.fixed_dictionaries(
        {name: st.sampled_from([0.0, 0.3, 1.0]) for name in ("duplicates", "reordering", "delay")}
    ),
    seed=st.integers(0, 9),
    failing=st.sets(st.integers(0, 6)),
)
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_every_event_arrives_at_least_once_whatever_disorder_is_on(
    sandbox: SandboxServer,
    hubspot: HubSpot,
    receiver: Receiver,
    chances: dict[str, float],
    seed: int,
    failing: set[int],
) -> None:
    receiver.clear()
    sandbox.set_delivery(**chances, seed=seed, delay_ms=20, retry_span_ms=100)
    receiver.answer = lambda _: 500 if len(receiver.deliveries) in failing else 204
    created = [
        hubspot.batch("contacts", "create", *[{"properties": {"firstname": "A"}}] * 3)
        for _ in range(4)
    ]
    wait_until(lambda: sandbox.flush_webhooks()["pending"] == 0)

    ids = {int(each["id"]) for answer in created for each in answer.json()["results"]}
    assert {each["objectId"] for each in receiver.events} == ids
    if chances["duplicates"] == 1:
        assert min(Counter(each["objectId"] for each in receiver.events).values()) >= 2


def arrivals(sandbox: SandboxServer, hubspot: HubSpot, receiver: Receiver) -> list[int]:
    """Create thirty contacts at once, and return the order in which they were told, from 0."""
    receiver.clear()
    answer = hubspot.batch("contacts", "create", *[{"properties": {"firstname": "A"}}] * 30)
    ids = sorted(int(each["id"]) for each in answer.json()["results"])
    sandbox.flush_webhooks()
    return [ids.index(each["objectId"]) for each in receiver.events]


def test_duplicates_come_with_the_same_event_id_and_attempt_number(
    sandbox: SandboxServer, hubspot: HubSpot, receiver: Receiver
) -> None:
    sandbox.set_delivery(duplicates=1)
    hubspot.create("contacts", firstname="A")
    first, second = told(sandbox, receiver)

    assert first == second


def test_reordering_lets_some_come_after_others_that_happened_later(
    sandbox: SandboxServer, hubspot: HubSpot, receiver: Receiver
) -> None:
    assert arrivals(sandbox, hubspot, receiver) == list(range(30))
    sandbox.set_delivery(reordering=0.5, seed=3, delay_ms=60_000)
    order = arrivals(sandbox, hubspot, receiver)

    assert order != sorted(order)
    assert sorted(order) == list(range(30))


def test_loss_loses_some_for_good(
    sandbox: SandboxServer, hubspot: HubSpot, receiver: Receiver
) -> None:
    sandbox.set_delivery(loss=0.5, seed=1)
    order = arrivals(sandbox, hubspot, receiver)
    again = arrivals(sandbox, hubspot, receiver)

    assert 0 < len(order) < 30
    sandbox.set_delivery(loss=0.5, seed=1)
    assert arrivals(sandbox, hubspot, receiver) == order != again
    counts = sandbox.flush_webhooks()["counts"]
    assert counts["lost"] + counts["delivered"] == counts["events"] == 90


def test_what_waited_is_flushed_in_its_order(
    sandbox: SandboxServer, hubspot: HubSpot, receiver: Receiver
) -> None:
    sandbox.set_delivery(delay=1)

    assert arrivals(sandbox, hubspot, receiver) == list(range(30))


def test_a_delay_holds_an_event_back_until_the_clock_has_passed_it(
    sandbox: SandboxServer, hubspot: HubSpot, receiver: Receiver
) -> None:
    sandbox.set_delivery(delay=1, delay_ms=3_600_000)
    hubspot.create("contacts", firstname="A")
    time.sleep(0.1)
    assert receiver.deliveries == []

    sandbox.sandbox.clock.offset_ms += 3_600_000
    wait_until(lambda: len(receiver.deliveries) == 1)


@pytest.mark.parametrize(
    "change", [{"loss": 2}, {"loss": "1"}, {"loss": True}, {"seed": 0.5}, {"luck": 1}, []]
)
def test_delivery_settings_that_cannot_be_are_refused(sandbox: SandboxServer, change: Any) -> None:
    before = admin(sandbox, "GET", "deliveries/settings").json()

    assert admin(sandbox, "PUT", "deliveries/settings", change).status_code == 400
    assert admin(sandbox, "GET", "deliveries/settings").json() == before


def test_the_admin_api_sets_webhooks_and_disorder_and_lists_deliveries(
    sandbox: SandboxServer, hubspot: HubSpot, receiver: Receiver
) -> None:
    wanted = [{"eventType": "contact.creation"}]
    body = {"targetUrl": receiver.url, "subscriptions": wanted}
    (shown,) = admin(sandbox, "PUT", "webhooks", body).json()["results"]
    assert shown["targetUrl"] == receiver.url
    assert [(each["eventType"], each["active"]) for each in shown["subscriptions"]] == [
        ("contact.creation", True)
    ]
    answer = admin(sandbox, "PUT", "deliveries/settings", {"duplicates": 1})
    assert answer.json()["duplicates"] == 1

    hubspot.create("contacts", firstname="A")
    hubspot.create("companies", name="B")
    report = admin(sandbox, "POST", "deliveries/flush").json()

    assert receiver.types() == ["contact.creation"] * 2
    assert report["pending"] == 0
    assert report["counts"] == {
        "events": 1,
        "delivered": 2,
        "abandoned": 0,
        "requests": report["counts"]["requests"],
        "failures": 0,
        "duplicates": 1,
        "lost": 0,
    }
    assert report["recent"][0]["status"] == 204
    assert admin(sandbox, "DELETE", "deliveries").json()["counts"]["events"] == 0
    assert admin(sandbox, "PUT", "webhooks", {"targetUrl": None}).status_code == 200
    assert sandbox.sandbox.webhooks.of_app(DEFAULT_APP.id).subscriptions() == []


def test_a_reset_forgets_pending_deliveries_and_keeps_the_target(
    sandbox: SandboxServer, hubspot: HubSpot, receiver: Receiver
) -> None:
    receiver.answer = lambda _: 500
    hubspot.create("contacts", firstname="A")
    first_failure(sandbox)
    sandbox.reset()
    receiver.answer = lambda _: 204
    receiver.clear()

    assert told(sandbox, receiver) == []
    hubspot.create("contacts", firstname="A")
    assert len(told(sandbox, receiver)) == 1


def test_targets_and_subscriptions_are_part_of_the_state(
    sandbox: SandboxServer, receiver: Receiver
) -> None:
    state = sandbox.sandbox
    before = admin(sandbox, "GET", "webhooks").json()
    revision, kept = state.revision(), state.serialize()
    sandbox.set_webhooks(None)
    assert state.revision() != revision

    state.restore(kept)
    assert admin(sandbox, "GET", "webhooks").json() == before


def test_events_of_other_apps_carry_their_own_id_and_secret(
    sandbox: SandboxServer, hubspot: HubSpot, receiver: Receiver
) -> None:
    other = App(77, "Another", "client", "another-secret")
    sandbox.sandbox.apps[77] = other
    two_portals(sandbox, app_id=77)
    try:
        body = {"appId": 77, "targetUrl": receiver.url}
        assert admin(sandbox, "PUT", "webhooks", body).status_code == 200
        create_elsewhere(hubspot, "token-of-the-other")
        sandbox.flush_webhooks()
        (delivery,) = receiver.deliveries

        assert [each["appId"] for each in delivery.events] == [77]
        assert delivery.headers["X-HubSpot-Signature"] == sign_v1("another-secret", delivery.body)
    finally:
        admin(sandbox, "PUT", "webhooks", {"appId": 77, "targetUrl": None})
        del sandbox.sandbox.apps[77]
