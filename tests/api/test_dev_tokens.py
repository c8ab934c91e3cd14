"""GET /get-token/{role}: in development only."""

from datetime import timedelta

import jwt
import pytest
from sqlalchemy import func, select

from crm.db import transaction
from crm.models import SignIn
from tests.conftest import PASSWORD, registration


@pytest.fixture
def dev_client(client, change_settings):
    change_settings(dev_tokens=True)
    return client


def test_a_caller_gets_a_token_of_the_role_asked_for(dev_client):
    seen = {}
    for role in ("admin", "user"):
        answer = dev_client.get(f"/get-token/{role}")
        assert (answer.status_code, list(answer.json)) == (200, ["token"])
        headers = {"Authorization": f"Bearer {answer.json['token']}"}
        seen[role] = dev_client.get("/me", headers=headers).json["data"]["role"]
        allowed = dev_client.get("/sync/rejected", headers=headers).status_code
        assert allowed == (200 if role == "admin" else 403)

    assert seen == {"admin": "admin", "user": "user"}


@pytest.mark.parametrize("role", ["key", "", "Admin", "%00", "x" * 3000])
def test_there_is_no_token_of_another_role(dev_client, role):
    assert dev_client.get(f"/get-token/{role}").status_code == 404


@pytest.mark.parametrize("role", ["admin", "user"])
def test_nobody_gets_one_unless_it_is_switched_on(client, role):
    answer = client.get(f"/get-token/{role}")

    assert (answer.status_code, answer.json["error_code"]) == (404, "NOT_FOUND")


def test_a_token_lasts_an_hour(dev_client):
    claims = jwt.decode(
        dev_client.get("/get-token/admin").json["token"], options={"verify_signature": False}
    )
    with transaction() as session:
        left = session.scalars(select(SignIn.expires_at - func.now())).one()

    assert claims["exp"] - claims["iat"] == 3600
    assert left <= timedelta(hours=1)


def test_nobody_can_sign_in_or_register_as_the_user_of_the_tokens(dev_client):
    token = dev_client.get("/get-token/admin").json["token"]
    me = dev_client.get("/me", headers={"Authorization": f"Bearer {token}"}).json["data"]

    login = dev_client.post("/login", json={"email": me["email"], "password": "none"})
    registered = dev_client.post("/register", json=registration(me["email"], password=PASSWORD))

    assert (login.status_code, registered.status_code) == (400, 400)
