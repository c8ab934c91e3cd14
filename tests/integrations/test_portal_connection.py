"""Staying connected: a portal that an administrator connected is mirrored until they end it."""

import pytest
from sqlalchemy import select, text

from crm.accounts import users
from crm.db import db, transaction
from crm.hubspot.account import get_details
from crm.integrations.connections import Connections
from crm.integrations.providers.hubspot import HubSpot as HubSpotProvider
from crm.integrations.providers.provider import Tokens
from crm.integrations.store import get_store
from crm.models import Portal, Record, SyncRun, User
from crm.portals import portals
from crm.portals.oauth_tokens import make_vault
from crm.pull import runner
from crm.push import job
from hubspot_sandbox import DEFAULT_APP, DEFAULT_PORTAL_ID
from hubspot_sandbox.access import Grant
from tests.domains.webhook_listener import served
from tests.sandbox.client import HubSpot


@pytest.fixture
def hubspot(sandbox):
    client = HubSpot(sandbox.url)
    with client.session:
        yield client


@pytest.fixture
def admin(open_browser):
    return open_browser(role="admin")


@pytest.fixture
def user(open_browser):
    return open_browser()


def mirrored():
    db.session.rollback()
    records = db.session.scalars(select(Record).where(Record.archived_at.is_(None)))
    return sorted(each.properties["email"] for each in records)


def row(portal_id):
    db.session.rollback()
    return db.session.execute(
        select(Portal.hub_id, Portal.refresh_token, Portal.access_token, Portal.set_up_at).where(
            Portal.id == portal_id
        )
    ).one()


def authorize(browser, provider="hubspot"):
    return browser.client.post(
        f"/integrations/{provider}/authorize",
        json={"stay_connected": True},
        headers=browser.person.headers,
    )


def stay(browser):
    page = browser.connect("hubspot", stay_connected=True)
    assert page.status_code == 200, page.text
    return page


def test_a_portal_that_stays_connected_is_mirrored(admin, hubspot, run_jobs):
    hubspot.create("contacts", email="ada@example.com")

    page = stay(admin)
    run_jobs()

    assert "It stays connected" in page.text
    assert mirrored() == ["ada@example.com"]


def test_what_changes_afterwards_is_taken_in_and_sent(admin, hubspot, run_jobs, portal_id):
    stay(admin)
    run_jobs()
    hubspot.create("contacts", email="grace@example.com")
    admin.client.post(
        "/contacts", json={"email": "ada@example.com"}, headers=admin.person.headers
    ).get_json()

    runner.begin_for_all_portals("incremental")
    run_jobs()

    assert mirrored() == ["ada@example.com", "grace@example.com"]
    held = hubspot.get("/crm/v3/objects/contacts").json()["results"]
    assert {each["properties"]["email"] for each in held} == {*mirrored()}


def test_its_webhooks_are_acted_on(app, admin, hubspot, sandbox, run_jobs):
    stay(admin)
    run_jobs()
    with served(app) as url:
        sandbox.set_webhooks(f"{url}/webhooks/hubspot")
        hubspot.create("contacts", email="ada@example.com")
        sandbox.flush_webhooks()

    run_jobs()

    assert mirrored() == ["ada@example.com"]


def test_its_tokens_are_stored_encrypted_in_the_portals_row(admin, sandbox, portal_id):
    stay(admin)

    hub_id, refresh_token, access_token, _ = row(portal_id)

    assert hub_id == DEFAULT_PORTAL_ID
    registry = sandbox.sandbox.registry
    for secret in (*registry.grants, *registry.tokens):
        assert secret.encode() not in bytes(refresh_token) + bytes(access_token)
    assert get_details(portals.connect(portal_id)).hub_id == DEFAULT_PORTAL_ID


def test_everybody_in_the_organization_sees_that_it_stays_connected(admin, user):
    stay(admin)

    told = user.get("/hubspot/credentials").json

    assert (told["connected"], told["stays_connected"], told["until"]) == (True, True, None)
    assert told["account"] == f"portal {DEFAULT_PORTAL_ID}"
    assert not told["can_stay_connected"]


def test_its_items_are_seen_by_who_may_see_the_mirror(admin, user, hubspot, change_settings):
    hubspot.create("contacts", email="ada@example.com")
    stay(admin)

    assert [each["name"] for each in user.get("/hubspot/items").json["items"]] == [
        "ada@example.com"
    ]
    change_settings(contacts_visible_to_users="own")
    assert user.get("/hubspot/items").status_code == 409
    assert admin.get("/hubspot/items").status_code == 200


def test_a_user_cannot_let_it_stay_connected(user):
    answer = authorize(user)

    assert (answer.status_code, answer.json["error_code"]) == (403, "FORBIDDEN")
    assert not user.get("/hubspot/credentials").json["can_stay_connected"]


def test_who_is_no_admin_any_more_on_the_way_back_cannot_either(open_browser, portal_id):
    browser = open_browser(role="admin")
    back = browser.consent(browser.begin("hubspot", stay_connected=True))
    with transaction() as session:
        session.execute(text("UPDATE users SET role = 'user'"))

    page = browser.client.get(back)

    assert page.status_code == 403
    assert "Only an admin" in page.text
    assert row(portal_id).refresh_token is None


@pytest.mark.parametrize("provider", ["airtable", "notion"])
def test_only_hubspot_can_stay_connected(admin, provider):
    answer = authorize(admin, provider)

    assert (answer.status_code, [*answer.json["errors"]]) == (400, ["stay_connected"])


@pytest.mark.parametrize("setting", ["hubspot_private_app_token", "hubspot_refresh_token"])
def test_what_the_settings_connect_is_not_connected_in_a_second_way(
    admin, change_settings, setting
):
    change_settings(**{setting: "pat-na1-sandbox"})

    assert authorize(admin).status_code == 409
    assert admin.get("/hubspot/credentials").json["stays_connected"]
    assert admin.disconnect("hubspot").status_code == 409


def test_another_portal_than_the_mirrors_is_refused(admin, portal_id):
    with transaction() as session:
        session.execute(text("UPDATE portals SET hub_id = 77"))

    page = admin.connect("hubspot", stay_connected=True)

    assert page.status_code == 409
    assert f"portal 77, and you chose portal {DEFAULT_PORTAL_ID}" in page.text
    assert row(portal_id).refresh_token is None


def test_a_portal_of_another_organization_is_refused(admin, open_browser):
    users.create_organization("Acme")
    other = open_browser(role="admin", organization="Acme")
    stay(admin)

    page = other.connect("hubspot", stay_connected=True)

    assert page.status_code == 409
    assert "Another organization" in page.text
    assert not other.is_connected("hubspot")


def test_each_organization_has_its_own_portals_token(
    admin, open_browser, sandbox, change_settings, portal_id
):
    sandbox.sandbox.open_portal(77)
    users.create_organization("Acme")
    other = open_browser(role="admin", organization="Acme")
    other.form = {"portal_id": "77"}
    # The settings' token is of the default organization's portal.
    change_settings(hubspot_private_app_token="pat-na1-sandbox")
    stay(other)

    connected = portals.list_connected_portal_ids()

    assert connected[0] == portal_id
    assert [get_details(portals.connect(each)).hub_id for each in connected] == [
        DEFAULT_PORTAL_ID,
        77,
    ]


def test_disconnecting_revokes_stops_and_keeps_what_was_mirrored(
    admin, hubspot, sandbox, run_jobs, portal_id
):
    hubspot.create("contacts", email="ada@example.com")
    stay(admin)
    run_jobs()

    answer = admin.disconnect("hubspot")

    assert answer.status_code == 200
    assert "What was mirrored stays" in answer.json["message"]
    assert (row(portal_id).refresh_token, row(portal_id).access_token) == (None, None)
    assert sandbox.sandbox.registry.grants == {}
    sandbox.clear_requests()
    job.sweep()
    runner.sweep()
    runner.begin_for_all_portals("incremental")
    run_jobs()
    assert sandbox.requests()["total"] == 0
    assert mirrored() == ["ada@example.com"]
    assert not admin.is_connected("hubspot")


def test_only_an_admin_can_end_it(admin, user):
    stay(admin)

    answer = user.disconnect("hubspot")

    assert (answer.status_code, answer.json["error_code"]) == (403, "FORBIDDEN")
    assert admin.is_connected("hubspot")


def test_it_ends_here_also_while_hubspot_is_away(admin, sandbox, portal_id):
    stay(admin)
    sandbox.stop()

    answer = admin.disconnect("hubspot")

    assert answer.status_code == 200
    assert "remove the app in" in answer.json["message"]
    assert row(portal_id).refresh_token is None


def test_what_was_changed_here_meanwhile_is_sent_once_it_is_connected_again(
    admin, hubspot, run_jobs
):
    stay(admin)
    run_jobs()
    admin.disconnect("hubspot")
    made = admin.client.post(
        "/contacts", json={"email": "ada@example.com"}, headers=admin.person.headers
    )
    assert made.json["action"] == "queued"

    stay(admin)
    run_jobs()

    held = hubspot.get("/crm/v3/objects/contacts").json()["results"]
    assert [each["properties"]["email"] for each in held] == ["ada@example.com"]


def test_what_went_there_meanwhile_is_found_once_it_is_connected_again(admin, hubspot, run_jobs):
    gone = hubspot.create("contacts", email="ada@example.com")
    stay(admin)
    run_jobs()
    admin.disconnect("hubspot")
    hubspot.delete(f"/crm/v3/objects/contacts/{gone['id']}")

    stay(admin)
    run_jobs()

    assert mirrored() == []
    kinds = db.session.scalars(select(SyncRun.kind).where(SyncRun.object_type == "contacts"))
    assert set(kinds) == {"backfill", "reconcile"}


def test_a_persons_own_connection_comes_first_and_ends_alone(admin, user):
    stay(admin)
    user.connect("hubspot")

    assert user.get("/hubspot/credentials").json["until"] is not None
    assert user.disconnect("hubspot").status_code == 200
    assert admin.is_connected("hubspot")
    assert user.get("/hubspot/credentials").json["stays_connected"]


def test_the_grant_that_keeps_a_portal_is_not_revoked_with_a_persons_connection(
    app, admin, sandbox
):
    """HubSpot may give the same refresh token to the same person again."""
    stay(admin)
    [kept] = sandbox.sandbox.registry.grants
    settings = app.extensions["crm_settings"]
    hubspot = HubSpotProvider(settings.hubspot_api_url, "", "", api_version="2026-09")
    user_id = db.session.scalar(select(User.id))
    held = Connections(get_store(), make_vault(settings), user_id)
    held.keep(hubspot, Tokens("an-access-token", kept, 1800, "portal", "1"))

    assert admin.disconnect("hubspot").status_code == 200

    assert kept in sandbox.sandbox.registry.grants
    assert admin.get("/hubspot/credentials").json["stays_connected"]


@pytest.mark.parametrize("is_used", [False, True], ids=["not used yet", "used"])
def test_the_grant_of_the_settings_is_not_revoked_with_a_persons_connection(
    admin, sandbox, change_settings, portal_id, is_used
):
    admin.connect("hubspot")
    [grant] = sandbox.sandbox.registry.grants
    change_settings(hubspot_refresh_token=grant)
    if is_used:
        # It is renewed with every use there, so that the row holds the one that counts.
        assert get_details(portals.connect(portal_id)).hub_id == DEFAULT_PORTAL_ID

    assert admin.disconnect("hubspot").status_code == 200

    assert grant in sandbox.sandbox.registry.grants
    assert get_details(portals.connect(portal_id)).hub_id == DEFAULT_PORTAL_ID


def test_the_grant_that_keeps_another_organizations_portal_is_not_revoked_either(
    app, admin, open_browser, sandbox
):
    users.create_organization("Acme")
    stranger = open_browser(organization="Acme")
    stranger.connect("hubspot")
    sandbox.sandbox.registry.grants.clear()
    stay(admin)
    [kept] = sandbox.sandbox.registry.grants
    user_id = db.session.scalar(select(User.id).order_by(User.id.desc()))
    settings = app.extensions["crm_settings"]
    held = Connections(get_store(), make_vault(settings), user_id)
    hubspot = HubSpotProvider(settings.hubspot_api_url, "", "", api_version="2026-09")
    held.keep(hubspot, Tokens("an-access-token", kept, 1800, "portal", "1"))

    assert stranger.disconnect("hubspot").status_code == 200

    assert kept in sandbox.sandbox.registry.grants


@pytest.fixture(params=["private app", "refresh token"])
def by_settings(request, sandbox, change_settings, portal_id):
    """The settings connect the portal, and it was used."""
    if request.param == "private app":
        change_settings(hubspot_private_app_token="pat-na1-sandbox")
    else:
        grant = Grant(DEFAULT_PORTAL_ID, DEFAULT_APP.id, 1, frozenset({"oauth"}))
        change_settings(hubspot_refresh_token=sandbox.sandbox.registry.add_grant(grant))
    assert get_details(portals.connect(portal_id)).hub_id == DEFAULT_PORTAL_ID


@pytest.mark.parametrize("role", ["admin", "user"])
def test_a_persons_own_connection_beside_the_settings_portal_ends_alone(
    by_settings, open_browser, portal_id, role
):
    browser, before = open_browser(role=role), row(portal_id)
    assert browser.connect("hubspot").status_code == 200
    held = browser.get("/hubspot/credentials").json
    assert (held["until"] is None, held["can_disconnect"]) == (False, True)
    assert browser.get("/hubspot/items").status_code == 200

    assert browser.disconnect("hubspot").status_code == 200

    left = browser.get("/hubspot/credentials").json
    assert (left["until"], left["stays_connected"], left["can_disconnect"]) == (None, True, False)
    assert row(portal_id) == before
    assert get_details(portals.connect(portal_id)).hub_id == DEFAULT_PORTAL_ID


def test_a_portal_whose_grant_was_ended_there_says_what_to_do(admin, sandbox):
    stay(admin)
    sandbox.sandbox.registry.grants.clear()
    sandbox.sandbox.expire_tokens()

    answer = admin.get("/hubspot/items")

    assert answer.status_code == 401
    assert "connect the portal again" in answer.json["message"]
    assert "HUBSPOT_REFRESH_TOKEN" not in answer.json["message"]
    told = admin.get("/hubspot/credentials").json
    assert (told["problem"], told["can_stay_connected"]) == (answer.json["message"], True)
    # And connecting again mends it.
    stay(admin)
    assert admin.get("/hubspot/items").status_code == 200
    assert admin.get("/hubspot/credentials").json["problem"] is None
