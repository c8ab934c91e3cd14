"""What HubSpot, and the proxy before it, answer when something is wrong with them.

Sources: HubSpot docs, error-handling and usage guidelines; real 429 answers.
"""

from typing import Any, Final

import orjson

from crm.sandbox.access import Access

Headers = list[tuple[str, str]]

# The proxy's own errors are web pages.
PAGES: Final = {
    502: "Bad Gateway",
    503: "Service Temporarily Unavailable",
    504: "Gateway Time-out",
    521: "Web server is down",
    523: "Origin is unreachable",
    524: "A timeout occurred",
}
_ONLY_PAGES: Final = frozenset({521, 523, 524})

# HubSpot's bodies, apart from the correlation id and from 429.
_BODIES: Final[dict[int, dict[str, Any]]] = {
    423: {
        "message": "This resource is locked due to a high volume of writes",
        "category": "LOCKED",
    },
    477: {"message": "This account is being migrated to another data center"},
    500: {"message": "internal error"},
    502: {"message": "Bad gateway"},
    503: {"message": "Service temporarily unavailable"},
    504: {"message": "Gateway timeout"},
}
STATUSES: Final = frozenset({429, *_BODIES, *_ONLY_PAGES})

# A portal that moves to another data centre says when to come back, in seconds.
_RETRY_SECONDS: Final = {477: 2}

_TEN_SECONDLY: Final = {"Max": 190, "Remaining": 189, "Interval-Milliseconds": 10_000}
_DAILY: Final = {"Daily": 625_000, "Daily-Remaining": 512_000}
# What was reached: its name in the message, the fields that tell of it, the X-HubSpot-RateLimit
# headers. Answers to searches never tell of the ten seconds, and their bodies come in two forms.
POLICIES: Final[dict[str, tuple[str, dict[str, str], dict[str, int]]]] = {
    "ten_secondly": (
        "ten_secondly_rolling",
        {
            "errorType": "RATE_LIMIT",
            "policyName": "TEN_SECONDLY_ROLLING",
            "groupName": "publicapi:{group}-api-calls-ten-secondly:{app_id}:{portal_id}",
        },
        {**_TEN_SECONDLY, **_DAILY, "Remaining": 0},
    ),
    "daily": (
        "daily",
        {
            "errorType": "RATE_LIMIT",
            "policyName": "DAILY",
            "groupName": "publicapi:{group}-api-calls-daily:{portal_id}",
            "requestId": "{correlation_id}",
        },
        {**_TEN_SECONDLY, **_DAILY, "Daily-Remaining": 0},
    ),
    "search": (
        "secondly",
        {
            "errorType": "RATE_LIMIT",
            "policyName": "SECONDLY",
            "groupName": "publicapi:crm:search:{group}:{app_id}:{portal_id}",
        },
        _DAILY,
    ),
    "search_unnamed": ("secondly", {"category": "RATE_LIMITS"}, _DAILY),
}


def page(status: int) -> tuple[str, Headers, bytes]:
    """Return the proxy's error page: status line, headers and HTML."""
    title = f"{status} {PAGES[status]}"
    body = (
        f"<html><head><title>{title}</title></head><body><center><h1>{title}</h1></center>"
        "<hr><center>cloudflare</center></body></html>"
    )
    return title, [("Content-Type", "text/html")], body.encode()


def refusal(
    status: int, policy: str, caller: Access, correlation_id: str
) -> tuple[str, Headers, bytes]:
    """Return the answer with that status: its status line, headers and body.

    ``policy`` is a name in `POLICIES`, for 429; its group is named after who called.
    """
    if status in _ONLY_PAGES:
        return page(status)
    headers: Headers = [("Content-Type", "application/json;charset=utf-8")]
    body = _BODIES.get(status, {})
    if status == 429:
        name, fields, told = POLICIES[policy]
        names = {
            "group": "oauth" if caller.is_oauth else "private_app",
            "app_id": caller.app_id,
            "portal_id": caller.portal_id,
            "correlation_id": correlation_id,
        }
        body = {"message": f"You have reached your {name} limit."}
        body |= {key: text.format(**names) for key, text in fields.items()}
        headers += [(f"X-HubSpot-RateLimit-{key}", str(value)) for key, value in told.items()]
    if status in _RETRY_SECONDS:
        headers.append(("Retry-After", str(_RETRY_SECONDS[status])))
    whole = {"status": "error", **body, "correlationId": correlation_id}
    return f"{status} Fault", headers, orjson.dumps(whole)
