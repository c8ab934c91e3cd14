"""A middleware between a company's applications and HubSpot."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crm.factory import create_app as create_app
    from crm.launcher.database import prepare_database as prepare_database

_MODULES = {"create_app": "crm.factory", "prepare_database": "crm.launcher.database"}


def __getattr__(name: str) -> Any:
    """The service itself as soon as somebody wants it.

    Every process that uses any part of this package comes through here, and the sandbox would take
    five times as long to start if it had to bring the whole service along.
    """
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
