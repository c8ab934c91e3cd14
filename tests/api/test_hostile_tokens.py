"""Tokens and Authorization headers that are not what they should be are answered with a 401."""

import base64
import json
import time
from uuid import uuid4

import jwt
import pytest

NOW = int(time.time())


def _signed(claims, *, secret="j" * 32, algorithm="HS256", **changes):
    kept = {name: value for name, value in (claims | changes).items() if value is not ...}
    return jwt.encode(kept, secret, algorithm=algorithm)


def _encoded(text):
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _joined(header, payload):
    return lambda _: f"{_encoded(header)}.{_encoded(payload)}.x"


def _but(**changes):
    """A token of a real sign-in, sound but for what is changed; ``...`` leaves a claim out."""
    return lambda claims: _signed(claims, **changes)


TOKENS = {
    "another sign-in": _but(sid=str(uuid4())),
    "another secret": _but(secret="k" * 32),
    "another algorithm": _but(algorithm="HS512", secret="j" * 64),
    "no algorithm": _but(secret="", algorithm="none"),
    "expired": _but(exp=NOW - 1),
    "not yet": _but(nbf=NOW + 1000),
    "no expiry": _but(exp=...),
    "expiry as text": _but(exp="soon"),
    "no sid": _but(sid=...),
    "sid as number": _but(sid=1),
    "sid as null": _but(sid=None),
    "sid as list": _but(sid=[]),
    "sid as nonsense": _but(sid="x"),
    "no sub": _but(sub=...),
    "sub as word": _but(sub="ada"),
    "sub as number": lambda claims: _signed(claims, sub=int(claims["sub"])),
    "sub beyond a bigint": _but(sub="9" * 30),
    "sub of 5,000 digits": _but(sub="9" * 5000),
    "type unknown": _but(type="admin"),
    "type as list": _but(type=[]),
    "refresh without rid": _but(type="refresh"),
    "refresh with wrong rid": _but(type="refresh", rid=5),
    "one part": lambda _: "abc",
    "two parts": lambda _: "abc.def",
    "empty parts": lambda _: "..",
    "five parts": lambda _: "a.b.c.d.e",
    "not base64": lambda _: "é.é.é",
    "header 5,000 deep": _joined("[" * 5000, "{}"),
    "header an array": _joined("[]", "{}"),
    "header a number": _joined("1", "{}"),
    "header with NaN": _joined('{"alg": NaN}', "{}"),
    "payload 5,000 deep": _joined('{"alg": "HS256"}', "[" * 5000),
    "payload an array": _joined('{"alg": "HS256"}', "[]"),
    "payload with many digits": _joined('{"alg": "HS256"}', '{"exp": ' + "9" * 5000 + "}"),
    "very long": lambda _: "x" * 100_000,
}
HEADERS = {
    "no scheme": "{}",
    "other scheme": "Basic {}",
    "nothing after it": "Bearer",
    "a space after it": "Bearer ",
    "two spaces": "Bearer  {}",
    "a comma": "Bearer {0}, Bearer {0}",
    "accents": "Bearer ÿ",
}


@pytest.fixture
def claims(make_user):
    """What the access token of somebody who is signed in says."""
    token = make_user().tokens["access_token"]
    return jwt.decode(token, "j" * 32, algorithms=["HS256"])


def test_a_sound_token_is_accepted(client, claims):
    assert client.get("/me", headers=_bearer(_signed(claims))).status_code == 200


@pytest.mark.parametrize("name", TOKENS)
def test_a_token_with_one_defect_is_answered_401(client, claims, name):
    headers = _bearer(TOKENS[name](claims))
    answers = [
        client.get("/me", headers=headers),
        client.get("/contacts", headers=headers),
        client.post("/refresh", headers=headers),
    ]

    assert [each.status_code for each in answers] == [401] * 3
    assert {each.json["error_code"] for each in answers} == {"INVALID_TOKEN"}
    # Where no token is needed, a wrong one does not matter.
    assert client.post("/login", json={}, headers=headers).status_code == 400


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_a_malformed_authorization_is_answered_401(client, claims, header):
    answer = client.get("/me", headers={"Authorization": header.format(_signed(claims))})

    assert answer.status_code == 401
    assert answer.json["error_code"] == "INVALID_TOKEN"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_may_have_any_letter_case(client, claims, scheme):
    headers = {"Authorization": f"{scheme} {_signed(claims)}"}

    assert client.get("/me", headers=headers).status_code == 200


def test_a_tampered_token_is_refused(client, make_user):
    header, payload, signature = make_user().tokens["access_token"].split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    forged = f"{header}.{_encoded(json.dumps(claims | {'sub': '1'}))}.{signature}"

    assert client.get("/me", headers={"Authorization": f"Bearer {forged}"}).status_code == 401


def test_one_users_sign_in_does_not_serve_another_user(client, make_user):
    ada, bob = make_user("ada@example.com"), make_user("bob@example.com")
    claims = [
        jwt.decode(each.tokens["access_token"], "j" * 32, algorithms=["HS256"])
        for each in (ada, bob)
    ]
    mixed = jwt.encode(claims[0] | {"sub": claims[1]["sub"]}, "j" * 32, algorithm="HS256")

    assert client.get("/me", headers={"Authorization": f"Bearer {mixed}"}).status_code == 401


def _bearer(token):
    return {"Authorization": f"Bearer {token}"}
