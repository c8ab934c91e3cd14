"""Signatures of webhooks, against the vectors that HubSpot's SDKs are tested with."""

import pytest

from hubspot_sandbox.signatures import decode_uri, sign_v1, sign_v3

SECRET = "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy"
BODY = b"{'example_field':'example_value'}"
URI = "https://www.example.com/webhook_uri"


@pytest.mark.parametrize(
    ("timestamp", "signature"),
    [
        (1693657560000, "K36dawei4A+QBNolUOqo7s91KQDWQ5MXZ/QufNYuk/Y="),
        (1700000300000, "RnbPH7+UMKVkbV32P8bz450N4M56aPmcru1+D3kSDtw="),
    ],
)
def test_v3_signs_method_uri_body_and_timestamp(timestamp: int, signature: str) -> None:
    assert sign_v3(SECRET, "POST", URI, BODY, timestamp) == signature


def test_v1_signs_secret_and_body() -> None:
    body = (
        b'[{"eventId":1,"subscriptionId":12345,"portalId":62515,"occurredAt":1564113600000,'
        b'"subscriptionType":"contact.creation","attemptNumber":0,"objectId":123,'
        b'"changeSource":"CRM","changeFlag":"NEW","appId":54321}]'
    )

    assert sign_v1(SECRET, body) == (
        "232db2615f3d666fe21a8ec971ac7b5402d33b9a925784df3ca654d05f4817de"
    )


@pytest.mark.parametrize(
    ("uri", "decoded"),
    [
        ("https://a.b/%3A%2F%3F%40%21%24%27%28%29%2A%2C%3B", "https://a.b/:/?@!$'()*,;"),
        ("https://a.b/%3a%2f", "https://a.b/:/"),
        ("https://a.b/c%20d%26e%3Df%25?x=%2B", "https://a.b/c%20d%26e%3Df%25?x=%2B"),
        ("https://a.b/%253A", "https://a.b/%253A"),
        ("https://a.b/?x=%2Fy&z=%zz", "https://a.b/?x=/y&z=%zz"),
    ],
)
def test_v3_decodes_a_dozen_escapes_of_the_uri_and_no_other(uri: str, decoded: str) -> None:
    assert decode_uri(uri) == decoded
    assert sign_v3(SECRET, "POST", uri, BODY, 1) == sign_v3(SECRET, "POST", decoded, BODY, 1)
