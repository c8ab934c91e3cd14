"""One call to a provider's API: its JSON, or one of our errors."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import requests

from crm.hubspot import transport
from crm.hubspot.errors import HubSpotUnavailableError
from crm.integrations.providers.errors import (
    ProviderAuthError,
    ProviderError,
    ProviderRefusedError,
    ProviderRevokedError,
    ProviderScopeError,
    ProviderUnavailableError,
)
from crm.integrations.providers.provider import Tokens

LONGEST_CALL = transport.CONNECT + transport.READ + transport.LONGEST
_LONGEST_QUOTE = 300
_LONGEST_TOKEN = 4096
_LONGEST_LIFE = 366 * 24 * 3600

_BY_STATUS: Mapping[int, type[ProviderError]] = {
    400: ProviderRefusedError,
    401: ProviderAuthError,
    403: ProviderScopeError,
    404: ProviderRefusedError,
    408: ProviderUnavailableError,
    409: ProviderUnavailableError,
    422: ProviderRefusedError,
    429: ProviderUnavailableError,
}


def call(label: str, request: requests.Request, *, secrets: tuple[str, ...] = ()) -> Any:
    """Make a call once; returns the answer's JSON.

    Args:
        label: the provider, for people.
        request: with all of its headers. Redirects are not followed.
        secrets: what no error may repeat, whatever the provider says.

    Raises:
        ProviderError: one of its family, by the answer's status.
    """
    try:
        until = time.monotonic() + transport.LONGEST
        answer = transport.exchange(request.prepare(), until=until)
    except HubSpotUnavailableError as error:
        # The same connections as HubSpot's, whose words name the wrong one.
        raise ProviderUnavailableError(error.message.replace("HubSpot", label)) from error
    body = answer.json
    if answer.status >= HTTPStatus.MULTIPLE_CHOICES:
        raise _error(label, answer, body, secrets)
    if body is None:
        raise ProviderUnavailableError(f"{label}'s answer was cut off or not JSON")
    return body


@contextmanager
def reading(label: str) -> Iterator[None]:
    """Around the reading of an answer: one of an undocumented shape becomes a ``ProviderError``."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ProviderError(f"{label}'s answer has another shape than documented") from error


def call_for_tokens(label: str, request: requests.Request, *, secrets: tuple[str, ...]) -> Any:
    """Call a token endpoint; what it refuses is refused for good.

    Raises:
        ProviderRevokedError: ``invalid_grant``: the code or the refresh token does not count.
        ProviderUnavailableError: try again.
        ProviderError: our app is configured wrongly, or the answer makes no sense.
    """
    try:
        return call(label, request, secrets=secrets)
    except (ProviderRefusedError, ProviderAuthError) as error:
        if error.details.get("code") == "invalid_grant":
            raise ProviderRevokedError(error.message) from error
        # About our app, not about the person, who can do nothing about it.
        raise ProviderError(f"{error.message}; check the app's id, secret and redirect") from error


def tokens_from(label: str, body: Mapping[str, Any]) -> Tokens:
    """Read the tokens of RFC 6749's answer."""
    with reading(label):
        access_token, refresh_token = body["access_token"], body.get("refresh_token") or ""
        expires_in = body.get("expires_in")
        for token in (access_token, refresh_token):
            if len(token) > _LONGEST_TOKEN or not (token or "-").isascii():
                raise ValueError
        if not access_token or not access_token.isprintable() or " " in access_token:
            raise ValueError
        if expires_in is not None and not 0 < int(expires_in) <= _LONGEST_LIFE:
            raise ValueError
        return Tokens(access_token, refresh_token, expires_in and int(expires_in))


def _error(
    label: str, answer: transport.Answer, body: Any, secrets: tuple[str, ...]
) -> ProviderError:
    status = answer.status
    error_class = _BY_STATUS.get(
        status, ProviderUnavailableError if status >= 500 else ProviderError
    )
    code, said = _reason(body)
    for secret in filter(None, secrets):
        said = said.replace(secret, "…")
    reason = said[:_LONGEST_QUOTE] or f"HTTP {status}"
    details = {"code": code} if code else {}
    if error_class is ProviderUnavailableError:
        after = answer.headers.get("Retry-After", "")
        details |= {"retry_after": after} if after.isdecimal() and len(after) < 6 else {}
    return error_class(f"{label}: {reason}", details=details)


def _reason(body: Any) -> tuple[str, str]:
    """The code and the sentence, in any of the shapes that Airtable, Notion and RFC 6749 have."""
    if not isinstance(body, dict):
        return "", ""
    inner = body.get("error")
    if isinstance(inner, dict):
        return str(inner.get("type", ""))[:100], str(inner.get("message", ""))
    code = body.get("code") or inner or ""
    said = body.get("error_description") or body.get("message") or code
    return str(code)[:100], str(said)
