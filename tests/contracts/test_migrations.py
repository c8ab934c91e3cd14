"""The migrations make exactly what the models describe, one after another, and can go back."""

import ast
import re
from contextlib import contextmanager

import alembic.command
import flask_migrate
import pytest
from alembic.script import ScriptDirectory
from procrastinate.schema import SchemaManager
from sqlalchemy import text

from crm import create_app
from crm.db import db
from tests.contracts.source import ROOT, modules

FILES = sorted((ROOT / "migrations" / "versions").glob("*.py"))

# What Alembic's own comparison leaves out, such as check constraints and conditions of indexes.
# Views are no matter of the models; tests/contracts/test_views.py looks at them.
CATALOG = {
    "columns": """
        SELECT relname, attname, format_type(atttypid, atttypmod), attnotnull, attidentity,
            attgenerated, pg_get_expr(adbin, adrelid)
        FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE relkind IN ('r', 'm') AND attnum > 0 AND NOT attisdropped AND {ours}
    """,
    "constraints": """
        SELECT relname, conname, pg_get_constraintdef(pg_constraint.oid)
        FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid WHERE {ours}
    """,
    "indexes": """
        SELECT relname, pg_get_indexdef(indexrelid)
        FROM pg_index JOIN pg_class ON pg_class.oid = indrelid WHERE {ours}
    """,
}
OURS = (
    "pg_class.relnamespace = 'public'::regnamespace"
    " AND pg_class.relname NOT LIKE 'alembic_version%'"
    " AND pg_class.relname NOT LIKE 'procrastinate_%'"
)
EVERYTHING = """
    SELECT 'relation', relname FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relname NOT LIKE 'alembic_version%'
    UNION ALL SELECT 'function', proname FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace
    UNION ALL SELECT 'type', typname FROM pg_type
        WHERE typnamespace = 'public'::regnamespace AND typname NOT LIKE '%alembic_version%'
"""


@pytest.fixture
def new_database(postgres, make_settings):
    """Within it, the app stands on a new, empty database of that name."""

    @contextmanager
    def within(name):
        app = create_app(make_settings(DATABASE_URL=postgres(name)))
        with app.app_context():
            yield
            db.engine.dispose()

    return within


@pytest.fixture
def scripts(app):
    return ScriptDirectory.from_config(app.extensions["migrate"].migrate.get_config())


def catalog():
    with db.engine.connect() as connection:
        return {
            kind: {tuple(row) for row in connection.execute(text(query.format(ours=OURS)))}
            for kind, query in CATALOG.items()
        }


def everything():
    with db.engine.connect() as connection:
        return {tuple(row) for row in connection.execute(text(EVERYTHING))}


# Postgres writes a generated column's expression in its own way, so Alembic cannot compare it;
# the catalogs below can.
@pytest.mark.filterwarnings(
    r"ignore:Computed default on records\.(email|search) cannot be modified:UserWarning"
)
def test_alembic_finds_nothing_to_migrate(app):
    alembic.command.check(app.extensions["migrate"].migrate.get_config())


def test_migrations_make_the_same_tables_as_the_models(new_database):
    with new_database("made_by_migrations"):
        flask_migrate.upgrade()
        migrated = catalog()
    with new_database("made_by_models"):
        db.metadata.create_all(db.engine)
        modelled = catalog()

    assert all(migrated.values())
    assert modelled == migrated


def test_migrations_go_down_to_nothing_and_up_again(new_database):
    with new_database("up_and_down"):
        flask_migrate.upgrade()
        before = everything()
        flask_migrate.downgrade(revision="base")
        nothing = everything()
        flask_migrate.upgrade()

        assert before
        assert nothing == set()
        assert everything() == before


def test_every_migration_can_be_undone_by_itself(new_database, scripts):
    revisions = [each.revision for each in scripts.walk_revisions()][::-1]
    with new_database("one_by_one"):
        for revision in revisions:
            before = everything()
            flask_migrate.upgrade(revision=revision)
            after = everything()
            flask_migrate.downgrade(revision="-1")
            undone = everything()
            flask_migrate.upgrade(revision=revision)

            assert undone == before, f"{revision} leaves something behind"
            assert everything() == after


def test_there_is_one_head(scripts):
    assert scripts.get_heads() == [FILES[-1].name[:4]]


def test_files_are_numbered_without_a_gap():
    numbers = [re.fullmatch(r"(\d{4})_[a-z0-9_]+\.py", file.name)[1] for file in FILES]

    assert numbers == [f"{number:04}" for number in range(1, len(FILES) + 1)]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_revision_is_called_by_its_number_and_follows_the_one_before(file):
    tree = modules()[f"migrations.versions.{file.stem}"]
    named = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        if node.targets[0].id in {"revision", "down_revision"}
    }
    number = int(file.name[:4])

    assert named == {
        "revision": f"{number:04}",
        "down_revision": f"{number - 1:04}" if number > 1 else None,
    }


def test_the_queue_has_the_schema_of_the_installed_procrastinate():
    ours = (ROOT / "migrations" / "procrastinate.sql").read_text()

    assert ours == SchemaManager.get_schema()
