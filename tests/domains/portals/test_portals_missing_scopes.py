"""A token that lacks a scope: what needs it waits with a reason, and all else goes on."""

from contextvars import Context

import pytest
from sqlalchemy import text

from crm.accounts import api_keys
from crm.db import transaction
from crm.object_types import OBJECT_TYPES
from crm.operations.sync_status import find_sync_status
from crm.pull import runner
from crm.push import job
from hubspot_sandbox import DEFAULT_APP, DEFAULT_PORTAL_ID
from hubspot_sandbox.access import Access
from tests.domains.graphs import end_pause, portal, records_in, states, write_contact, write_graph

OBJECTS = "/crm/objects/2026-09"
TOKEN = "pat-na1-narrow"
SCOPES = {
    *(
        f"crm.objects.{name}.{action}"
        for name in ("contacts", "companies", "deals", "line_items")
        for action in ("read", "write")
    ),
    *(
        f"crm.schemas.{name}.{action}"
        for name in ("companies", "deals", "tickets", "line_items")
        for action in ("read", "write")
    ),
    "tickets",
}
TICKETS = {"tickets", "crm.schemas.tickets.read", "crm.schemas.tickets.write"}
NEW = {
    "contacts": {"email": "ada@example.com"},
    "companies": {"domain": "engines.example", "name": "Engines"},
    "deals": {
        "external_id": "D",
        "dealname": "An engine",
        "dealstage": "qualifiedtobuy",
        "pipeline": "default",
    },
    "tickets": {"external_id": "T", "subject": "Help", "pipeline": "0", "hs_pipeline_stage": "1"},
    "line_items": {"external_id": "L", "name": "Cog"},
}
UNWRITABLE = {
    "no definitions of line items": (
        "line_items",
        {"crm.schemas.line_items.read", "crm.schemas.line_items.write"},
    ),
    "no new definitions of line items": ("line_items", {"crm.schemas.line_items.write"}),
    "no definitions of deals": ("deals", {"crm.schemas.deals.read"}),
    "no definitions of companies": ("companies", {"crm.schemas.companies.write"}),
    "no tickets": ("tickets", TICKETS),
    "no writing of line items": ("line_items", {"crm.objects.line_items.write"}),
    "no writing of contacts": ("contacts", {"crm.objects.contacts.write"}),
    "no writing of deals": ("deals", {"crm.objects.deals.write"}),
}


@pytest.fixture
def grant(sandbox, change_settings):
    """Gives the token all scopes but some."""

    def do(without=()):
        access = Access(DEFAULT_PORTAL_ID, DEFAULT_APP.id, frozenset(SCOPES - set(without)))
        sandbox.sandbox.registry.add_token(TOKEN, access)
        change_settings(hubspot_private_app_token=TOKEN)

    return do


@pytest.fixture
def post(client, app):
    """Writes a record as another application does; returns the status."""
    key = {"X-API-Key": api_keys.create_key(name="a test", organization="Default")}

    def do(object_type, **changes):
        return client.post(f"/{object_type}", json=NEW[object_type] | changes, headers=key)

    return do


def blocked():
    return portal().blocked


def not_synced():
    return {each for each in states() if "synced" not in each}


@pytest.mark.one_of_many
@pytest.mark.parametrize(("name", "missing"), UNWRITABLE.values(), ids=UNWRITABLE)
def test_a_type_that_cannot_be_written_waits_while_all_else_goes_and_follows_by_itself(
    grant, post, send, hubspot, name, missing
):
    grant(without=missing)

    answers = {each: post(each).status_code for each in NEW}
    send()

    assert answers == {each: 202 if each == name else 201 for each in NEW}
    assert states()[f"{name} pending"] == 1
    assert not_synced() == {f"{name} pending"}
    assert blocked().keys() == {name}
    assert "hasn't been granted all required scopes" in blocked()[name]
    assert any(scope in blocked()[name] for scope in missing)
    grant()
    end_pause()
    send()
    assert not_synced() == set()
    assert blocked() == {}
    assert portal().push_error is None
    assert {each: len(records_in(hubspot, each)) for each in NEW} == dict.fromkeys(NEW, 1)


@pytest.mark.one_of_many
@pytest.mark.parametrize(("name", "missing"), UNWRITABLE.values(), ids=UNWRITABLE)
def test_the_push_sends_all_that_it_may(grant, post, send, sandbox, name, missing):
    grant()
    sandbox.stop()
    assert {post(each).status_code for each in NEW} == {202}
    sandbox.start()
    grant(without=missing)
    end_pause()

    send()

    assert not_synced() == {f"{name} pending"}


@pytest.mark.one_of_many
@pytest.mark.parametrize("name", OBJECT_TYPES)
def test_a_type_that_may_not_be_read_is_not_overwritten_unseen_and_all_else_goes(
    grant, post, send, sandbox, name
):
    grant()
    assert {post(each).status_code for each in NEW} == {201}
    sandbox.set_faults([{"kind": "status", "status": 503}])
    changes = {"contacts": {"firstname": "A"}, "tickets": {"subject": "B"}}
    for each in NEW:
        more = changes.get(each) or {"dealname" if each == "deals" else "name": "C"}
        assert post(each, **more).status_code == 202
    sandbox.set_faults([])
    grant(without=TICKETS if name == "tickets" else {f"crm.objects.{name}.read"})
    end_pause()

    send()

    assert not_synced() == {f"{name} pending"}
    assert blocked().keys() == {name}
    grant()
    end_pause()
    send()
    assert not_synced() == set()


def test_a_blocked_type_is_asked_for_again_only_after_a_pause_that_grows(
    grant, post, send, sandbox, portal_id
):
    grant(without={"crm.schemas.line_items.read"})
    assert post("line_items").status_code == 202
    send()
    pauses = [(portal().push_retry_at - portal().now).total_seconds()]
    sandbox.clear_requests()

    for number in range(3):
        assert post("line_items", name=f"Cog {number}").status_code == 202
        write_contact(portal_id, f"person{number}@example.com")
        send()
    asked = sandbox.requests()["by_route"]
    for _ in range(4):
        end_pause()
        send()
        pauses.append((portal().push_retry_at - portal().now).total_seconds())

    assert not [each for each in asked if "properties" in each or "line_items" in each]
    assert states()["contacts synced"] == 3
    assert pauses[-1] > 4 > 1 > pauses[0]


def test_a_type_is_free_again_without_anything_to_send(grant, send, run_jobs, app):
    grant(without={"crm.schemas.line_items.read"})
    send()
    assert blocked().keys() == {"line_items"}
    grant()
    end_pause()

    job.sweep()
    run_jobs()

    assert blocked() == {}


def test_a_worker_that_begins_asks_for_a_blocked_type_at_once(grant, send, run_jobs):
    grant(without={"crm.schemas.line_items.read"})
    send()
    grant()

    job.begin()
    run_jobs()

    assert blocked() == {}
    assert portal().push_error is None


def test_a_blocked_type_pauses_and_heals_with_everything_while_hubspot_is_down(
    grant, post, send, sandbox, portal_id
):
    grant(without={"crm.schemas.line_items.read"})
    post("line_items")
    send()
    sandbox.set_faults([{"kind": "status", "status": 503}])
    write_contact(portal_id, "ada@example.com")
    send()
    assert blocked() == {}
    sandbox.set_faults([])
    end_pause()

    send()

    assert not_synced() == {"line_items pending"}
    assert blocked().keys() == {"line_items"}


def test_a_record_waits_for_archiving_while_all_else_is_archived(
    grant, post, client, send, hubspot
):
    grant()
    ids = {each: post(each).json for each in NEW}
    key = {"X-API-Key": api_keys.create_key(name="another", organization="Default")}
    grant(without={"crm.objects.line_items.write"})

    statuses = {}
    for each, told in ids.items():
        record_id = told[f"hubspot_{OBJECT_TYPES[each].singular}_id"]
        statuses[each] = client.delete(f"/{each}/{record_id}", headers=key).status_code
    send()

    assert statuses == {each: 202 if each == "line_items" else 204 for each in NEW} or (
        set(statuses.values()) <= {200, 202, 204} and statuses["line_items"] == 202
    )
    assert not_synced() == {"line_items pending"}
    grant()
    end_pause()
    send()
    assert records_in(hubspot, "line_items") == []


def test_associations_that_hubspot_refuses_for_want_of_a_scope_wait_alone(
    relay, send, portal_id, sandbox
):
    def refuse(asked):
        answer = asked.pass_on()
        if "associations" in asked.path and "contacts/deals" in asked.path:
            answer.status, answer.body = 403, {"message": "Not these", "category": "MISSING_SCOPES"}
        return answer

    relay.handler = refuse
    write_graph(portal_id, "ada@example.com")
    send()
    waiting = not_synced(), states()["associations synced"], dict(blocked())

    relay.handler = lambda asked: asked.pass_on()
    end_pause()
    send()

    assert waiting == ({"associations pending"}, 1, {"contacts to deals": "Not these"})
    assert not_synced() == set()
    assert blocked() == {}


def people_here():
    with transaction() as session:
        return set(
            session.scalars(text("SELECT properties ->> 'lastname' FROM records WHERE email <> ''"))
        )


@pytest.mark.parametrize(
    "missing",
    [
        {"crm.schemas.line_items.read", "crm.schemas.line_items.write"},
        {"crm.objects.deals.read"},
        TICKETS,
    ],
    ids=["definitions of line items", "deals", "tickets"],
)
def test_webhooks_are_acted_on_while_a_type_is_blocked(grant, send, ear, hubspot, missing):
    grant(without=missing)
    with transaction() as session:
        session.execute(text("UPDATE portals SET set_up_at = NULL"))
    made = hubspot.post(f"{OBJECTS}/contacts", {"properties": {"email": "eve@example.com"}}).json()
    ear.hear()
    hubspot.patch(f"{OBJECTS}/contacts/{made['id']}", {"properties": {"lastname": "Eve"}})

    ear.hear()

    assert people_here() == {"Eve"}


@pytest.mark.one_of_many
@pytest.mark.parametrize("name", ["companies", "deals", "tickets", "line_items"])
def test_all_types_but_the_blocked_one_are_read(grant, send, hubspot, run_jobs, name):
    """Also for those that are associated with its records."""
    grant(without=TICKETS if name == "tickets" else {f"crm.objects.{name}.read"})
    contact, deal, ticket = (
        hubspot.post(f"{OBJECTS}/{each}", {"properties": properties}).json()["id"]
        for each, properties in (
            ("contacts", {"email": "eve@example.com", "lastname": "Eve"}),
            ("deals", {"dealname": "x", "dealstage": "qualifiedtobuy", "pipeline": "default"}),
            ("tickets", {"subject": "x", "hs_pipeline": "0", "hs_pipeline_stage": "1"}),
        )
    )
    for path in (
        f"contacts/{contact}/associations/default/deals/{deal}",
        f"deals/{deal}/associations/default/tickets/{ticket}",
        f"contacts/{contact}/associations/default/tickets/{ticket}",
    ):
        assert hubspot.put(f"{OBJECTS}/{path}", None).ok
    send()

    runner.sweep()
    run_jobs()
    hubspot.patch(f"{OBJECTS}/contacts/{contact}", {"properties": {"lastname": "Evans"}})
    for kind in ("incremental", "reconcile"):
        runner.begin_for_all_portals(kind)
        run_jobs()

    found = {(run.kind, run.object_type): run.state for run in runner.list_status()}
    assert {kind for (kind, each), state in found.items() if state == "completed"} == {
        "backfill",
        "incremental",
        "reconcile",
    }
    assert {each for (_, each), state in found.items() if state != "completed"} == {name}
    assert people_here() == {"Evans"}
    grant()
    runner.sweep()
    run_jobs()
    assert {run.state for run in runner.list_status()} == {"completed"}
    if name in ("deals", "tickets"):
        assert states()["associations synced"] == 3


def test_the_status_says_what_is_blocked_and_why(app, grant, send, portal_id):
    grant(without={"crm.schemas.line_items.read"})
    send()

    told = app.test_cli_runner().invoke(args=["sync", "status"]).output

    assert "line_items" in told
    assert "crm.schemas.line_items.read" in told
    doctor = Context().run(app.test_cli_runner().invoke, args=["hubspot", "doctor"]).output
    assert "FAIL  sending line_items: blocked: This app hasn't been granted" in doctor
    standing = find_sync_status(portal_id)
    assert standing.pause is None
    assert standing.blocked.keys() == {"line_items"}
