"""Signatures, against HubSpot's published vectors and its own SDK."""

import pytest
from hubspot.utils.signature import Signature
from requests.structures import CaseInsensitiveDict

from crm.errors import TokenError
from crm.hubspot.signature import LONGEST_AGE_MS, check_signature, sign_v1, sign_v3

SECRET = "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy"
URI = "https://www.example.com/webhook_uri"
BODY = b"{'example_field':'example_value'}"
NOW = 1_693_657_560_000
V3 = "K36dawei4A+QBNolUOqo7s91KQDWQ5MXZ/QufNYuk/Y="
EVENTS = (
    b'[{"eventId":1,"subscriptionId":12345,"portalId":62515,"occurredAt":1564113600000,'
    b'"subscriptionType":"contact.creation","attemptNumber":0,"objectId":123,'
    b'"changeSource":"CRM","changeFlag":"NEW","appId":54321}]'
)
V1 = "232db2615f3d666fe21a8ec971ac7b5402d33b9a925784df3ca654d05f4817de"


def signed_v3(**changes):
    headers = {"x-hubspot-signature-v3": V3, "x-hubspot-request-timestamp": str(NOW)}
    return headers | changes


def check(headers, *, secret=SECRET, method="POST", uri=URI, body=BODY, now_ms=NOW):
    find = CaseInsensitiveDict(headers).get
    check_signature(find, secret=secret, method=method, uris=[uri], body=body, now_ms=now_ms)


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [(NOW, V3), (1_700_000_300_000, "RnbPH7+UMKVkbV32P8bz450N4M56aPmcru1+D3kSDtw=")],
)
def test_a_v3_signature_is_the_published_one(timestamp, expected):
    signature = sign_v3(SECRET, method="POST", uri=URI, body=BODY, timestamp=timestamp)

    assert signature == expected
    check(
        {"x-hubspot-signature-v3": expected, "x-hubspot-request-timestamp": str(timestamp)},
        now_ms=timestamp,
    )


def test_a_v1_signature_is_the_published_one():
    assert sign_v1(SECRET, body=EVENTS) == V1
    check({"x-hubspot-signature": V1, "x-hubspot-signature-version": "v1"}, body=EVENTS)


def test_hubspots_own_sdk_signs_letters_beyond_ascii_as_we_do():
    body = '[{"propertyValue":"Zoë 🐘"}]'
    theirs = Signature.get_signature(SECRET, body, "v3", URI, "POST", str(NOW))

    assert sign_v3(SECRET, method="POST", uri=URI, body=body.encode(), timestamp=NOW) == theirs
    assert sign_v1(SECRET, body=body.encode()) == Signature.get_signature(SECRET, body, "v1")


@pytest.mark.parametrize(
    ("called", "signed"),
    [
        ("/a%3Ab%2Fc%3Fd%40e", "/a:b/c?d@e"),
        ("/%21%24%27%28%29%2A%2C%3B", "/!$'()*,;"),
        ("/%3a%2f", "/:/"),
        ("?a=b%20c%26d%3De%2B", "?a=b%20c%26d%3De%2B"),
        ("/%253A", "/%253A"),
        ("?b=2&a=1", "?b=2&a=1"),
    ],
)
def test_of_an_address_only_what_the_table_names_is_decoded(called, signed):
    theirs = Signature.get_signature(SECRET, "[]", "v3", URI + signed, "POST", str(NOW))

    assert sign_v3(SECRET, method="POST", uri=URI + called, body=b"[]", timestamp=NOW) == theirs


@pytest.mark.parametrize("age", [0, LONGEST_AGE_MS, -LONGEST_AGE_MS])
def test_a_v3_signature_holds_for_five_minutes(age):
    check(signed_v3(), now_ms=NOW + age)


@pytest.mark.parametrize("age", [LONGEST_AGE_MS + 1, -LONGEST_AGE_MS - 1])
def test_a_v3_signature_is_stale_after_that_and_before(age):
    with pytest.raises(TokenError, match="stale"):
        check(signed_v3(), now_ms=NOW + age)


@pytest.mark.parametrize(
    "changes",
    [
        {"secret": SECRET + "y"},
        {"method": "PUT"},
        {"uri": URI + "?a=1"},
        {"uri": URI.replace("https", "http")},
        {"body": BODY + b" "},
    ],
    ids=str,
)
def test_a_v3_signature_is_of_one_request_only(changes):
    with pytest.raises(TokenError, match="does not match"):
        check(signed_v3(), **changes)


def test_a_v3_signature_covers_its_time():
    with pytest.raises(TokenError, match="does not match"):
        check(signed_v3(**{"x-hubspot-request-timestamp": str(NOW + 1)}))


@pytest.mark.parametrize("text", ["", "soon", "1e12", "-5", "٣", "9" * 400, f"{NOW} ", f"{NOW}.0"])
def test_a_timestamp_that_is_no_number_of_milliseconds_is_refused(text):
    with pytest.raises(TokenError, match="no X-HubSpot-Request-Timestamp"):
        check(signed_v3(**{"x-hubspot-request-timestamp": text}))


def test_a_good_v1_signature_does_not_mend_a_bad_v3_one():
    v1 = {"x-hubspot-signature": V1, "x-hubspot-signature-version": "v1"}

    with pytest.raises(TokenError, match="does not match"):
        check(signed_v3() | v1, body=EVENTS)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-hubspot-signature": V1},
        {"x-hubspot-signature": V1, "x-hubspot-signature-version": "v2"},
        {"x-hubspot-request-timestamp": str(NOW)},
    ],
)
def test_a_request_without_a_version_that_we_know_is_refused(headers):
    with pytest.raises(TokenError, match="no signature"):
        check(headers, body=EVENTS)


@pytest.mark.parametrize("signature", ["", "é", "\ud800", V1[:-1], V1.upper(), V1 + "0"])
def test_a_v1_signature_that_is_not_the_one_is_refused(signature):
    headers = {"x-hubspot-signature": signature, "x-hubspot-signature-version": "v1"}

    with pytest.raises(TokenError, match="does not match"):
        check(headers, body=EVENTS)


def test_without_a_secret_nothing_passes():
    empty = {"x-hubspot-signature": sign_v1("", body=BODY), "x-hubspot-signature-version": "v1"}

    with pytest.raises(TokenError, match="no secret"):
        check(empty, secret="")
