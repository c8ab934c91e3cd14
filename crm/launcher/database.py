"""The database as the service needs it: migrated, and with an account to try it."""

import flask_migrate

from crm.accounts import demo
from crm.config import Settings
from crm.factory import create_app


def prepare_database(settings: Settings, *, log_file: str = "", open_access: bool = False) -> bool:
    """Bring the database up to date.

    Args:
        settings: they name it.
        log_file: as for ``create_app``.
        open_access: the same; without it, every sign-in that it gave ends.

    Returns:
        Whether there is the demo account to sign in with.
    """
    with create_app(settings, log_file=log_file, open_access=open_access).app_context():
        flask_migrate.upgrade()
        if open_access:
            return demo.open_demo()
        demo.close_demo()
        return False
