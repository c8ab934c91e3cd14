"""What a provider might answer some day: always a clear error, never a 500, never a secret."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from crm.errors import CRMError
from crm.integrations.providers import PROVIDERS
from crm.integrations.providers.airtable import Airtable
from crm.integrations.providers.errors import (
    ProviderError,
    ProviderRevokedError,
    ProviderUnavailableError,
)
from crm.integrations.providers.notion import Notion
from tests.hubspot.relay import Answer, Relay

TOKENS = {"access_token": "a-token", "refresh_token": "r-token", "expires_in": 3600}


@pytest.fixture(scope="module")
def odd():
    """A provider that answers everything with this."""
    with Relay("http://127.0.0.1:9") as relay:

        def make(provider_class, status, body=None, **more):
            relay.handler = lambda _: Answer(status, body, **more)
            return provider_class(relay.url, "an-id", "the-client-secret")

        yield make


def listing(provider):
    return provider.list_items("the-token", provider.types[0], limit=10, cursor=None)


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, {"error": {"type": "BAD", "message": "wrong"}}, 400),
        (401, {"code": "unauthorized", "message": "no"}, 401),
        (403, {"error": "NOT_PERMITTED"}, 403),
        (404, {"error": "NOT_FOUND"}, 400),
        (429, {"errors": [{"error": "RATE_LIMIT_REACHED"}]}, 503),
        (302, {}, 502),
        (418, [], 502),
        (500, None, 503),
        (503, "a page", 503),
    ],
)
@pytest.mark.parametrize("provider_class", [Airtable, Notion])
def test_a_refusal_is_an_error_of_its_kind(odd, provider_class, status, body, code):
    with pytest.raises(ProviderError) as caught:
        listing(odd(provider_class, status, body))

    assert caught.value.status == code
    assert caught.value.message.startswith(f"{provider_class.label}: ")


@pytest.mark.parametrize("raw", [b"", b"<html>", b'{"bases": [', b"\xff\xfe"])
@pytest.mark.parametrize("provider_class", [Airtable, Notion])
def test_an_answer_that_is_no_json_may_be_one_later(odd, provider_class, raw):
    with pytest.raises(ProviderUnavailableError, match="cut off or not JSON"):
        listing(odd(provider_class, 200, raw=raw))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    body=some.recursive(
        some.none() | some.booleans() | some.integers(-9, 9) | some.text(max_size=5),
        lambda inside: (
            some.lists(inside, max_size=3)
            | some.dictionaries(
                some.sampled_from(
                    [
                        *("bases", "offset", "results", "id", "name", "title", "has_more", "url"),
                        *("next_cursor", "created_time", "properties", "type", "error", "message"),
                    ]
                ),
                inside,
                max_size=4,
            )
        ),
        max_leaves=12,
    ),
    provider_class=some.sampled_from([Airtable, Notion]),
)
def test_an_answer_of_any_shape_is_items_or_an_error(odd, body, provider_class):
    status = None
    try:
        listing(odd(provider_class, 200, body))
    except CRMError as error:
        status = error.status
    assert status in (None, 502, 503)


@pytest.mark.parametrize(
    "change",
    [
        {"access_token": None},
        {"access_token": ""},
        {"access_token": 7},
        {"access_token": "two words"},
        {"access_token": "line\nfeed"},
        {"access_token": "é"},
        {"access_token": "a" * 5000},
        {"refresh_token": ["r"]},
        {"expires_in": 0},
        {"expires_in": -1},
        {"expires_in": "soon"},
        {"expires_in": 10**12},
    ],
)
def test_tokens_that_cannot_be_sent_are_none(odd, change):
    with pytest.raises(ProviderError, match="another shape"):
        odd(Airtable, 200, {**TOKENS, **change}).refresh("r")


def test_who_has_no_grant_any_more_is_told_apart_from_an_app_that_is_set_up_wrongly(odd):
    for provider_class in (Airtable, Notion):
        gone = odd(provider_class, 400, {"error": "invalid_grant", "error_description": "gone"})
        with pytest.raises(ProviderRevokedError, match="gone"):
            gone.refresh("r")
        wrong = odd(provider_class, 401, {"error": "invalid_client"})
        with pytest.raises(ProviderError, match="check the app's id, secret") as caught:
            wrong.refresh("r")
        assert not isinstance(caught.value, ProviderRevokedError)


@pytest.mark.parametrize("provider_class", [Airtable, Notion])
def test_no_error_repeats_a_secret(odd, provider_class):
    echo = "said: the-client-secret the-code the-refresh-token the-token"
    provider = odd(provider_class, 400, {"error": "x", "error_description": echo})
    calls = {
        "the-code": lambda: provider.exchange("the-code", redirect_uri="u", code_verifier="v" * 43),
        "the-refresh-token": lambda: provider.refresh("the-refresh-token"),
        "the-token": lambda: listing(provider),
    }

    for secret, call in calls.items():
        with pytest.raises(ProviderError) as caught:
            call()
        assert secret not in caught.value.message.split()
        assert "said:" in caught.value.message
    assert "the-client-secret" not in repr(provider)


def test_every_provider_has_its_settings(app):
    settings = app.extensions["crm_settings"]
    for name, provider_class in PROVIDERS.items():
        assert provider_class.label
        assert provider_class.types
        for each in ("client_id", "client_secret", "api_url"):
            assert hasattr(settings, f"{name}_{each}")
