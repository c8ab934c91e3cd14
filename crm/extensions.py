"""The Flask extensions, unbound until ``create_app`` binds them; and the one way to commit."""

from collections.abc import Iterator
from contextlib import contextmanager

from flask import current_app, g
from flask_jwt_extended import JWTManager
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_migrate import Migrate
from flask_smorest import Api
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase, Session


class Base(DeclarativeBase):
    """The base of every model; its naming convention gives each constraint a stable name."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


def _limit_key() -> str:
    """Whoever proved an identity has a budget of their own; others share their address's."""
    return g.get("limit_key") or get_remote_address()


def _default_rate() -> str:
    rate: str = current_app.extensions["crm_settings"].rate_limit
    return rate


db = SQLAlchemy(model_class=Base)
migrate = Migrate()
jwt = JWTManager()
limiter = Limiter(key_func=_limit_key, default_limits=[_default_rate])
api = Api()


@contextmanager
def transaction() -> Iterator[Session]:
    """One database transaction: committed at the end of the block, undone if the block raises.

    The only place that commits. Services open it once, helpers below them flush at most, and no
    call to HubSpot is ever made inside it.
    """
    try:
        yield db.session()
        db.session.commit()
    except BaseException:
        db.session.rollback()
        raise
