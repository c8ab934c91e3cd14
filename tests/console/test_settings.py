"""Settings, in a browser: people, keys, webhooks, the doctor."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from playwright.sync_api import expect

from crm.accounts import api_keys, users
from crm.errors import ConflictError
from tests.conftest import PASSWORD
from tests.console.conftest import at_a_desk, sign_in


@pytest.fixture
def settings(admin, visitor):
    """The page of settings."""
    visitor.sign_in("/console/settings")
    expect(visitor.page.get_by_role("heading", name="People")).to_be_visible()
    return visitor


@pytest.fixture
def others(app):
    """An organization of other people; returns its administrator's session."""
    users.create_organization("Others")
    email = "boss@others.example"
    users.create_user(email=email, password=PASSWORD, role="admin", organization="Others")
    return sign_in(app, email)


def test_somebody_is_added_made_an_administrator_and_a_user_again(app, settings):
    page = settings.page
    settings.check_accessibility()
    page.get_by_label("E-mail").fill("new@example.com")
    page.get_by_label("First password").fill(PASSWORD)
    page.get_by_role("button", name="Add").click()
    row = page.get_by_role("row", name="new@example.com")
    expect(row).to_contain_text("user")
    row.get_by_role("button", name="Make an administrator").click()
    expect(row).to_contain_text("administrator")
    settings.check_accessibility()

    assert sign_in(app, "new@example.com").get("/console/settings").status_code == 200
    row.get_by_role("button", name="Make a user").click()
    expect(page.get_by_role("status")).to_contain_text("new@example.com is a user now")
    assert sign_in(app, "new@example.com").get("/console/settings").status_code == 403


@at_a_desk
def test_the_last_administrator_stays_one(settings):
    page = settings.page
    page.get_by_role("button", name="Make a user").click()

    expect(page.get_by_role("status")).to_contain_text("An organization needs an administrator")
    expect(page.get_by_role("row", name="admin@example.com")).to_contain_text("administrator")


def test_of_two_administrators_who_demote_each_other_one_stays(app, admin, session):
    users.create_user(
        email="second@example.com", password=PASSWORD, role="admin", organization="Default"
    )
    organization_id = users.get_organization_id("Default")
    members = users.list_members(organization_id)

    def demote(member):
        with app.app_context():
            try:
                return users.change_role(organization_id, member.id, "user")
            except ConflictError:
                return None

    with ThreadPoolExecutor() as pool:
        demoted = list(pool.map(demote, members))

    assert sorted(bool(each) for each in demoted) == [False, True]


def test_a_key_is_shown_once_works_and_is_revoked(settings, client):
    page = settings.page
    page.get_by_role("link", name="API keys").click()
    settings.check_accessibility()
    page.get_by_label("What is it for?").fill("Web shop")
    page.get_by_role("button", name="Make the key").click()
    expect(page.get_by_role("alert")).to_contain_text("shown this once")
    key = {"X-API-Key": page.locator("#key").inner_text()}
    settings.check_accessibility()
    assert client.get("/contacts", headers=key).status_code == 200
    page.get_by_role("link", name="API keys").click()
    assert key["X-API-Key"] not in page.content()
    page.get_by_text("Revoke…").click()
    page.get_by_role("button", name="Yes, revoke it").click()
    expect(page.get_by_role("status")).to_contain_text("refused from now on")

    assert client.get("/contacts", headers=key).status_code == 401


def test_the_steps_to_webhooks_say_which_are_done(settings):
    page = settings.page
    page.get_by_role("link", name="Webhooks").click()

    expect(page.get_by_role("heading", name=re.compile("reaches.*to be done"))).to_be_visible()
    expect(page.locator("main")).to_contain_text("PUBLIC_URL")
    settings.check_accessibility()


def test_the_doctor_tells_what_it_finds(settings):
    page = settings.page
    page.get_by_role("link", name="Doctor").click()
    settings.check_accessibility()
    page.get_by_role("button", name="Examine now").click()

    expect(page.get_by_role("listitem").filter(has_text="answers within")).to_be_visible()
    settings.check_accessibility()


def test_the_file_for_hubspots_app_can_be_had(make_app, app, admin):
    session = sign_in(make_app(PUBLIC_URL="http://crm.example.com"), admin)

    answer = session.get("/console/settings/webhooks-hsmeta.json")

    assert answer.json["config"]["settings"]["targetUrl"].startswith("http://crm.example.com/")
    assert "attachment" in answer.headers["Content-Disposition"]


def test_an_administrator_sees_and_changes_nothing_of_other_organizations(admin, session, others):
    key = api_keys.create_key(name="Ledger", organization="Default")
    [member] = users.list_members(users.get_organization_id("Default"))

    assert admin not in others.get("/console/settings").text
    assert "Ledger" not in others.get("/console/settings/keys").text
    role = others.post(f"/console/settings/users/{member.id}/role", role="user")
    others.post(f"/console/settings/keys/{key[:12]}/revoke")
    assert role.status_code == 404
    assert [each.revoked_at for each in api_keys.list_keys()] == [None]
    assert others.post("/console/settings/doctor").status_code == 403
    assert others.get("/console/settings/webhooks-hsmeta.json").status_code == 403


@pytest.mark.parametrize("role", ["", "owner", "key"])
def test_a_role_that_is_none_is_refused(session, role):
    [member] = users.list_members(users.get_organization_id("Default"))

    answer = session.post(f"/console/settings/users/{member.id}/role", role=role)

    assert answer.status_code == 400
