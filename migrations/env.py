"""Runs the migrations with the app's own database and models."""

from alembic import context
from flask import current_app

from crm.db import db


def _is_ours(thing: object, name: str | None, kind: str, *_: object) -> bool:
    # Procrastinate's tables come with its own SQL, in migration 0001.
    return not (kind == "table" and (name or "").startswith("procrastinate_"))


with db.engine.connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=db.metadata,
        include_object=_is_ours,
        compare_server_default=True,
        transaction_per_migration=True,
        **current_app.extensions["migrate"].configure_args,
    )
    with context.begin_transaction():
        context.run_migrations()
