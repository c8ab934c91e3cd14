"""Scopes: which of them a call needs, and which an app may ask for.

Source: HubSpot's scopes reference and the security notes of its API documents; live answers for
the refusal. ``tickets`` and ``e-commerce`` are older than the granular scopes and still granted.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

from hubspot_sandbox.access import Access
from hubspot_sandbox.errors import missing_scopes

READ: Final = "read"
WRITE: Final = "write"
OAUTH: Final = "oauth"

# One of these scopes is enough.
Requirement: TypeAlias = tuple[str, ...]
# What a call needs, all of it: by what it does, and the names of the object types in its path.
Rule: TypeAlias = Callable[[str, Sequence[str]], list[Requirement]]

_LEGACY: Final = {"line_items": "e-commerce", "products": "e-commerce"}
_READING_POSTS: Final = ("/batch/read", "/search")
_KNOWN: Final = re.compile(
    r"oauth|tickets|e-commerce|automation|content|files|forms|timeline|sales-email-read"
    r"|crm\.(import|export)|crm\.lists\.(read|write)|crm\.objects\.owners\.read"
    r"|crm\.(objects|schemas)\.[a-z_]+(\.(highly_)?sensitive)?\.(read|write)"
    r"|settings\.[a-z_]+\.(read|write)|account-info\.security\.read|webhooks"
    r"|developer\.[a-z_]+(\.[a-z_]+)+"
)


def _objects(action: str, names: Sequence[str]) -> list[Requirement]:
    return [_either("objects", name, action) for name in names]


def _schemas(action: str, names: Sequence[str]) -> list[Requirement]:
    return [_either("schemas", name, action) for name in names]


def _either(family: str, name: str, action: str) -> Requirement:
    if name == "tickets":
        # Granular ones of tickets exist for schemas only, and for sensitive data.
        more = (f"crm.schemas.tickets.{action}",) if family == "schemas" else ()
        return ("tickets", *more)
    granular = f"crm.{family}.{name}.{action}"
    return (granular, _LEGACY[name]) if name in _LEGACY else (granular,)


def _owners(_: str, __: Sequence[str]) -> list[Requirement]:
    return [("crm.objects.owners.read",)]


def _lists(action: str, _: Sequence[str]) -> list[Requirement]:
    return [(f"crm.lists.{action}",)]


def _any_token(_: str, __: Sequence[str]) -> list[Requirement]:
    return []


# By the areas of ``app.AREAS``: an area without a rule is a mistake that shows at start.
RULES: Final[Mapping[str, Rule]] = {
    "objects": _objects,
    "record_associations": _objects,
    "associations": _objects,
    "record_associations_v3": _objects,
    "associations_v3": _objects,
    "pipelines": _objects,
    "properties": _schemas,
    "owners": _owners,
    "lists": _lists,
    "account": _any_token,
    "installs": _any_token,
}


def find_action(method: str, path: str) -> str:
    """Say whether a route reads or writes: batch reads and searches are POSTs that read."""
    return READ if method == "GET" or path.endswith(_READING_POSTS) else WRITE


def check_scopes(access: Access, requirements: Sequence[Requirement]) -> None:
    """Raise HubSpot's 403 unless the token has a scope for every requirement."""
    if access.scopes is None:
        return
    missing = [each for each in requirements if access.scopes.isdisjoint(each)]
    if missing:
        raise missing_scopes(missing)


def is_known_scope(name: str) -> bool:
    """Say whether HubSpot has a scope of that name, as far as this sandbox knows."""
    return bool(_KNOWN.fullmatch(name))
