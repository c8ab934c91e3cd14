"""Cursors: where a page of a listing ended, signed, so that what comes back is what we gave."""

from functools import lru_cache
from typing import Any

from flask import current_app
from itsdangerous import BadData, URLSafeSerializer

from crm.errors import InvalidInputError


def cursor_of(listing: str, *position: Any) -> str:
    """A cursor: where a page of a listing ended, signed."""
    cursor: str = _cursors().dumps([listing, *position])
    return cursor


def position_of(cursor: str, listing: str) -> list[Any]:
    """Where the page ended that gave this cursor.

    Raises:
        InvalidInputError: a cursor that is none of ours, or of another listing.
    """
    position: list[Any]
    try:
        made_for, *position = _cursors().loads(cursor)
    except (BadData, ValueError) as error:
        raise _not_a_cursor() from error
    if made_for != listing:
        raise _not_a_cursor()
    return position


def _not_a_cursor() -> InvalidInputError:
    return InvalidInputError(
        errors={"cursor": "Not a cursor of this list and order; begin again without one"}
    )


def _cursors() -> URLSafeSerializer:
    return _serializer(current_app.extensions["crm_settings"].secret_key)


@lru_cache
def _serializer(secret_key: str) -> URLSafeSerializer:
    # Signed, so that what comes back is what we gave and can go into a statement's types.
    return URLSafeSerializer(secret_key, salt="cursor")
