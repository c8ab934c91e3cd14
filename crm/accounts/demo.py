"""Make an account whose password everybody knows: it counts only while open access is on."""

from sqlalchemy import func, select, update

from crm.accounts.users import BY_OPEN_ACCESS, create_user, is_password_hashed_as
from crm.config import DEMO_EMAIL, DEMO_PASSWORD
from crm.db import db, transaction
from crm.errors import UserExistsError
from crm.models import SignIn, User
from crm.portals.portals import DEFAULT_ORGANIZATION

_HASH = (
    "$argon2id$v=19$m=65536,t=3,p=4$aZ6ml4wvOHAkq0z74d0QpQ"
    "$iq+4LfFDjMUw+G76T0x6RXxxegHqMC63NKVF9EhuO3c"
)
"""Of the password, always with the same salt: by it the account is known wherever its row goes."""

TRIAL_HASHES = [_HASH, BY_OPEN_ACCESS]
"""What stands in place of a password's hash where a sign-in counts by open access alone."""


def is_demo(email: str, password: str) -> bool:
    """Whether somebody signs in with what everybody knows."""
    return (email, password) == (DEMO_EMAIL, DEMO_PASSWORD)


def open_demo() -> bool:
    """Have the demo account; returns whether one signs in to it as everybody knows."""
    try:
        create_user(
            email=DEMO_EMAIL,
            password=DEMO_PASSWORD,
            role="admin",
            organization=DEFAULT_ORGANIZATION,
        )
    except UserExistsError:
        db.session.rollback()
    return _mark()


def close_demo() -> None:
    """End every sign-in that open access gave, as the demo account or by a token."""
    _mark()
    trials = select(User.id).where(User.password_hash.in_(TRIAL_HASHES))
    with transaction() as session:
        session.execute(
            update(SignIn)
            .where(SignIn.user_id.in_(trials), SignIn.ended_at.is_(None))
            .values(ended_at=func.now())
        )


def _mark() -> bool:
    """Give the account's row the hash by which it is known, unless its password was changed."""
    known = db.session.scalar(select(User.password_hash).where(User.email == DEMO_EMAIL))
    db.session.rollback()
    if known == _HASH:
        return True
    if not is_password_hashed_as(known, DEMO_PASSWORD):
        return False
    with transaction() as session:
        session.execute(
            update(User)
            .where(User.email == DEMO_EMAIL, User.password_hash == known)
            .values(password_hash=_HASH)
        )
    return True
