"""The database as the service needs it: migrated, and with an account to try it."""

import flask_migrate
import structlog

from crm.config import Settings
from crm.errors import UserExistsError
from crm.factory import create_app
from crm.services import accounts
from crm.services.portals import DEFAULT_ORGANIZATION

log = structlog.get_logger(__name__)


def prepare_database(
    settings: Settings, *, log_file: str = "", admin: tuple[str, str] | None = None
) -> None:
    """Bring the database up to date.

    Args:
        settings: they name it.
        log_file: as for ``create_app``.
        admin: e-mail and password of an account that shall be there.
    """
    with create_app(settings, log_file=log_file).app_context():
        flask_migrate.upgrade()
        if admin:
            email, password = admin
            try:
                accounts.create_user(
                    email=email,
                    password=password,
                    role="admin",
                    organization=DEFAULT_ORGANIZATION,
                )
            except UserExistsError:
                log.debug("the account is there", email=email)
