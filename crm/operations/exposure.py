"""Check, before this machine is shown to the Internet, that nobody gets in without a credential."""

from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import orjson
from dotenv import set_key
from flask import current_app

from crm.config import DEMO_EMAIL, DEMO_PASSWORD, PROJECT, Settings
from crm.errors import ConfigError
from crm.hubspot.errors import HubSpotUnavailableError
from crm.hubspot.probe import probe

_FILE = PROJECT / ".env.local"
_JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class _Door:
    """A call that open access answers; without it there is one status alone."""

    method: str
    path: str
    refusal: HTTPStatus
    described: str
    body: bytes | None = None


_DOORS = (
    # One for each part of the API that open access lets people try.
    _Door("GET", "/contacts", HTTPStatus.UNAUTHORIZED, "without a credential"),
    _Door("GET", "/api/v1/scan/list", HTTPStatus.UNAUTHORIZED, "without a credential"),
    _Door("GET", "/integrations", HTTPStatus.UNAUTHORIZED, "without a credential"),
    _Door("GET", "/get-token/admin", HTTPStatus.NOT_FOUND, "without a credential"),
    _Door(
        *("POST", "/login", HTTPStatus.UNAUTHORIZED, "as the demo account"),
        orjson.dumps({"email": DEMO_EMAIL, "password": DEMO_PASSWORD}),
    ),
)


def shut(file: Path = _FILE) -> None:
    """Turn open access and the demo account off in ``.env.local``, and see that they are off.

    Args:
        file: where this machine's settings are; it is made if it is not there.

    Raises:
        ConfigError: the running service still lets people in, or none runs; what to do about it.
    """
    settings: Settings = current_app.extensions["crm_settings"]
    try:
        set_key(file, "OPEN_ACCESS", "0", quote_mode="never", follow_symlinks=True)
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror}") from error
    try:
        found = list(_find_open_doors(settings.local_url))
    except HubSpotUnavailableError as error:
        raise ConfigError(
            f"OPEN_ACCESS=0 is in .env.local now, but nothing answers at {settings.local_url} "
            f"({error.met}). Start the service (make run), then call this again"
        ) from error
    if found:
        raise ConfigError(
            f"The service at {settings.local_url} still lets people in, so do not expose it:\n"
            + "".join(f"  {each}\n" for each in found)
            + "OPEN_ACCESS=0 is in .env.local now. Stop the service (Ctrl-C) and start it again "
            "(make run), without\nOPEN_ACCESS or DEV_TOKENS set elsewhere; then call this again. "
            "After a 429, wait a minute first"
        )


def _find_open_doors(address: str) -> Iterator[str]:
    """Ask the running service from this machine, which open access trusts most."""
    for door in _DOORS:
        headers = _JSON if door.body else None
        answer = probe(door.method, address + door.path, headers=headers, body=door.body)
        if answer.status != door.refusal:
            yield (
                f"{door.method} {door.path} {door.described} is answered with "
                f"{answer.status}, not with {door.refusal.value}"
            )
