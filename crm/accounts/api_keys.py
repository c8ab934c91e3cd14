"""Make keys for applications, shown once and stored as digests, and revoke them."""

import hashlib
import secrets
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, func, insert, select, update

from crm.accounts.users import get_organization_id
from crm.db import db, transaction
from crm.errors import NotFoundError
from crm.models import ApiKey, Organization

_PREFIX = "crm_"
_SHOWN = len(_PREFIX) + 8


def create_key(*, name: str, organization: str) -> str:
    """Make a key for an application of an organization; returns it, for the only time.

    Raises:
        NotFoundError: there is no such organization.
    """
    return issue_key(get_organization_id(organization), name)


def issue_key(organization_id: int, name: str) -> str:
    """As ``create_key``, for an organization that is known by its id."""
    key = _PREFIX + secrets.token_urlsafe(32)
    with transaction() as session:
        session.execute(
            insert(ApiKey).values(
                organization_id=organization_id,
                name=name,
                prefix=key[:_SHOWN],
                digest=digest_of(key),
            )
        )
    return key


def list_keys(organization_id: int | None = None) -> Sequence[Row[*tuple[Any, ...]]]:
    """Every key, or those of one organization.

    Returns:
        Rows of prefix, name, organization, created_at, revoked_at.
    """
    statement = (
        select(
            ApiKey.prefix,
            ApiKey.name,
            Organization.name.label("organization"),
            ApiKey.created_at,
            ApiKey.revoked_at,
        )
        .join(Organization, Organization.id == ApiKey.organization_id)
        .order_by(ApiKey.id)
    )
    if organization_id is not None:
        statement = statement.where(ApiKey.organization_id == organization_id)
    return db.session.execute(statement).all()


def revoke_key(prefix: str, organization_id: int | None = None) -> None:
    """Refuse a key from now on; where an organization is given, only one of its own.

    Raises:
        NotFoundError: no key that is in force begins like this.
    """
    statement = (
        update(ApiKey)
        .where(ApiKey.prefix == prefix[:_SHOWN], ApiKey.revoked_at.is_(None))
        .values(revoked_at=func.now())
    )
    if organization_id is not None:
        statement = statement.where(ApiKey.organization_id == organization_id)
    with transaction() as session:
        if session.scalar(statement.returning(ApiKey.id)) is None:
            raise NotFoundError(f"No key in force begins with {prefix[:_SHOWN]}")


def is_key(token: str) -> bool:
    """Whether a Bearer token is a key, and none of those that a sign-in gives."""
    return token.startswith(_PREFIX)


def digest_of(key: str) -> bytes:
    """What is stored of a key; it is 256 random bits, so a fast digest cannot be guessed back."""
    return hashlib.sha256(key.encode()).digest()
