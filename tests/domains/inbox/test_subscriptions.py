"""Subscriptions: what the app's file asks HubSpot for is all that the mirror needs to be told."""

import orjson
import pytest

from crm.inbox import process
from crm.inbox.receive import store_events
from crm.inbox.replay import list_events
from crm.inbox.subscriptions import make_manifest
from crm.object_types import OBJECT_TYPES
from tests.domains import graphs
from tests.domains.webhook_listener import event, outcomes


@pytest.fixture
def manifest(app, change_settings):
    change_settings(public_url="https://crm.example.com")
    return make_manifest()


@pytest.fixture
def run(app):
    """Runs a command of ``flask webhooks``; returns its exit code and what it printed."""

    def run(*arguments):
        done = app.test_cli_runner().invoke(args=["webhooks", *arguments])
        return done.exit_code, done.output

    return run


def test_the_manifest_has_the_shape_of_hubspots_app_file(manifest):
    config = manifest["config"]

    assert (manifest["uid"], manifest["type"]) == ("webhooks", "webhooks")
    assert config["settings"] == {
        "targetUrl": "https://crm.example.com/webhooks/hubspot",
        "maxConcurrentRequests": 10,
    }
    assert config["subscriptions"]["hubEvents"] == [
        {"subscriptionType": "contact.privacyDeletion", "active": True}
    ]
    assert {
        "subscriptionType": "object.propertyChange",
        "objectType": "deal",
        "active": True,
        "propertyName": "dealstage",
    } in config["subscriptions"]["crmObjects"]


def test_the_sandbox_takes_every_subscription_of_the_manifest_and_they_suffice(
    ear, sandbox, hubspot, manifest, change_settings
):
    change_settings(public_url="")  # The sandbox calls the service by its own address.
    type_ids = {each.singular: each.type_id for each in OBJECT_TYPES.values()}
    wanted = manifest["config"]["subscriptions"]
    webhooks = sandbox.sandbox.webhooks.of_app(next(iter(sandbox.sandbox.apps)))
    sandbox.set_webhooks(
        webhooks.target.url,
        [
            {
                "eventType": each["subscriptionType"],
                "objectTypeId": type_ids[each["objectType"]],
                "propertyName": each.get("propertyName"),
            }
            for each in wanted["crmObjects"]
        ]
        + [{"eventType": each["subscriptionType"]} for each in wanted["hubEvents"]],
    )
    contact = hubspot.create("contacts", email="ada@example.com")["id"]
    ear.hear()
    hubspot.update("contacts", contact, firstname="Ada")
    ear.hear()

    assert graphs.states() == {"contacts synced": 1}
    assert outcomes()["object.propertyChange", "read"] == 1


def test_the_manifest_needs_a_public_address(run):
    code, printed = run("manifest")

    assert (code, printed) == (
        1,
        "Error: PUBLIC_URL is not set; HubSpot would not know where to call us\n",
    )


def test_the_command_prints_the_manifest(run, manifest):
    code, printed = run("manifest")

    assert (code, orjson.loads(printed)) == (0, manifest)


def test_events_are_listed_newest_first_with_what_came_of_them(run, set_up, portal_id):
    store_events([event("contact.deletion", "1"), event("product.creation", "2")])
    process.process(portal_id)
    store_events([event("contact.creation", "3")])

    code, printed = run("list")
    lines = [each.split("  ")[3:] for each in printed.splitlines()]

    assert (code, lines) == (
        0,
        [
            ["contact.creation 3", "waiting"],
            ["product.creation 2", "ignored"],
            ["contact.deletion 1", "known"],
        ],
    )
    assert len(run("list", "--limit", "2")[1].splitlines()) == 2
    assert "contact.creation 3" in run("list", "--state", "waiting")[1]
    assert run("list", "--state", "given up") == (0, "")


def test_a_replayed_event_is_looked_at_again(run, hubspot, set_up, portal_id):
    made = hubspot.create("contacts", email="ada@example.com")
    store_events([event("contact.creation", made["id"], portalId=7)])
    store_events([event("product.creation", "1")])
    process.process(portal_id)
    product, contact = list_events(limit=2)
    graphs_before = graphs.states()

    assert run("replay", "--id", str(product.id)) == (0, "1 events are looked at anew.\n")
    assert [each.outcome for each in list_events(limit=2)] == [None, contact.outcome]
    assert run("replay", "--since", "2020-01-01") == (0, "2 events are looked at anew.\n")
    process.process(portal_id)
    assert [each.outcome for each in list_events(limit=2)] == ["ignored", None]
    assert graphs_before == {}


def test_a_replay_leaves_alone_the_events_that_were_not_named(run, set_up):
    store_events([event("product.creation", "1")])

    code, printed = run("replay")

    assert code == 2
    assert "Name events by --id" in printed
    assert run("replay", "--since", "2999-01-01T00:00:00")[1].startswith("0 events")
