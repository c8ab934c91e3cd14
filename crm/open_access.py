"""Open access: whom ``run.py`` lets in without a credential while it serves sandbox data alone.

People at this machine may try everything out at once. A page from elsewhere in their browser,
a name that somebody else points at this machine, and whatever a proxy or a tunnel hands on must not
get in with them; each of the checks keeps one of these out.
"""

import re
from collections.abc import Mapping
from typing import Any

from flask import current_app, request

from crm.accounts.callers import is_open_access_on
from crm.config import is_loopback

# Letter by letter: a name may be anybody's (DNS rebinding), and other spellings have no use here.
_HOST = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?")
_HANDED_ON = ("HTTP_FORWARDED", "HTTP_X_FORWARDED", "HTTP_X_REAL_IP", "HTTP_VIA")


def is_granted() -> bool:
    """Whether this request was made at this machine, by nobody else's page and through no proxy."""
    environ = request.environ
    return (
        is_open_access_on()
        and is_loopback(environ.get("REMOTE_ADDR", ""))
        and _is_addressed_to_us(environ)
        and not any(name.startswith(_HANDED_ON) for name in environ)
        and _is_of_no_other_page(environ)
    )


def _is_addressed_to_us(environ: Mapping[str, Any]) -> bool:
    # A target that names a host itself is one for a proxy.
    is_plain = environ.get("RAW_URI", "/").startswith("/")
    return is_plain and bool(_HOST.fullmatch(environ.get("HTTP_HOST", "")))


def _is_of_no_other_page(environ: Mapping[str, Any]) -> bool:
    # An older browser sends the origin alone; of a file, or a page in a sandbox, it is ``null``.
    origin, site = environ.get("HTTP_ORIGIN"), environ.get("HTTP_SEC_FETCH_SITE")
    if site == "same-origin" and origin == f"http://{environ['HTTP_HOST']}":
        return True  # A form of the console, or a call from the documentation.
    front_ends = current_app.extensions["crm_settings"].front_ends
    return (origin is None or origin in front_ends) and site in (None, "none", "same-origin")
