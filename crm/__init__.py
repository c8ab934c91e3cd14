"""A middleware between a company's applications and HubSpot."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crm.factory import create_app as create_app


def __getattr__(name: str) -> Any:
    """``create_app`` as soon as somebody wants it.

    Every process that uses any part of this package comes through here, and the sandbox would take
    five times as long to start if it had to bring the whole service along.
    """
    if name == "create_app":
        return import_module("crm.factory").create_app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
