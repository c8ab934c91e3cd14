"""How HubSpot signs what it sends, so that a receiver knows it by the app's client secret.

Source: HubSpot docs, validating requests; the vectors of the official SDKs' tests.
"""

import hashlib
import hmac
import re
from base64 import b64encode

# HubSpot decodes these in the URI before it signs, and leaves every other escape as it is.
_DECODED = {
    f"%{ord(character):02X}": character
    for character in (":", "/", "?", "@", "!", "$", "'", "(", ")", "*", ",", ";")
}
_ESCAPE = re.compile("%[0-9A-Fa-f]{2}")


def sign_v1(secret: str, body: bytes) -> str:
    """Return the v1 signature: the SHA-256 of secret and body, in hexadecimal."""
    return hashlib.sha256(secret.encode() + body).hexdigest()


def sign_v3(secret: str, method: str, uri: str, body: bytes, timestamp: int) -> str:
    """Return the v3 signature: an HMAC-SHA256 by the secret, in Base64.

    ``uri`` is the whole URL as it is called; ``timestamp`` is in epoch milliseconds.
    """
    source = f"{method}{decode_uri(uri)}".encode() + body + str(timestamp).encode()
    return b64encode(hmac.new(secret.encode(), source, hashlib.sha256).digest()).decode()


def decode_uri(uri: str) -> str:
    """Return a URI with those escapes decoded that HubSpot decodes before it signs."""
    return _ESCAPE.sub(lambda escape: _DECODED.get(escape[0].upper(), escape[0]), uri)


def signature_headers(secret: str, uri: str, body: bytes, timestamp: int) -> dict[str, str]:
    """Return the headers that HubSpot sends with a webhook: v1 and v3 side by side."""
    return {
        "X-HubSpot-Signature": sign_v1(secret, body),
        "X-HubSpot-Signature-Version": "v1",
        "X-HubSpot-Signature-v3": sign_v3(secret, "POST", uri, body, timestamp),
        "X-HubSpot-Request-Timestamp": str(timestamp),
    }
