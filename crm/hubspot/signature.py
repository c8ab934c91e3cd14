"""Signatures of the requests that HubSpot sends: made and verified over the raw bytes.

Source: HubSpot docs, "Validating requests from HubSpot". Version 3 covers method, address, body
and time; version 1, all that a private app's webhooks carry, covers the body alone. Version 2 is
for workflows and cards, which do not come here.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable

from crm.errors import TokenError

SIGNATURE = "X-HubSpot-Signature"
VERSION = "X-HubSpot-Signature-Version"
SIGNATURE_V3 = "X-HubSpot-Signature-v3"
TIMESTAMP = "X-HubSpot-Request-Timestamp"

FindHeader = Callable[[str], str | None]

LONGEST_AGE_MS = 300_000
"""Docs: reject a version 3 signature whose timestamp is older than five minutes."""

# Docs: what of an address is decoded before it is signed; all else stays as it was sent.
_DECODED = {
    "%3A": ":",
    "%2F": "/",
    "%3F": "?",
    "%40": "@",
    "%21": "!",
    "%24": "$",
    "%27": "'",
    "%28": "(",
    "%29": ")",
    "%2A": "*",
    "%2C": ",",
    "%3B": ";",
}
_ENCODED = re.compile("|".join(_DECODED), re.IGNORECASE)
_MILLISECONDS = re.compile(r"[0-9]{1,15}")


def sign_v3(secret: str, *, method: str, uri: str, body: bytes, timestamp: int) -> str:
    """The value of ``X-HubSpot-Signature-v3``: an HMAC-SHA256 in base64.

    Args:
        secret: the app's client secret.
        method: of the request, in capitals.
        uri: the whole address as HubSpot called it, with its query.
        body: as sent.
        timestamp: in milliseconds since 1970.
    """
    decoded = _ENCODED.sub(lambda found: _DECODED[found[0].upper()], uri)
    source = f"{method}{decoded}".encode() + body + str(timestamp).encode()
    return base64.b64encode(hmac.digest(secret.encode(), source, "sha256")).decode()


def sign_v1(secret: str, *, body: bytes) -> str:
    """The value of ``X-HubSpot-Signature`` in version 1: a SHA-256 in hexadecimal digits."""
    return hashlib.sha256(secret.encode() + body).hexdigest()


def check_signature(
    find_header: FindHeader,
    *,
    secret: str,
    method: str,
    uris: Iterable[str],
    body: bytes,
    now_ms: int,
) -> None:
    """Let pass what HubSpot signed; where both versions are sent, version 3 decides.

    Args:
        find_header: the request's header of a name in any letter case, or None.
        secret: the app's client secret.
        method: of the request, in capitals.
        uris: the whole addresses, with their query, one of which HubSpot called.
        body: as received, before anything parsed it.
        now_ms: our time, in milliseconds since 1970.

    Raises:
        TokenError: the signature is missing, wrong or stale; the message says which.
    """
    if not secret:
        # Anybody can sign with an empty key.
        raise TokenError("There is no secret to verify signatures with")
    given = find_header(SIGNATURE_V3)
    if given is not None:
        timestamp = _fresh(find_header(TIMESTAMP) or "", now_ms)
        expected = [
            sign_v3(secret, method=method, uri=each, body=body, timestamp=timestamp)
            for each in uris
        ]
    elif find_header(VERSION) == "v1":
        expected = [sign_v1(secret, body=body)]
        given = find_header(SIGNATURE) or ""
    else:
        raise TokenError("The request carries no signature of version 1 or 3")
    shown = given.encode("utf-8", "replace")
    if not any(hmac.compare_digest(each.encode(), shown) for each in expected):
        raise TokenError("The signature does not match the request")


def _fresh(text: str, now_ms: int) -> int:
    if not _MILLISECONDS.fullmatch(text):
        raise TokenError(f"The request carries no {TIMESTAMP} in milliseconds")
    if abs(now_ms - int(text)) > LONGEST_AGE_MS:
        # From the future too: it would be good for longer than five minutes.
        raise TokenError("The signature is stale: its time is more than five minutes from ours")
    return int(text)
