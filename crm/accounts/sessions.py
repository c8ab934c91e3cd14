"""Sign people in: by tokens that name a sign-in, refreshed by rotation, ended by logging out."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import structlog
from flask_jwt_extended import create_access_token, create_refresh_token
from sqlalchemy import delete, func, insert, select, update

from crm.accounts.demo import is_demo
from crm.accounts.users import find_token_user_id, is_password_hashed_as
from crm.db import db, transaction
from crm.errors import CredentialsError, TokenError
from crm.models import SignIn, User

log = structlog.get_logger(__name__)

ACCESS_LIFE = timedelta(hours=1)
REFRESH_LIFE = timedelta(days=30)
BROWSER_LIFE = timedelta(days=14)
_GRACE = timedelta(seconds=60)
"""How long the refresh token before the newest is still honoured: an answer may get lost."""


@dataclass(frozen=True)
class Tokens:
    """What a client gets at login and at each refresh; ``expires_in`` in seconds."""

    access_token: str
    refresh_token: str
    expires_in: int = int(ACCESS_LIFE.total_seconds())


@dataclass(frozen=True)
class SignedIn:
    """A sign-in that a browser's session names, in place of tokens."""

    user_id: int
    id: UUID


def login(*, email: str, password: str, with_demo: bool = False) -> Tokens:
    """Begin a sign-in.

    Args:
        email: in small letters.
        password: as typed.
        with_demo: whether the demo account, whose password everybody knows, may sign in too.

    Raises:
        CredentialsError: the e-mail is unknown or the password wrong; both take the same time.
    """
    return _begin(_check_password(email, password, with_demo=with_demo), REFRESH_LIFE)


def sign_in_browser(*, email: str, password: str, with_demo: bool = False) -> SignedIn:
    """Begin a sign-in of the console, which lasts for ``BROWSER_LIFE`` or until it is ended.

    Raises:
        CredentialsError: as ``login``, whose arguments these are.
    """
    user_id = _check_password(email, password, with_demo=with_demo)
    sign_in_id, _ = _open(user_id, BROWSER_LIFE)
    return SignedIn(user_id, sign_in_id)


def create_token(*, role: str, organization: str, by_open_access: bool = False) -> str:
    """An access token without a password, for trying things out; it lasts an hour.

    It is that of a user whom the organization has for this alone: nobody signs in as them, and
    they have no contact of their own. One that open access gives ends with that.

    Raises:
        NotFoundError: there is no such organization.
    """
    user_id = find_token_user_id(
        role=role, organization=organization, by_open_access=by_open_access
    )
    return _begin(user_id, ACCESS_LIFE).access_token


def refresh(*, sign_in_id: UUID, refresh_id: UUID) -> Tokens:
    """Rotate: give new tokens for a refresh token, which is used up by that.

    One that comes back after it was used up is in two hands, so that ends the whole sign-in.

    Raises:
        TokenError: the sign-in has ended, or ends with this.
    """
    with transaction() as session:
        sign_in = session.scalar(
            select(SignIn)
            .where(SignIn.id == sign_in_id, SignIn.ended_at.is_(None))
            .where(SignIn.expires_at > func.now())
            .with_for_update()
        )
        if sign_in is None:
            raise TokenError
        user_id, newest_id = sign_in.user_id, _rotate(sign_in, refresh_id, now=datetime.now(UTC))
        if newest_id is None:
            log.warning("refresh token used twice", user_id=user_id)
            sign_in.ended_at = datetime.now(UTC)
    if newest_id is None:
        raise TokenError
    return _tokens(user_id, sign_in_id, newest_id)


def logout(sign_in_id: UUID) -> None:
    """End a sign-in: all its tokens are refused from now on."""
    with transaction() as session:
        session.execute(
            update(SignIn)
            .where(SignIn.id == sign_in_id, SignIn.ended_at.is_(None))
            .values(ended_at=func.now())
        )


def forget_ended() -> None:
    """Delete sign-ins whose tokens have all expired by themselves."""
    with transaction() as session:
        session.execute(delete(SignIn).where(SignIn.expires_at < func.now()))


def _check_password(email: str, password: str, *, with_demo: bool) -> int:
    """The user whose password this is."""
    user = db.session.execute(
        select(User.id, User.password_hash).where(User.email == email)
    ).one_or_none()
    # Checking takes its time on purpose; no transaction waits for it.
    db.session.rollback()
    is_right = is_password_hashed_as(user.password_hash if user else None, password)
    if user is None or not is_right or (is_demo(email, password) and not with_demo):
        raise CredentialsError
    return int(user.id)


def _begin(user_id: int, life: timedelta) -> Tokens:
    sign_in_id, refresh_id = _open(user_id, life)
    return _tokens(user_id, sign_in_id, refresh_id)


def _open(user_id: int, life: timedelta) -> tuple[UUID, UUID]:
    """The ids of a new sign-in and of its refresh token."""
    sign_in_id, refresh_id = uuid4(), uuid4()
    with transaction() as session:
        session.execute(
            insert(SignIn).values(
                id=sign_in_id,
                user_id=user_id,
                refresh_id=refresh_id,
                expires_at=func.now() + life,
            )
        )
    return sign_in_id, refresh_id


def _rotate(sign_in: SignIn, refresh_id: UUID, *, now: datetime) -> UUID | None:
    """The id of the refresh token to give now; None if the given one was used up before."""
    if refresh_id == sign_in.refresh_id:
        sign_in.previous_refresh_id = refresh_id
        sign_in.refreshed_at = now
        sign_in.refresh_id = uuid4()
    elif refresh_id != sign_in.previous_refresh_id or sign_in.refreshed_at < now - _GRACE:
        return None
    # Within the grace the same again: whichever answer arrives, its token is the newest.
    return sign_in.refresh_id


def _tokens(user_id: int, sign_in_id: UUID, refresh_id: UUID) -> Tokens:
    claims = {"sid": str(sign_in_id)}
    return Tokens(
        access_token=create_access_token(
            str(user_id), additional_claims=claims, expires_delta=ACCESS_LIFE
        ),
        refresh_token=create_refresh_token(
            str(user_id),
            additional_claims=claims | {"rid": str(refresh_id)},
            expires_delta=REFRESH_LIFE,
        ),
    )
