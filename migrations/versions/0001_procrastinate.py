"""The job queue: Procrastinate's own tables and functions."""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# As the pinned version has them; a test compares the file with the installed package. A newer
# version's changes go into a migration of their own, and its schema into this file's successor.
_SCHEMA = Path(__file__).parent.parent / "procrastinate.sql"


def upgrade() -> None:
    # Through a raw cursor: the functions hold colons and percent signs that are no parameters.
    with op.get_bind().connection.cursor() as cursor:
        cursor.execute(_SCHEMA.read_text())


def downgrade() -> None:
    for table in ("periodic_defers", "events", "jobs", "workers"):
        op.execute(f"DROP TABLE IF EXISTS procrastinate_{table} CASCADE")
    with op.get_bind().connection.cursor() as cursor:
        cursor.execute(
            "DO $$ DECLARE each text; BEGIN"
            " FOR each IN SELECT oid::regprocedure::text FROM pg_proc"
            "  WHERE proname LIKE 'procrastinate\\_%' LOOP"
            "  EXECUTE 'DROP FUNCTION ' || each || ' CASCADE'; END LOOP;"
            " FOR each IN SELECT oid::regtype::text FROM pg_type"
            "  WHERE typname LIKE 'procrastinate\\_%' AND typtype IN ('e', 'c') LOOP"
            "  EXECUTE 'DROP TYPE ' || each || ' CASCADE'; END LOOP; END $$"
        )
