"""What HubSpot, and the proxy before it, answer when something is wrong with them.

Source: HubSpot docs, error-handling. The refusals of limits stand in ``limits``.
"""

from typing import Final

from hubspot_sandbox.errors import HubSpotError

# The proxy's own errors are web pages.
PAGES: Final = {
    502: "Bad Gateway",
    503: "Service Temporarily Unavailable",
    504: "Gateway Time-out",
    521: "Web server is down",
    523: "Origin is unreachable",
    524: "A timeout occurred",
}
ONLY_PAGES: Final = frozenset({521, 523, 524})
LIMITED: Final = 429

_MESSAGES: Final = {
    423: "This resource is locked due to a high volume of writes",
    477: "This account is being migrated to another data center",
    500: "internal error",
    502: "Bad gateway",
    503: "Service temporarily unavailable",
    504: "Gateway timeout",
}
_CATEGORIES: Final = {423: "LOCKED"}
# A portal that moves to another data centre says when to come back, in seconds.
_RETRY_AFTER: Final = {477: "2"}
STATUSES: Final = frozenset({LIMITED, *_MESSAGES, *ONLY_PAGES})


def failure(status: int) -> HubSpotError:
    """Make HubSpot's error of a status of `STATUSES` that is neither a page nor a limit's."""
    error = HubSpotError(status, _MESSAGES[status], _CATEGORIES.get(status))
    return error.adding({"Retry-After": _RETRY_AFTER[status]} if status in _RETRY_AFTER else None)


def page(status: int) -> bytes:
    """Return the proxy's web page for a status of `PAGES`."""
    title = f"{status} {PAGES[status]}"
    return (
        f"<html><head><title>{title}</title></head><body><center><h1>{title}</h1></center>"
        "<hr><center>cloudflare</center></body></html>"
    ).encode()
