"""The ``flask`` commands: users, organizations, keys, HubSpot, the worker, health."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import click
import orjson
import structlog
from flask import Flask, current_app
from flask.cli import AppGroup
from sqlalchemy.exc import DBAPIError

from crm.cli_rejected import rejected
from crm.errors import CRMError
from crm.queue import run_worker
from crm.services import accounts, api_keys, doctor, health, push, sign_ins, subscriptions, webhooks
from crm.services.findings import Level
from crm.services.forecast import Forecast, forecast
from crm.services.portals import DEFAULT_ORGANIZATION, list_connected_portal_ids

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
tokens = _Group("tokens", help="Access tokens without a password.")
hubspot = _Group("hubspot", help="The connection to HubSpot.")
webhooks_group = _Group("webhooks", help="What HubSpot told us, and what we ask to be told.")
sync = _Group("sync", help="The mirror and HubSpot.")
sync.add_command(rejected)


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


@tokens.command("create")
@click.option("--role", type=click.Choice(accounts.ROLES), required=True)
@_organization
def create_token(role: str, organization: str) -> None:
    """Print an access token that lasts an hour, for trying things out."""
    click.echo(sign_ins.create_token(role=role, organization=organization))


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


@hubspot.command("budget")
@click.option("--portal-id", type=int, help="HubSpot's id of one portal; otherwise all are told.")
def tell_budget(portal_id: int | None) -> None:
    """Tell how many calls HubSpot allows, how many were made today, and how far that will last."""
    forecasts = [forecast(each) for each in list_connected_portal_ids()]
    if portal_id is not None:
        forecasts = [each for each in forecasts if each.hub_id == portal_id]
        if not forecasts:
            raise click.ClickException(f"No portal with the id {portal_id} is connected")
    for each in forecasts:
        click.echo(f"portal {each.hub_id or 'that was not set up yet'}")
        for line in _describe(each):
            click.echo(f"  {line}")
    if not forecasts:
        click.echo("No portal is connected.")


def _describe(found: Forecast) -> Iterator[str]:
    if not found.windows:
        yield "no calls are known yet; the limits are learnt from HubSpot's first answer"
        return
    if found.limit is None:
        yield f"used today: {found.used} calls; HubSpot tells no limit"
    else:
        yield f"used today: {found.used} of {found.limit} calls"
    yield f"resets: {_at(found.resets_at)}, at midnight in {found.time_zone}"
    yield f"expected by then: {found.expected_by_reset} calls"
    if found.limit is not None:
        yield f"runs out: {_at(found.runs_out_at) if found.runs_out_at else 'not today'}"
    if found.closed_until:
        yield f"used up, says HubSpot; it is asked again at {_at(found.closed_until)}"
    for each in found.windows:
        yield f"{each.kind}: at most {each.max_calls} calls in {each.period.total_seconds():g} s"


def _at(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


@webhooks_group.command("list")
@click.option("--state", type=click.Choice(webhooks.STATES), help="Only those in this state.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
def list_webhooks(state: str | None, limit: int) -> None:
    """List the latest events that HubSpot sent, newest first."""
    for each in webhooks.list_events(state=state, limit=limit):
        told = each.payload.get("subscriptionType") or each.payload.get("eventType")
        about = each.payload.get("objectId") or each.payload.get("fromObjectId") or ""
        click.echo(
            f"{each.id}  {each.received_at:%Y-%m-%d %H:%M:%S}  portal {each.hub_id}"
            f"  {told} {about}  {each.outcome or webhooks.WAITING}"
        )


@webhooks_group.command("replay")
@click.option("--id", "ids", type=int, multiple=True, help="An event's id; may be repeated.")
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]),
    help="All that were received since then, in UTC.",
)
def replay_webhooks(ids: tuple[int, ...], since: datetime | None) -> None:
    """Look at events anew, whatever became of them."""
    if not ids and since is None:
        raise click.UsageError("Name events by --id, or all that came --since some time.")
    count = webhooks.replay(ids=ids, since=since and since.replace(tzinfo=UTC))
    click.echo(f"{count} events are looked at anew.")


@webhooks_group.command("manifest")
def print_manifest() -> None:
    """Print webhooks-hsmeta.json for HubSpot's app: all that we need to be told.

    It belongs to the app's project folder, as src/app/webhooks/webhooks-hsmeta.json.
    """
    click.echo(orjson.dumps(subscriptions.make_manifest(), option=orjson.OPT_INDENT_2))


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
    groups = (
        users,
        organizations,
        keys,
        tokens,
        hubspot,
        webhooks_group,
        sync,
        worker,
        check_health,
    )
    for command in groups:
        app.cli.add_command(command)
