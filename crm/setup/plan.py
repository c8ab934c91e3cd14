"""Decides what an installation's settings are, from what was given and what earlier runs left."""

import secrets
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from crm.config import check_settings
from crm.errors import ConfigError

PASSWORD = "POSTGRES_PASSWORD"  # noqa: S105 - the name of a setting
DATABASE = "crm"
DEMO_DATABASE = "crm_demo"
"""Beside the real one, so that nothing of the demo ever reaches a portal."""

_HOST = "db"
_SANDBOX = {
    "HUBSPOT_API_URL": "http://sandbox:4013",
    "HUBSPOT_PRIVATE_APP_TOKEN": "pat-na1-sandbox",
}
# Any of these, and the sandbox has had its time. A database of one's own may hold anything.
_OWN = (
    *("HUBSPOT_PRIVATE_APP_TOKEN", "HUBSPOT_REFRESH_TOKEN", "HUBSPOT_CLIENT_ID"),
    *("HUBSPOT_API_URL", "DATABASE_URL"),
)
# What is remembered from run to run, among the settings; the app knows neither.
_MAY_SERVE = "SETUP_SANDBOX"
_CLAIMED = "SETUP_PASSWORD_CLAIMED"

SHOW_SETTINGS = "`docker compose run --rm --no-deps web cat /settings/crm.env`"


@dataclass(frozen=True)
class Found:
    """What there is before a run."""

    given: Mapping[str, str]
    """What the operator set; nothing empty."""
    kept: Mapping[str, str]
    """The settings as an earlier run wrote them."""
    known_password: str
    has_database: bool
    """Whether the volume of the database holds one."""

    @property
    def holds_data(self) -> bool:
        """Whether there may be a database that was in use before."""
        return self.has_database or "DATABASE_URL" in self.given


@dataclass(frozen=True)
class Plan:
    """What there is to be after a run."""

    settings: Mapping[str, str]
    password: str
    serves_sandbox: bool
    site: str
    """The address at which the proxy serves; empty without one."""


def make_plan(found: Found) -> Plan:
    """Fill in what the operator did not set; the operator's own values win.

    Raises:
        ConfigError: something is missing that only the operator can know, or a value is
            malformed; one line that says what to do.
    """
    password, is_claimed = _password(found)
    may_serve = found.kept.get(_MAY_SERVE, "no" if found.has_database else "yes") == "yes"
    serves = may_serve and not any(name in found.given for name in _OWN)
    made = {
        "DATABASE_URL": _address(password, DEMO_DATABASE if serves else DATABASE),
        "REDIS_URL": "redis://redis:6379/0",
        "SECRET_KEY": found.kept.get("SECRET_KEY") or _fresh(),
        "JWT_SECRET_KEY": found.kept.get("JWT_SECRET_KEY") or _fresh(),
    }
    given = {name: value for name, value in found.given.items() if name != PASSWORD}
    fixed = {"ENCRYPTION_KEYS": _encryption_keys(found), **(_SANDBOX if serves else {})}
    site = given.get("PUBLIC_URL", "")
    if site and "TRUSTED_PROXIES" not in given:
        # The service speaks plain HTTP, so a public address is that of a proxy in front.
        fixed["TRUSTED_PROXIES"] = "1"
    settings = made | given | fixed
    check_settings({**settings, "FLASK_ENV": "production"})
    remembered = {_MAY_SERVE: "yes" if serves else "no", _CLAIMED: "yes" if is_claimed else "no"}
    return Plan(settings | remembered, password, serves, site.rstrip("/"))


def _password(found: Found) -> tuple[str, bool]:
    """The database's password, and whether we only have somebody's word for it."""
    given = found.given.get(PASSWORD, "")
    if not found.has_database:
        return given or found.known_password or _fresh(), False
    known = found.known_password or _password_in(found.kept.get("DATABASE_URL", ""))
    if known and found.kept.get(_CLAIMED) != "yes":
        return known, False
    if given or known:
        return given or known, True
    if "DATABASE_URL" in found.given:
        return _fresh(), True
    raise ConfigError(
        "There is a database, and its password is not known: put it as POSTGRES_PASSWORD into "
        ".env.local, then start again; docs/production.md tells what to do if it is lost"
    )


def _encryption_keys(found: Found) -> str:
    given, kept = found.given.get("ENCRYPTION_KEYS", ""), found.kept.get("ENCRYPTION_KEYS", "")
    former = _split(kept)[0]
    if given and former and found.holds_data and former not in _split(given):
        raise ConfigError(
            "ENCRYPTION_KEYS lacks the key that tokens are stored under; write it behind the new "
            f"one, with a comma between them. {SHOW_SETTINGS} shows it"
        )
    if not (given or kept) and found.has_database and found.known_password:
        raise ConfigError(
            "ENCRYPTION_KEYS is not known any more, and the database may hold tokens stored under "
            "it: put it into .env.local, or a new one if it is lost, then start again; "
            "docs/production.md tells how to make one"
        )
    return given or kept or _fresh()


def _split(keys: str) -> list[str]:
    return [each.strip() for each in keys.split(",")]


def _address(password: str, database: str) -> str:
    return f"postgresql://crm:{quote(password, safe='')}@{_HOST}:5432/{database}"


def _password_in(address: str) -> str:
    parts = urlsplit(address)
    return unquote(parts.password or "") if parts.hostname == _HOST else ""


def _fresh() -> str:
    # A Fernet key is 32 random bytes, good enough for the others too.
    return urlsafe_b64encode(secrets.token_bytes(32)).decode()
