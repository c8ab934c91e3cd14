"""Keep organizations and their users, with passwords and roles."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from marshmallow import ValidationError, validate
from sqlalchemy import exists, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError

from crm.db import db, transaction
from crm.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    UserExistsError,
)
from crm.mirror.reads import contact_tree
from crm.models import Organization, Portal, SignIn, User
from crm.models.accounts import IDENTIFIER

ROLES = ("user", "admin")
SHORTEST_PASSWORD, LONGEST_PASSWORD = 6, 128

NO_PASSWORD = "none"  # noqa: S105 - what stands in place of the hash where nobody signs in
BY_OPEN_ACCESS = "none, by open access"
"""The same, of those whose tokens count only while open access is on."""

_IS_A_PERSON = User.password_hash.not_in((NO_PASSWORD, BY_OPEN_ACCESS))

_hasher = PasswordHasher()

# What an unknown user's password is compared with: as slow as any other hash.
_NOBODYS_HASH = (
    "$argon2id$v=19$m=65536,t=3,p=4$r9H5DGW//JcN41txF3TtlQ"
    "$+JU6fBqhHs+gF2YPTzvW6R2fIkHxRCo60PnKYQs/KR4"
)


def create_user(*, email: str, password: str, role: str, organization: str) -> None:
    """Make a user of an organization, without a contact.

    Raises:
        InvalidInputError: an e-mail or a password that nobody could sign in with.
        NotFoundError: there is no such organization.
        UserExistsError: the e-mail is taken.
    """
    organization_id, _ = find_organization(organization)
    add_user(organization_id, email=email, password=password, role=role)


def add_user(organization_id: int, *, email: str, password: str, role: str) -> None:
    """As ``create_user``, in an organization that is known by its id.

    Raises:
        InvalidInputError: an e-mail or a password that nobody could sign in with.
        UserExistsError: the e-mail is taken.
    """
    try:
        validate.Email()(email)
        validate.Length(min=SHORTEST_PASSWORD, max=LONGEST_PASSWORD)(password)
    except ValidationError as error:
        raise InvalidInputError(f"E-mail or password: {error.messages[0]}") from error
    password_hash = hash_password(password)
    with transaction():
        insert_user(
            organization_id=organization_id,
            email=email.lower(),
            password_hash=password_hash,
            role=role,
        )


def find_token_user_id(*, role: str, organization: str, by_open_access: bool = False) -> int:
    """The user of an organization to whom tokens of a role are given without a password.

    Args:
        role: of the user.
        organization: its name.
        by_open_access: another user, whose tokens end with open access.

    Raises:
        NotFoundError: there is no such organization.
    """
    organization_id, _ = find_organization(organization)
    kind = "open access tokens" if by_open_access else "tokens"
    # No address and no hash, so that nobody can register or sign in as them.
    values = {
        "organization_id": organization_id,
        "email": f"{kind} of organization {organization_id}: {role}",
        "password_hash": BY_OPEN_ACCESS if by_open_access else NO_PASSWORD,
        "role": role,
    }
    new = insert(User).values(**values)
    kept = new.on_conflict_do_update(index_elements=[User.email], set_={"role": role})
    with transaction() as session:
        return session.scalars(kept.returning(User.id)).one()


def promote_user(email: str) -> None:
    """Make a user an admin.

    Raises:
        NotFoundError: nobody has this e-mail.
    """
    with transaction() as session:
        statement = update(User).where(User.email == email.lower()).values(role="admin")
        if session.scalar(statement.returning(User.id)) is None:
            raise NotFoundError(f"No user has the e-mail {email}")


@dataclass(frozen=True)
class Member:
    """A person of an organization."""

    id: int
    email: str
    role: str
    created_at: datetime
    last_sign_in_at: datetime | None
    """Of the sign-ins that are still known: an ended one is forgotten after a while."""


def list_members(organization_id: int) -> list[Member]:
    """The people of an organization, by their e-mails."""
    last = select(func.max(SignIn.refreshed_at)).where(SignIn.user_id == User.id).scalar_subquery()
    statement = (
        select(User.id, User.email, User.role, User.created_at, last)
        .where(User.organization_id == organization_id, _IS_A_PERSON)
        .order_by(User.email)
    )
    return [Member(*row) for row in db.session.execute(statement)]


def change_role(organization_id: int, user_id: int, role: str) -> str:
    """Make a member a user or an admin, from their next request on; returns their e-mail.

    Raises:
        InvalidInputError: no role of ours.
        NotFoundError: the organization has no such member.
        ConflictError: nobody would be left who could undo it.
    """
    if role not in ROLES:
        raise InvalidInputError(errors={"role": f"Must be one of: {', '.join(ROLES)}."})
    people = select(User).where(User.organization_id == organization_id, _IS_A_PERSON)
    with transaction() as session:
        # All of them are locked: two admins who demote each other must not both succeed.
        found = {each.id: each for each in session.scalars(people.with_for_update())}
        if user_id not in found:
            raise NotFoundError
        found[user_id].role = role
        if not any(each.role == "admin" for each in found.values()):
            raise ConflictError("An organization needs an administrator")
        return found[user_id].email


def create_organization(name: str, identifier: str | None = None) -> None:
    """Make an organization and its portal, which is not connected yet.

    Args:
        name: for people.
        identifier: what applications call it, such as ``org_123456``.

    Raises:
        InvalidInputError: no name, or no identifier that there could be.
        ConflictError: the name or the identifier is taken.
    """
    if not name.strip():
        raise InvalidInputError("An organization needs a name")
    if identifier is not None:
        _check_identifier(identifier)
    with transaction() as session:
        statement = insert(Organization).values(name=name, identifier=identifier)
        organization_id = session.scalar(
            statement.on_conflict_do_nothing().returning(Organization.id)
        )
        if organization_id is None:
            is_name = session.scalar(select(exists().where(Organization.name == name)))
            raise ConflictError(
                f"There is an organization {name if is_name else identifier} already"
            )
        session.execute(insert(Portal).values(organization_id=organization_id))


def set_identifier(organization: str, identifier: str) -> None:
    """Have applications call an organization by this instead of what they called it before.

    Raises:
        InvalidInputError: no identifier that there could be.
        NotFoundError: there is no such organization.
        ConflictError: it is another's.
    """
    _check_identifier(identifier)
    organization_id = get_organization_id(organization)
    statement = update(Organization).where(Organization.id == organization_id)
    try:
        with transaction() as session:
            session.execute(statement.values(identifier=identifier))
    except IntegrityError as error:
        raise ConflictError(f"There is an organization {identifier} already") from error


def is_called(organization_id: int, name: str) -> bool:
    """Whether this is the organization's name, its number or its identifier."""
    own = select(Organization.name, Organization.identifier)
    names = db.session.execute(own.where(Organization.id == organization_id)).one()
    return name in (str(organization_id), *names)


def get_organization_id(name: str) -> int:
    """The id of the organization with this name.

    Raises:
        NotFoundError: there is none.
    """
    return find_organization(name)[0]


def get_portal_id(organization: str) -> int:
    """The portal of the organization with this name.

    Raises:
        NotFoundError: there is none.
    """
    return find_organization(organization)[1]


def get_account(user_id: int | None) -> dict[str, Any]:
    """A user's account and own graph, each node with its sync state.

    Returns:
        ``{"email", "role", "organization", "created_at", "contact": CONTACT | None}``.
    """
    user = db.session.execute(
        select(
            User.email,
            User.role,
            User.created_at,
            User.contact_id,
            Organization.name.label("organization"),
        )
        .join(User.organization)
        .where(User.id == user_id)
    ).one()
    return {
        "email": user.email,
        "role": user.role,
        "organization": user.organization,
        "created_at": user.created_at,
        "contact": contact_tree.find_graph(user.contact_id) if user.contact_id else None,
    }


def hash_password(password: str) -> str:
    """Hash a password; it takes its time on purpose, so no transaction may wait for it."""
    return _hasher.hash(password)


def is_password_hashed_as(password_hash: str | None, password: str) -> bool:
    """Whether the password has this hash; None, for nobody, takes as long as a wrong one."""
    try:
        _hasher.verify(password_hash or _NOBODYS_HASH, password)
    except (VerificationError, InvalidHashError):
        return False
    return password_hash is not None


def _check_identifier(identifier: str) -> None:
    if not re.fullmatch(IDENTIFIER, identifier):
        raise InvalidInputError(
            "An identifier is a small letter and up to 54 more small letters, digits or underscores"
        )


def find_organization(name: str) -> tuple[int, int]:
    """Find an organization by its name; returns its id and its portal's.

    Raises:
        NotFoundError: there is none.
    """
    row = db.session.execute(
        select(Organization.id, Portal.id.label("portal_id"))
        .join(Portal, Portal.organization_id == Organization.id)
        .where(Organization.name == name)
    ).one_or_none()
    if row is None:
        raise NotFoundError(f"There is no organization {name}")
    return row.id, row.portal_id


def insert_user(**values: Any) -> None:
    """Insert a row of users within the caller's transaction.

    Raises:
        UserExistsError: the e-mail is taken.
    """
    statement = insert(User).values(**values).on_conflict_do_nothing(index_elements=[User.email])
    if db.session.scalar(statement.returning(User.id)) is None:
        raise UserExistsError
