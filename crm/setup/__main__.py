"""``python -m crm.setup``: once before everything else, in docker-compose.yml."""

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields

from crm.config import Settings, gather, read_env_file
from crm.errors import ConfigError
from crm.setup.plan import PASSWORD, Found, Plan, make_plan
from crm.setup.volumes import Volumes

_PREFIX = "GIVEN_"
"""In our environment, before the names of what Compose hands on."""
_FIXED = frozenset({"FLASK_ENV", "DATA_DIR", "LOG_REQUESTS"})
_OF_COMPOSE = frozenset({"PORT", "SANDBOX_PORT", "BIND", "PROXY_BIND", "WEB_MEMORY"})
_DEFAULTS = {each.name.upper(): str(each.default) for each in fields(Settings)}
_HANDED_ON = _DEFAULTS.keys() - _FIXED - _OF_COMPOSE | {PASSWORD}


def set_up(volumes: Volumes, environ: Mapping[str, str]) -> list[str]:
    """Write what every other service needs; returns what the operator should know, a line each.

    Args:
        volumes: where all of it lies.
        environ: what Compose hands on of the shell and of ``.env``.

    Raises:
        ConfigError: something is missing or wrong; one line that says what to do.
    """
    own = read_env_file(volumes.project / ".env.local")
    given = gather(environ, project=volumes.project)
    plan = make_plan(
        Found(
            given={
                name: value
                for name, value in given.items()
                # A default that stands in .env is nobody's wish.
                if name in _HANDED_ON and (name in own or value != _DEFAULTS.get(name))
            },
            kept=volumes.read_settings(),
            known_password=volumes.read_password(),
            has_database=volumes.has_database(),
        )
    )
    volumes.write(plan)
    used = {**plan.settings, PASSWORD: plan.password}
    used |= {name: environ.get(name, "") for name in _OF_COMPOSE}
    return [*_idle_lines(own, used), *_warnings(plan, used["BIND"]), _what_hubspot_is(plan)]


def _idle_lines(own: Mapping[str, str | None], used: Mapping[str, str]) -> Iterator[str]:
    """Tell of every line of ``.env.local`` that does nothing."""
    for name, value in own.items():
        if value != "" and used.get(name) != value:
            yield f"{name} in .env.local does nothing: {_why_idle(name, value)}"


def _why_idle(name: str, value: str | None) -> str:
    if value is None:
        return "it has no ="
    if name in _FIXED:
        return "in containers it is fixed"
    if name in _OF_COMPOSE or name.startswith("COMPOSE_"):
        return "Compose reads it from the shell or .env"
    if name == PASSWORD:
        return "the database keeps the password that it was made with"
    if name in _HANDED_ON:
        return "the shell sets another value"
    return "there is no such setting"


def _warnings(plan: Plan, bind: str) -> Iterator[str]:
    if bind not in {"", "127.0.0.1", "::1", "localhost"} and plan.settings.get("PUBLIC_URL"):
        yield (
            "BIND publishes the service past its proxy, and whoever calls it there chooses the "
            "address that is believed; PROXY_BIND publishes the proxy alone"
        )


def _what_hubspot_is(plan: Plan) -> str:
    if plan.serves_sandbox:
        return "HubSpot is the sandbox, with demo data, until HUBSPOT_PRIVATE_APP_TOKEN is set"
    if plan.settings.keys() & {"HUBSPOT_PRIVATE_APP_TOKEN", "HUBSPOT_REFRESH_TOKEN"}:
        return "HubSpot is the portal of the token that is set"
    return "No token for HubSpot is set: what is written waits until there is one"


def main() -> int:
    """Set up; returns the exit code."""
    given = {
        name.removeprefix(_PREFIX): value
        for name, value in os.environ.items()
        if name.startswith(_PREFIX)
    }
    try:
        lines = set_up(Volumes(), given)
    except ConfigError as error:
        sys.stderr.write(f"{error.message}\n")
        return 1
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
