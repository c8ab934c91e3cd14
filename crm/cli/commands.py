"""What all commands share: their errors are one line and exit code 1."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from flask.cli import AppGroup
from sqlalchemy.exc import DBAPIError

from crm.errors import CRMError
from crm.portals.portals import DEFAULT_ORGANIZATION

of_organization = click.option(
    "--organization", default=DEFAULT_ORGANIZATION, show_default=True, help="Its name."
)


@contextmanager
def _errors_in_one_line() -> Iterator[None]:
    try:
        yield
    except CRMError as error:
        raise click.ClickException(error.message) from error
    except DBAPIError as error:
        reason = str(error.orig).strip().partition("\n")[0]
        raise click.ClickException(f"The database cannot be used: {reason}") from error


class Command(click.Command):
    """A command whose errors are one line and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with _errors_in_one_line():
            return super().invoke(ctx)


class Group(Command, AppGroup):
    """Commands whose errors are one line and exit code 1."""
