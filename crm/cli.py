"""The ``flask`` commands: users, organizations, keys, HubSpot, the worker, health."""

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from itertools import groupby
from typing import Any

import click
import structlog
from flask import Flask, current_app
from flask.cli import AppGroup
from sqlalchemy.exc import DBAPIError

from crm.errors import CRMError
from crm.queue import run_worker
from crm.services import accounts, api_keys, doctor, health, push, runs, sync
from crm.services.findings import Level
from crm.services.portals import DEFAULT_ORGANIZATION

log = structlog.get_logger(__name__)

_organization = click.option(
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


class _Group(AppGroup):
    """Commands whose errors are one line and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run one of the commands."""
        with _errors_in_one_line():
            return super().invoke(ctx)


class _Command(click.Command):
    """A command whose errors are one line and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with _errors_in_one_line():
            return super().invoke(ctx)


users = _Group("users", help="People who sign in.")
organizations = _Group("organizations", help="Tenants: each with its own users, keys and portal.")
keys = _Group("keys", help="API keys of an organization's applications.")
hubspot = _Group("hubspot", help="The connection to HubSpot.")
syncing = _Group("sync", help="What HubSpot has, taken into the mirror.")


@users.command("create")
@click.argument("email")
@click.option("--role", type=click.Choice(accounts.ROLES), default="user", show_default=True)
@_organization
@click.password_option(help="Asked for when left out, so that no shell remembers it.")
def create_user(email: str, role: str, organization: str, password: str) -> None:
    """Make a user who signs in with EMAIL."""
    accounts.create_user(email=email, password=password, role=role, organization=organization)
    click.echo(f"{email} may sign in as {role}.")


@users.command("promote")
@click.argument("email")
def promote_user(email: str) -> None:
    """Make the user with EMAIL an admin."""
    accounts.promote_user(email)
    click.echo(f"{email} is an admin.")


@organizations.command("create")
@click.argument("name")
def create_organization(name: str) -> None:
    """Make an organization called NAME."""
    accounts.create_organization(name)
    click.echo(f"Organization {name} is there.")


@keys.command("create")
@click.argument("name")
@_organization
def create_key(name: str, organization: str) -> None:
    """Make a key for the application NAME, and print it for the only time."""
    click.echo(api_keys.create_key(name=name, organization=organization))


@keys.command("list")
def list_keys() -> None:
    """List all keys by how they begin."""
    for key in api_keys.list_keys():
        state = f"revoked {key.revoked_at:%Y-%m-%d}" if key.revoked_at else "in force"
        click.echo(f"{key.prefix}…  {key.organization}  {key.name}  {state}")


@keys.command("revoke")
@click.argument("prefix")
def revoke_key(prefix: str) -> None:
    """Refuse the key that begins with PREFIX from now on."""
    api_keys.revoke_key(prefix)
    click.echo("The key is refused from now on.")


@hubspot.command("doctor")
def examine() -> None:
    """Check everything between HubSpot and us; exit with 1 if something is wrong."""
    failed = False
    for each in doctor.examine():
        failed |= each.level is Level.FAIL
        click.echo(f"{each.level:<4}  {each.name}: {each.found}")
        if each.advice:
            click.echo(f"      → {each.advice}")
    sys.exit(1 if failed else 0)


_types = click.option(
    "--type", "names", multiple=True, type=click.Choice(sync.TYPES), help="Only this object type."
)


@syncing.command("backfill")
@_types
def backfill(names: tuple[str, ...]) -> None:
    """Take in everything that HubSpot has, with associations; goes on where it was stopped."""
    _follow("backfill", names)


@syncing.command("incremental")
@_types
def search_changes(names: tuple[str, ...]) -> None:
    """Take in what was changed in HubSpot since the last time."""
    _follow("incremental", names)


@syncing.command("reconcile")
@_types
def reconcile(names: tuple[str, ...]) -> None:
    """Compare the mirror with HubSpot, mend it, and tell how many differences there were."""
    _follow("reconcile", names)


@syncing.command("status")
def show_status() -> None:
    """Show the latest run of each kind over each object type."""
    for run in sync.list_status():
        total = "" if run.total is None else f" of {run.total}"
        click.echo(
            f"{run.kind:<11}  {run.object_type:<10}  {run.state:<9}"
            f"  {run.processed}{total} records, {run.differences} differences; {_times(run)}"
        )
        if run.error:
            click.echo(f"      → {run.error}")


def _times(run: Any) -> str:
    if run.completed_at:
        return f"completed {run.completed_at:%Y-%m-%d %H:%M:%S}"
    left = runs.find_seconds_left(run)
    outlook = "" if left is None else f", about {timedelta(seconds=round(left))} left"
    return f"got on {run.updated_at:%Y-%m-%d %H:%M:%S}{outlook}"


def _follow(kind: str, names: tuple[str, ...]) -> None:
    with closing(sync.follow(kind, names)) as steps:
        for object_type, progress in groupby(steps, key=lambda run: run.object_type):
            _show_progress(object_type, progress)


def _show_progress(object_type: str, progress: Iterator[Any]) -> None:
    """Show a bar, what is left and how long that takes; in the end, what was done."""
    with click.progressbar(length=0, label=object_type, show_pos=True) as bar:
        for run in progress:
            bar.length = max(run.total or 0, run.processed)
            bar.update(run.processed - bar.pos)
    click.echo(f"{object_type}: {run.processed} records, {run.differences} differences")


@click.command("worker", cls=_Command)
def worker() -> None:
    """Work on background jobs until stopped: pushes to HubSpot, and what is scheduled."""
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    settings = app.extensions["crm_settings"]

    def within_app(call_next: Any, context: Any, _worker: Any) -> Any:
        with (
            app.app_context(),
            structlog.contextvars.bound_contextvars(
                job_id=context.job.id, task=context.job.task_name
            ),
        ):
            try:
                return call_next()
            except Exception:
                log.exception("job failed")
                raise

    push.begin()
    run_worker(settings.database_url, concurrency=settings.worker_concurrency, around=within_app)


@click.command("health", cls=_Command)
def check_health() -> None:
    """Exit with 0 if the dependencies are up and a worker is alive, else with 1."""
    found = health.check()
    for name, dependency in found["dependencies"].items():
        click.echo(f"{name}: {dependency['status']}")
    if found["status"] != "healthy":
        sys.exit(1)
    alive = health.has_live_worker()
    click.echo(f"worker: {'up' if alive else 'down'}")
    sys.exit(0 if alive else 1)


def register_commands(app: Flask) -> None:
    """Give the app its commands."""
    for command in (users, organizations, keys, hubspot, syncing, worker, check_health):
        app.cli.add_command(command)
