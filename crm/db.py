"""The database: ``transaction`` is the one way to commit, and reads go on kept connections.

``transaction`` is for everything that writes, ``read`` for the few reads that nearly every request
makes, ``write_at_once`` for what HubSpot delivers.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

from flask_sqlalchemy import SQLAlchemy
from psycopg2 import InterfaceError, OperationalError
from psycopg2.errors import DeadlockDetected, ForeignKeyViolation, UniqueViolation
from sqlalchemy import MetaData
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase, Session

Result = TypeVar("Result")
Rows = list[tuple[Any, ...]]


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


db = SQLAlchemy(model_class=Base)


@contextmanager
def transaction() -> Iterator[Session]:
    """One database transaction: committed at the end of the block, undone if the block raises.

    The only place that commits. Domains open it once, what they call flush at most, and no
    call to HubSpot is ever made inside it.
    """
    try:
        yield db.session()
        db.session.commit()
    except BaseException:
        db.session.rollback()
        raise


_RACES = (UniqueViolation, ForeignKeyViolation, DeadlockDetected)
_MOST_ATTEMPTS = 5


def in_one_transaction(write: Callable[[Session], Result]) -> Result:
    """Write in one transaction; again, if others have just written what it was to find."""
    for _ in range(_MOST_ATTEMPTS - 1):
        try:
            with transaction() as session:
                return write(session)
        except DBAPIError as error:
            if not isinstance(error.orig, _RACES):
                raise
    with transaction() as session:
        return write(session)


READS = "reads"
"""The engine of ``read`` and ``write_at_once``: connections that commit each message by itself."""


def read(statement: str, parameters: Mapping[str, Any]) -> Rows:
    """The rows of a statement that reads and depends on nothing else of this request.

    Postgres plans it once for each connection and keeps the plan, so there must be few different
    statements; parameters are written ``:name``. A connection that was lost, as in a restart of
    Postgres, is replaced and the statement done again.
    """
    return _do((statement,), parameters)


def write_at_once(statements: Sequence[str], parameters: Mapping[str, Any]) -> Rows:
    """The rows of the last of several statements, done as one transaction of their own.

    For what must be durable within a millisecond or so: one message to Postgres. Each statement
    sees what was committed before it began. Else they are as those of ``read``; since they may be
    done again, they must be such as may be done twice.
    """
    return _do(statements, parameters)


def _do(statements: Sequence[str], parameters: Mapping[str, Any]) -> Rows:
    prepared = [_prepared(each) for each in statements]
    try:
        return _execute(prepared, parameters)
    except (OperationalError, InterfaceError):
        db.engines[READS].dispose()
        return _execute(prepared, parameters)


_PARAMETER = re.compile(r"(?<![:\w]):(\w+)")


@dataclass(frozen=True)
class _Prepared:
    """A statement as Postgres keeps it, by a name."""

    name: str
    prepare: str
    execute: str


@lru_cache
def _prepared(statement: str) -> _Prepared:
    names = list(dict.fromkeys(_PARAMETER.findall(statement)))
    numbered = _PARAMETER.sub(lambda found: f"${names.index(found[1]) + 1}", statement)
    name = f"at_once_{abs(hash(statement))}"
    values = f"({', '.join(f'%({each})s' for each in names)})" if names else ""
    return _Prepared(name, f"PREPARE {name} AS {numbered}", f"EXECUTE {name}{values}")


def _execute(statements: Sequence[_Prepared], parameters: Mapping[str, Any]) -> Rows:
    with _autocommitting() as connection:
        cursor = connection.cursor()
        for each in statements:
            if each.name not in connection.info:
                cursor.execute(each.prepare)
                connection.info[each.name] = True
        cursor.execute(";".join(each.execute for each in statements), parameters)
        rows = [*cursor.fetchall()]
        cursor.close()
        return rows


@contextmanager
def _autocommitting() -> Iterator[Any]:
    connection = db.engines[READS].raw_connection()
    try:
        yield connection
    except (OperationalError, InterfaceError):
        connection.invalidate()
        raise
    finally:
        connection.close()
