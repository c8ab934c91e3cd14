"""Who may call, and whose rows they see."""

import pytest
from sqlalchemy import text

from crm.accounts import api_keys, users
from crm.api.guards import Guard, guarded
from crm.db import db
from tests.conftest import Person

from .conftest import contacts_in, emails_in, sign_in


@pytest.fixture
def other(app):
    """Another organization than the default one."""
    users.create_organization("Other")
    return "Other"


@pytest.fixture
def other_portal_id(other):
    statement = "SELECT p.id FROM portals p JOIN organizations o ON o.id = organization_id"
    return db.session.execute(text(f"{statement} WHERE name = :name"), {"name": other}).scalar_one()


def test_a_key_lists_contacts(client, make_key, make_contact):
    make_contact("ada@example.com")

    answer = client.get("/contacts", headers=make_key())

    assert emails_in(answer) == ["ada@example.com"]


def test_a_revoked_key_is_refused(client, make_key):
    headers = make_key()
    api_keys.revoke_key(headers["X-API-Key"])

    answer = client.get("/contacts", headers=headers)

    assert answer.status_code == 401
    assert answer.json["error_code"] == "INVALID_TOKEN"


@pytest.mark.parametrize(
    "key",
    ["crm_", "crm_" + "x" * 43, "é", "ÿ" * 100, "' OR 1=1 --", "x" * 5000, "null"],
    ids=["prefix", "invented", "accent", "latin", "sql", "long", "null"],
)
def test_a_key_that_is_none_is_refused(client, make_key, key):
    make_key()

    assert client.get("/contacts", headers={"X-API-Key": key}).status_code == 401


def test_a_wrong_key_beside_a_good_token_is_refused(client, make_user):
    ada = make_user()

    answer = client.get("/contacts", headers=ada.headers | {"X-API-Key": "wrong"})

    assert answer.status_code == 401


def test_a_key_may_come_as_bearer_too(client, make_key, make_contact):
    make_contact("ada@example.com")
    key = make_key()["X-API-Key"]

    answers = [
        client.get("/contacts", headers={"Authorization": f"{scheme} {key}"})
        for scheme in ("Bearer", "bearer")
    ]

    assert [emails_in(each) for each in answers] == [["ada@example.com"]] * 2


@pytest.mark.parametrize(
    "header",
    ["Basic {}", "{}", "Bearer  {}", "Bearer {0}, {0}", "Bearer {}x", "Bearer crm_"],
)
def test_a_key_as_bearer_is_refused_when_it_is_not_the_whole_of_it(client, make_key, header):
    shown = header.format(make_key()["X-API-Key"])

    answer = client.get("/contacts", headers={"Authorization": shown})

    assert (answer.status_code, answer.json["error_code"]) == (401, "INVALID_TOKEN")


def test_a_revoked_key_is_refused_as_bearer(client, make_key):
    key = make_key()["X-API-Key"]
    api_keys.revoke_key(key)

    answer = client.get("/contacts", headers={"Authorization": f"Bearer {key}"})

    assert (answer.status_code, answer.json["error_code"]) == (401, "INVALID_TOKEN")


def test_a_key_as_bearer_cannot_do_what_takes_a_person(client, make_key):
    headers = {"Authorization": f"Bearer {make_key()['X-API-Key']}"}

    assert client.get("/me", headers=headers).status_code == 403


def test_a_caller_who_shows_two_credentials_is_refused_whichever_they_are(
    client, make_key, make_user
):
    token = make_user(role="admin").headers["Authorization"]
    key = make_key()["X-API-Key"]

    answers = [
        client.get("/contacts", headers={"X-API-Key": one, "Authorization": other})
        for one in (key, "wrong", "")
        for other in (token, f"Bearer {key}", "Bearer wrong", "Basic YTpi", "")
    ]

    assert {(each.status_code, each.json["error_code"]) for each in answers} == {
        (401, "INVALID_TOKEN")
    }


def test_the_key_itself_is_not_stored(make_key):
    key = make_key()["X-API-Key"]

    stored = api_keys.list_keys()[0]

    assert stored.prefix == key[:12]
    assert key not in str(stored)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/me"), ("POST", "/logout"), ("POST", "/refresh")]
)
def test_a_key_cannot_do_what_takes_a_person(client, make_key, method, path):
    answer = client.open(path, method=method, headers=make_key())

    assert answer.status_code == 403
    assert answer.json["error_code"] == "FORBIDDEN"
    assert answer.json["message"] == "An API key cannot do this; sign in as a user"


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/contacts"), ("GET", "/me"), ("POST", "/logout"), ("POST", "/refresh")],
)
def test_without_credentials_the_answer_is_401(client, method, path):
    answer = client.open(path, method=method)

    assert answer.status_code == 401
    assert answer.json["message"] == "Invalid token"


def test_an_organizations_key_sees_nothing_of_another(
    client, make_key, make_contact, other, other_portal_id
):
    make_contact("ours@example.com", firstname="Ada")
    make_contact("theirs@example.com", portal_id=other_portal_id, firstname="Ada")

    keys = {"Default": make_key("Default"), "Other": make_key("Other")}
    seen = {
        name: [
            emails_in(client.get("/contacts", headers=headers, query_string=query))
            for query in ({}, {"q": "ada"}, {"firstname": "Ada"}, {"sort": "email"})
        ]
        for name, headers in keys.items()
    }

    assert seen == {"Default": [["ours@example.com"]] * 4, "Other": [["theirs@example.com"]] * 4}


def test_a_cursor_of_one_organization_shows_nothing_of_it_to_another(
    client, make_key, make_contact, other, other_portal_id
):
    for number in range(3):
        make_contact(f"ours{number}@example.com")
        make_contact(f"theirs{number}@example.com", portal_id=other_portal_id)
    page = client.get("/contacts", headers=make_key("Default"), query_string={"limit": 1}).json

    answer = client.get(
        "/contacts",
        headers=make_key("Other"),
        query_string={"cursor": page["data"]["data"]["next_after"]},
    )

    assert all(email.startswith("theirs") for email in emails_in(answer))


def test_two_organizations_may_each_have_a_contact_with_one_email(
    client, make_key, make_contact, other_portal_id
):
    make_contact("ada@example.com", firstname="Ours")
    make_contact("ada@example.com", portal_id=other_portal_id, firstname="Theirs")

    names = [
        contacts_in(client.get("/contacts", headers=make_key(name)))[0]["firstname"]
        for name in ("Default", "Other")
    ]

    assert names == ["Ours", "Theirs"]


def test_a_user_of_another_organization_sees_its_contacts(
    make_user, make_contact, other, other_portal_id
):
    make_contact("ours@example.com")
    make_contact("theirs@example.com", portal_id=other_portal_id)

    assert emails_in(make_user(organization=other).get("/contacts")) == ["theirs@example.com"]


def test_with_own_visibility_a_user_sees_the_own_contact_only(own_app, make_contact):
    make_contact("other@example.com", firstname="Ada")
    ada = _registered(own_app.test_client(), "ada@example.com")

    for query in ({}, {"q": "ada"}, {"firstname": "Ada"}, {"sort": "-email"}):
        assert emails_in(ada.get("/contacts", **query)) == ["ada@example.com"]
    assert emails_in(ada.get("/contacts", email="other@example.com")) == []


def test_with_own_visibility_a_user_without_a_contact_sees_none(own_app, make_contact, make_user):
    make_contact("other@example.com")
    ada = make_user("ada@example.com")

    assert emails_in(sign_in(own_app.test_client(), ada.email).get("/contacts")) == []


def test_with_own_visibility_admins_and_keys_see_all(own_app, make_contact, make_user, make_key):
    make_contact("other@example.com")
    admin = make_user("admin@example.com", role="admin")
    client = own_app.test_client()

    by_admin = emails_in(sign_in(client, admin.email).get("/contacts"))
    by_key = emails_in(client.get("/contacts", headers=make_key()))

    assert by_admin == by_key == ["other@example.com"]


@pytest.fixture
def own_app(app, change_settings):
    """The service, whose users see their own contacts only."""
    change_settings(contacts_visible_to_users="own")
    return app


def _registered(client, email) -> Person:
    body = {"email": email, "password": "a good password", "firstname": "Ada", "lastname": "L."}
    assert client.post("/register", json=body).status_code == 201
    return sign_in(client, email)


def test_a_route_for_admins_refuses_users_and_lets_keys_pass(make_app, register, make_key):
    person, key = register(), make_key()
    app = make_app()
    client = app.test_client()
    app.add_url_rule("/for-admins", "for_admins", guarded(Guard.ADMIN)(lambda: "secret"))

    refused = client.get("/for-admins", headers=person.headers)
    passed = client.get("/for-admins", headers=key)

    assert (refused.status_code, refused.json["error_code"]) == (403, "FORBIDDEN")
    assert passed.text == "secret"
