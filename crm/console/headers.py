"""What every page tells the browser to refuse."""

from flask import Response

_HEADERS = {
    # Bootstrap's style sheet carries its pictures as data: addresses. Browsers hold form-action
    # also against where an answer to a form redirects to.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
        " connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none';"
        " frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    # Not no-referrer: over HTTPS, a form's referrer is part of the proof that it is ours.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def guard_page(response: Response) -> Response:
    """A page with its headers; one that it has set itself stays."""
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    return response
