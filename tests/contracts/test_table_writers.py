"""A table has one writing domain: what the SQL of the code writes, as a list that only shrinks.

Read are statements in strings, put together from parts too, and SQLAlchemy's. A loaded object whose
attribute is set would not be seen; the code loads no objects.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import pytest

from crm import models
from crm.db import Base
from crm.operations.key_rotation import COLUMNS
from tests.contracts.source import modules
from tests.contracts.test_imports import part_of

# Each table, and the one part of the house that writes it.
WRITERS = {
    **dict.fromkeys(("api_keys", "organizations", "sign_ins", "users"), "crm.accounts"),
    **dict.fromkeys(("associations", "record_aliases", "record_changes", "records"), "crm.mirror"),
    **dict.fromkeys(("call_windows", "day_quotas", "portals"), "crm.portals"),
    **dict.fromkeys(("pipeline_sets", "property_sets"), "crm.portals"),
    **dict.fromkeys(("deliveries", "inbox"), "crm.inbox"),
    **dict.fromkeys(("scan_deals", "scan_failures", "scan_ranges", "scans"), "crm.scans"),
    "sync_runs": "crm.pull",
    "procrastinate_jobs": "crm.queue",
}

# Who else writes a table today. A line goes when its module has been mended; none comes.
EXCEPTIONS = {
    ("associations", "crm.pull.associations"),
    ("associations", "crm.push.rejections"),
    ("associations", "crm.push.writes"),
    # A scan's portal has a budget of its own, which goes with its last scan.
    ("call_windows", "crm.scans.retention"),
    ("day_quotas", "crm.scans.retention"),
    ("portals", "crm.accounts.users"),
    ("portals", "crm.integrations.portal_connection"),
    ("portals", "crm.operations.health"),
    # Encrypted again, wherever it stands.
    ("portals", "crm.operations.key_rotation"),
    ("scans", "crm.operations.key_rotation"),
    # A purged person leaves every table at once.
    ("record_aliases", "crm.inbox.privacy"),
    ("records", "crm.inbox.privacy"),
    ("users", "crm.inbox.privacy"),
    ("records", "crm.push.rejections"),
    # A user's contact: where rows become one, and where a new one is dropped.
    ("users", "crm.mirror.merge"),
    ("users", "crm.push.rejections"),
}

# Statements about a table whose name is computed: which ones it can be.
COMPUTED = {
    "crm.operations.key_rotation": {table for table, _ in COLUMNS},
    "crm.portals.cached_sets": {"pipeline_sets", "property_sets"},
    "crm.scans.retention": {"call_windows", "day_quotas"},
}

_NAME = r"""(?:"?public"?\.)?("?\w+"?|\{[^{}]*\}|%\(?\w*\)?s)"""
_WRITES = re.compile(
    rf"""\b(?:(?:INSERT|MERGE)\s+INTO\s+{_NAME}
    | UPDATE\s+(?:ONLY\s+)?{_NAME}(?:\s*\*)?(?:\s+(?:AS\s+)?"?\w+"?)?\s+SET\b
    | DELETE\s+FROM\s+(?:ONLY\s+)?{_NAME}
    | TRUNCATE\s+(?:TABLE\s+)?(?:ONLY\s+)?{_NAME}
    | COPY\s+{_NAME}\s*(?:\([^()]*\))?\s+FROM\b)""",
    re.IGNORECASE | re.VERBOSE,
)
_COMMENT = re.compile(r"--.*$|/\*.*?\*/", re.MULTILINE | re.DOTALL)
_UNREADABLE = "a table with a computed name"

STATEMENTS = {"insert", "update", "delete"}
OF_SESSIONS = {"add", "add_all", "merge", "delete", "bulk_save_objects"}
OF_SESSIONS |= {"bulk_insert_mappings", "bulk_update_mappings"}


class Source(NamedTuple):
    """What must be known of a module to read its statements."""

    tree: ast.AST
    names: dict[str, str]
    """What an imported name stands for, such as ``sqlalchemy.insert``."""
    constants: dict[str, str]
    """The module's own texts, by their names."""
    aliases: dict[str, ast.expr]
    """What stands for a table under another name, as in ``users = User.__table__``."""


def source_of(tree: ast.Module) -> Source:
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {each.asname or each.name: each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {each.asname or each.name: f"{node.module}.{each.name}" for each in node.names}
    constants = {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name) and isinstance(node.value.value, str)
    }
    aliases = {
        node.targets[0].id: node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        if re.search(r"__table__$|\.tables\[|^(sa\.|sqlalchemy\.)?table\(", ast.unparse(node.value))
    }
    return Source(tree, names, constants, aliases)


@cache
def tables() -> dict[str, str]:
    """The table of each model, by the model's name."""
    return {each.class_.__name__: each.local_table.name for each in Base.registry.mappers}


def written(tree: ast.Module) -> set[str]:
    """The tables that a module writes."""
    source = source_of(tree)
    return {*written_by_text(source), *written_by_statements(source), *written_by_objects(source)}


def written_by_text(source: Source) -> Iterator[str]:
    """By statements that are written as text."""
    for text in texts(source, source.tree):
        for found in _WRITES.finditer(_COMMENT.sub(" ", text)):
            name = next(filter(None, found.groups())).strip('"').lower()
            if name in WRITERS:
                yield name
            elif name[0] in "{%":
                yield _UNREADABLE


def texts(source: Source, tree: ast.AST) -> Iterator[str]:
    """Every text of a tree but its docstrings, each put together from its parts."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        if (text := text_of(source, node)) is not None:
            yield text
        yield from texts(source, node)


def text_of(source: Source, node: ast.AST) -> str | None:
    """The text that an expression is, with ``{}`` for what is computed; None if it is no text."""
    match node:
        case ast.Constant(value=str() as text):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(text_of(source, each) or "{}" for each in parts)
        case ast.FormattedValue(value=value):
            return known_text(source, value)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            both = known_text(source, left), known_text(source, right)
            return None if both == ("{}", "{}") else "".join(both)
        case ast.Call(
            func=ast.Attribute(value=ast.Constant(value=str() as between), attr="join"),
            args=[ast.List(elts=parts) | ast.Tuple(elts=parts)],
        ):
            return between.join(known_text(source, each) for each in parts)
    return None


def known_text(source: Source, node: ast.AST) -> str:
    """The text that an expression or a constant's name is, or ``{}``."""
    if isinstance(node, ast.Name):
        return source.constants.get(node.id, "{}")
    text = text_of(source, node)
    return "{}" if text is None else text


def written_by_statements(source: Source) -> Iterator[str]:
    """By SQLAlchemy's ``insert``, ``update`` and ``delete``, as functions or as methods."""
    for call in calls(source.tree):
        name = called(source, call.func)
        if name.startswith("sqlalchemy.") and name.rpartition(".")[2] in STATEMENTS and call.args:
            yield table_of(source, call.args[0])
        elif isinstance(call.func, ast.Attribute) and call.func.attr in STATEMENTS:
            yield from tables_within(source, call.func.value)


def tables_within(source: Source, receiver: ast.AST) -> Iterator[str]:
    """The table of ``User.__table__`` or of ``session.query(User)``, whatever was added to it."""
    for node in ast.walk(receiver):
        match node:
            case ast.Attribute(value=model, attr="__table__" | "query"):
                table = table_of(source, model)
                yield from () if table == _UNREADABLE else (table,)
            case ast.Subscript(value=ast.Attribute(attr="tables")):
                yield table_of(source, node)
            case ast.Name(id=name) if name in source.aliases:
                yield table_of(source, source.aliases[name])
            case ast.Call(func=ast.Attribute(attr="query"), args=[model, *_]):
                yield table_of(source, model)


def written_by_objects(source: Source) -> Iterator[str]:
    """By making an object of a model, or by handing one to a session."""
    for call in calls(source.tree):
        if model := model_called(source, call.func):
            yield tables()[model]
        match call.func:
            case ast.Attribute(value=receiver, attr=action) if action in OF_SESSIONS:
                if is_session(receiver) and call.args:
                    yield from tables_of_objects(source, call.args[0])


def tables_of_objects(source: Source, given: ast.AST) -> Iterator[str]:
    """The tables of what a session is given: models, objects made here, or who knows what."""
    models_named = {model for node in ast.walk(given) if (model := model_called(source, node))}
    if models_named:
        yield from (tables()[model] for model in models_named)
    else:
        yield from made_as(source, {n.id for n in ast.walk(given) if isinstance(n, ast.Name)})


def made_as(source: Source, names: set[str]) -> Iterator[str]:
    """The tables of the models that names are made of in this module, or declared to be."""
    found = set()
    for node in ast.walk(source.tree):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if name in names:
                found |= {model_called(source, each) for each in ast.walk(value)}
            case ast.arg(arg=name, annotation=ast.AST() as annotation) if name in names:
                found |= {model_called(source, each) for each in ast.walk(annotation)}
    models_named = found - {""}
    yield from (tables()[model] for model in models_named) if models_named else (_UNREADABLE,)


def is_session(receiver: ast.AST) -> bool:
    """Whether something is a session by its name: ``session``, ``db.session()``."""
    while isinstance(receiver, ast.Call):
        receiver = receiver.func
    return re.fullmatch(r"(.*[._])?session", ast.unparse(receiver)) is not None


def table_of(source: Source, given: ast.AST) -> str:
    """The table of what a statement is about: a model, its ``__table__``, or ``table("users")``."""
    match given:
        case ast.Attribute(value=model, attr="__table__"):
            return table_of(source, model)
        case ast.Call(args=[ast.Constant(value=str() as name), *_]):
            return name
        case ast.Subscript(slice=ast.Constant(value=str() as name)):
            return name
        case ast.Name(id=name) if name in source.aliases:
            return table_of(source, source.aliases[name])
    model = model_called(source, given)
    return tables()[model] if model else _UNREADABLE


def model_called(source: Source, node: ast.AST) -> str:
    """The name of the model that an expression names, or nothing."""
    module, _, name = called(source, node).rpartition(".")
    return name if module.startswith(models.__name__) and name in tables() else ""


def called(source: Source, node: ast.AST) -> str:
    """The full name of what an expression names, by the module's imports."""
    if not isinstance(node, ast.Name | ast.Attribute):
        return ""
    written_out = ast.unparse(node)
    for length in range(written_out.count(".") + 1, 0, -1):
        first = ".".join(written_out.split(".")[:length])
        if first in source.names:
            return source.names[first] + written_out[len(first) :]
    return ""


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


@cache
def found() -> set[tuple[str, str]]:
    """Every (table, module) where the module writes the table."""
    return {
        (table, name)
        for name, tree in modules().items()
        if not name.startswith("migrations")  # A migration is history.
        for each in written(tree)
        for table in (COMPUTED.get(name, {each}) if each == _UNREADABLE else {each})
    }


def exceptions() -> set[tuple[str, str]]:
    """Every writer that is not of the one part of the house that writes the table."""
    return {(table, name) for table, name in found() if WRITERS.get(table) != part_of(name)}


def test_every_table_has_one_part_of_the_house_that_writes_it():
    assert set(WRITERS) == {*Base.metadata.tables, "procrastinate_jobs"}
    assert {
        table
        for table, part in WRITERS.items()
        if part not in {part_of(name) for written_table, name in found() if written_table == table}
    } == set()


def test_a_table_gets_no_writer_of_another_domain():
    assert exceptions() - EXCEPTIONS == set()


def test_an_exception_is_gone_once_nothing_needs_it():
    assert EXCEPTIONS - exceptions() == set()


def test_a_computed_table_is_named_for_no_module_that_computes_none():
    assert {
        name
        for name in COMPUTED
        if name not in modules() or _UNREADABLE not in written(modules()[name])
    } == set()


PLANTED = {
    "a text": ('text("INSERT INTO users (email) VALUES (:email)")', {"users"}),
    "a plain string": ('_SQL = """\n  delete from ONLY public."users"\n  WHERE true"""', {"users"}),
    "an update with an alias": ("_SQL = \"UPDATE users AS u SET role = 'user'\"", {"users"}),
    "an f-string": ('f"UPDATE users SET {column} = 1"', {"users"}),
    "a constant in an f-string": ('_T = "users"\nf"DELETE FROM {_T} WHERE true"', {"users"}),
    "a sum": ('"INSERT INTO " + "users" + columns', {"users"}),
    "a part of a sum": ('columns + " FROM x) UPDATE users SET role = 1"', {"users"}),
    "a string within an f-string": ("f\"{'DELETE FROM users' if gone else ''}\"", {"users"}),
    "one step of several": (
        '_SQL = "WITH gone AS (DELETE FROM users RETURNING 1) INSERT INTO scans SELECT 1"',
        {"users", "scans"},
    ),
    "an upsert": (
        '_SQL = "INSERT INTO users DEFAULT VALUES ON CONFLICT DO UPDATE SET a = 1"',
        {"users"},
    ),
    "a merge": ('_SQL = "MERGE INTO users USING scans ON true"', {"users"}),
    "a truncation": ('_SQL = "TRUNCATE TABLE users"', {"users"}),
    "a copy": ('_SQL = "COPY users (id, email) FROM STDIN"', {"users"}),
    "parts that are joined": ('_SQL = " ".join(["DELETE FROM", "users"])', {"users"}),
    "a computed name": ('f"DELETE FROM {name}"', {_UNREADABLE}),
    "a name added": ('"DELETE FROM " + name', {_UNREADABLE}),
    "a name formatted": ('"DELETE FROM {}".format(name)', {_UNREADABLE}),
    "a name by per cent": ('"DELETE FROM %s" % name', {_UNREADABLE}),
    "SQLAlchemy's insert": (
        "from sqlalchemy import insert\nfrom crm.models import User\ninsert(User).values(id=1)",
        {"users"},
    ),
    "SQLAlchemy's update": (
        "from sqlalchemy import update\nfrom crm.models import User\nupdate(User)",
        {"users"},
    ),
    "SQLAlchemy's delete": (
        "import sqlalchemy as sa\nfrom crm import models\nsa.delete(models.User.__table__)",
        {"users"},
    ),
    "Postgres's insert": (
        "from sqlalchemy.dialects.postgresql import insert as upsert\n"
        "from crm.models.accounts import User as Person\nupsert(Person)",
        {"users"},
    ),
    "a bare table": (
        "from sqlalchemy import table, update\nupdate(table('users', column('id')))",
        {"users"},
    ),
    "a computed model": (
        "from sqlalchemy import update\nupdate(self.table)",
        {_UNREADABLE},
    ),
    "a method of a table": (
        "from crm.models import User\nUser.__table__.delete().where(True)",
        {"users"},
    ),
    "a method of a table by another name": (
        "from crm.models import User\nusers = User.__table__\nusers.insert().values(id=1)",
        {"users"},
    ),
    "a table of the metadata": ("Base.metadata.tables['users'].update()", {"users"}),
    "a query's delete": (
        "from crm.models import User\ndb.session.query(User).filter_by(id=1).delete()",
        {"users"},
    ),
    "an object": ("from crm.models import User\nnew = User(email='ada')", {"users"}),
    "an object that a session is given": (
        "from crm.models import User\nsession.add(User(email='ada'))",
        {"users"},
    ),
    "an object that a session deletes": (
        "from crm.models import User\ndef drop(user: User):\n    db.session.delete(user)",
        {"users"},
    ),
    "objects of nobody knows what": ("db.session().add_all(things)", {_UNREADABLE}),
    "rows in bulk": (
        "from crm.models import User\nsession.bulk_insert_mappings(User, rows)",
        {"users"},
    ),
}
HARMLESS = {
    "a lock": '_SQL = "SELECT id FROM users ORDER BY id FOR UPDATE OF users SKIP LOCKED"',
    "a read": '_SQL = "SELECT id FROM users"',
    "a docstring": 'def forget():\n    """DELETE FROM users, and what hangs on them."""',
    "a comment in SQL": '_SQL = "SELECT 1 -- DELETE FROM users\\n FROM scans"',
    "prose": '_SQL = "Nobody may delete from the portal"',
    "another's update": "from crm.mirror import row_edits\nrow_edits.update(session, rows)",
    "a dictionary's update": "found.update(users)",
    "a set's add": "users.add(name)",
    "a selection": "from sqlalchemy import select\nfrom crm.models import User\nselect(User.id)",
}


@pytest.mark.parametrize(("code", "expected"), PLANTED.values(), ids=PLANTED)
def test_a_writer_is_seen_in_whatever_form_it_writes(code, expected):
    assert written(ast.parse(code)) == expected


@pytest.mark.parametrize("code", HARMLESS.values(), ids=HARMLESS)
def test_what_writes_no_table_is_not_taken_for_a_writer(code):
    assert written(ast.parse(code)) == set()
