"""Where users see only what is theirs, no page shows them more."""

import pytest

from crm.accounts import users
from crm.portals import pipelines
from tests.conftest import PASSWORD
from tests.console.conftest import sign_in

SECRETS = ("Grace", "Hopper", "A secret machine", "777")


@pytest.fixture
def own(app, make_app, register, make_graph, run_jobs):
    """Ada's session where users see only their own; somebody else's contact is there, too."""
    register()
    run_jobs()
    pipelines.refresh_stale_pipelines()
    deal = {"dealname": "A secret machine", "amount": "777"}
    deal |= {"dealstage": "qualifiedtobuy", "pipeline": "default"}
    make_graph("grace@example.com", deals=[deal], firstname="Grace", lastname="Hopper")
    return sign_in(make_app(CONTACTS_VISIBLE_TO_USERS="own"), "ada@example.com")


@pytest.mark.parametrize(
    "path", ["/", "/console/contacts", "/console/contacts?q=grace", "/console/pipelines/deals"]
)
def test_a_user_sees_nothing_of_others(own, path):
    answer = own.get(path)

    assert answer.status_code == 200
    assert [each for each in SECRETS if f">{each}" in answer.text] == []


def test_a_user_sees_their_own(own):
    assert "A new engine" in own.get("/console/pipelines/deals").text
    assert "Lovelace" in own.get("/console/contacts").text


def test_the_contact_of_another_is_nowhere(app, own, portal_id, make_contact):
    other = make_contact("mary@example.com", hs_object_id="4711")

    assert other
    assert own.get("/console/contacts/4711").status_code == 404


def test_a_user_without_a_contact_sees_empty_pages(make_app, app, own):
    users.create_user(
        email="bare@example.com", password=PASSWORD, role="user", organization="Default"
    )
    session = sign_in(make_app(CONTACTS_VISIBLE_TO_USERS="own"), "bare@example.com")

    assert "No contacts yet" in session.get("/console/contacts").text
    assert "A new engine" not in session.get("/console/pipelines/deals").text
