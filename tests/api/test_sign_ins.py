"""POST /login, /refresh, /logout and GET /me."""

import statistics
import time
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from crm.accounts import users
from crm.db import transaction
from tests.conftest import PASSWORD, Person

from .conftest import sign_in


def test_a_login_answers_with_tokens(client, make_user):
    make_user("ada@example.com")

    answer = client.post("/login", json={"email": "ADA@example.com", "password": PASSWORD})

    assert answer.status_code == 200
    assert answer.json["message"] == "User authenticated successfully"
    assert set(answer.json["data"]) == {"access_token", "refresh_token", "expires_in"}
    assert answer.json["data"]["expires_in"] == 3600


def test_an_unknown_email_and_a_wrong_password_get_the_same_answer(client, make_user):
    make_user("ada@example.com")
    answers = [
        client.post("/login", json={"email": email, "password": "a wrong password"})
        for email in ("ada@example.com", "nobody@example.com")
    ]

    assert [each.status_code for each in answers] == [401, 401]
    assert answers[0].json["message"] == "Invalid credentials"
    assert answers[0].json["error_code"] == "INVALID_CREDENTIALS"
    wrong, unknown = ({k: v for k, v in each.json.items() if k not in _OWN} for each in answers)
    assert wrong == unknown


_OWN = ("request_id", "timestamp")


@pytest.mark.real_password_cost
def test_an_unknown_email_takes_as_long_as_a_wrong_password(client, make_user):
    make_user("ada@example.com")
    seconds = {"ada@example.com": [], "nobody@example.com": []}
    for _ in range(4):
        for email, taken in seconds.items():
            began = time.process_time()  # Which a busy machine does not lengthen.
            client.post("/login", json={"email": email, "password": "a wrong password"})
            taken.append(time.process_time() - began)

    wrong, unknown = (statistics.median(taken[1:]) for taken in seconds.values())
    assert 0.5 < unknown / wrong < 2


@pytest.mark.real_password_cost
def test_an_unknown_email_is_compared_with_a_hash_that_costs_what_new_ones_cost():
    assert not users._hasher.check_needs_rehash(users._NOBODYS_HASH)


def test_a_refresh_answers_with_new_tokens_that_work(make_user):
    ada = make_user()

    renewed = _refreshed(ada, ada.tokens["refresh_token"])

    assert renewed.tokens["refresh_token"] != ada.tokens["refresh_token"]
    assert renewed.get("/me").status_code == 200
    assert _refresh(renewed, renewed.tokens["refresh_token"]).status_code == 200


def test_a_used_refresh_token_that_comes_back_ends_the_sign_in(make_user):
    ada = make_user()
    first = ada.tokens["refresh_token"]
    renewed = _refreshed(ada, first)
    _age_refreshes(seconds=61)

    answer = _refresh(ada, first)

    assert answer.status_code == 401
    assert answer.json["error_code"] == "INVALID_TOKEN"
    assert renewed.get("/me").status_code == 401
    assert _refresh(renewed, renewed.tokens["refresh_token"]).status_code == 401


def test_a_used_refresh_token_is_honoured_for_a_minute_since_the_answer_may_be_lost(make_user):
    ada = make_user()
    first = ada.tokens["refresh_token"]
    _refreshed(ada, first)
    _age_refreshes(seconds=55)

    again = _refreshed(ada, first)

    assert again.get("/me").status_code == 200
    assert _refresh(again, again.tokens["refresh_token"]).status_code == 200


def test_two_windows_that_refresh_at_once_both_stay_signed_in(make_user):
    ada = make_user()
    one = _refreshed(ada, ada.tokens["refresh_token"])
    other = _refreshed(ada, ada.tokens["refresh_token"])
    _age_refreshes(seconds=3600)

    one_later = _refresh(one, one.tokens["refresh_token"])
    other_later = _refresh(other, other.tokens["refresh_token"])

    assert [one_later.status_code, other_later.status_code] == [200, 200]


def test_an_older_token_than_the_one_before_is_a_reuse_even_within_the_minute(make_user):
    ada = make_user()
    first = ada.tokens["refresh_token"]
    second = _refreshed(ada, first).tokens["refresh_token"]
    newest = _refreshed(ada, second)

    assert _refresh(ada, first).status_code == 401
    assert newest.get("/me").status_code == 401


def test_a_reuse_leaves_other_sign_ins_of_the_same_user_alone(client, make_user):
    ada = make_user()
    elsewhere = sign_in(client, ada.email)
    _refreshed(ada, ada.tokens["refresh_token"])
    _age_refreshes(seconds=61)

    _refresh(ada, ada.tokens["refresh_token"])

    assert elsewhere.get("/me").status_code == 200


def test_a_logout_ends_access_and_refresh_tokens(client, make_user):
    ada = make_user()
    elsewhere = sign_in(client, ada.email)

    answer = client.post("/logout", headers=ada.headers)

    assert answer.status_code == 200
    assert ada.get("/me").status_code == 401
    assert _refresh(ada, ada.tokens["refresh_token"]).status_code == 401
    assert elsewhere.get("/me").status_code == 200


def test_a_sign_in_ends_by_itself(make_user):
    ada = make_user()
    with transaction() as session:
        session.execute(text("UPDATE sign_ins SET expires_at = now()"))

    assert ada.get("/me").status_code == 401
    assert _refresh(ada, ada.tokens["refresh_token"]).status_code == 401


@pytest.mark.parametrize(("method", "path"), [("GET", "/me"), ("POST", "/logout")])
def test_a_refresh_token_is_no_access_token(client, make_user, method, path):
    token = make_user().tokens["refresh_token"]

    answer = client.open(path, method=method, headers={"Authorization": f"Bearer {token}"})

    assert answer.status_code == 401
    assert answer.json["message"] == "Invalid token"


def test_an_access_token_is_no_refresh_token(make_user):
    ada = make_user()

    assert _refresh(ada, ada.tokens["access_token"]).status_code == 401


def test_me_shows_the_account_with_its_graph_and_each_sync_state(register):
    answer = register().get("/me")

    assert answer.status_code == 200
    account = answer.json["data"]
    assert {name: account[name] for name in ("email", "role", "organization")} == {
        "email": "ada@example.com",
        "role": "user",
        "organization": "Default",
    }
    deal = account["contact"]["deals"][0]
    states = [each["sync_state"] for each in (account["contact"], deal, deal["tickets"][0])]
    assert states == ["pending"] * 3


def test_me_gives_times_in_utc_with_z(register):
    created_at = register().get("/me").json["data"]["created_at"]

    assert created_at.endswith("Z")
    assert datetime.now(UTC) - datetime.fromisoformat(created_at) < timedelta(minutes=1)


def test_me_of_a_user_without_a_contact_says_so(make_user):
    assert make_user(role="admin").get("/me").json["data"]["contact"] is None


def _refresh(person: Person, token: str):
    return person.client.post("/refresh", headers={"Authorization": f"Bearer {token}"})


def _refreshed(person: Person, token: str) -> Person:
    answer = _refresh(person, token)
    assert answer.status_code == 200, answer.json
    return Person(person.client, person.email, answer.json["data"])


def _age_refreshes(*, seconds: int) -> None:
    with transaction() as session:
        session.execute(
            text("UPDATE sign_ins SET refreshed_at = refreshed_at - make_interval(secs => :age)"),
            {"age": seconds},
        )
