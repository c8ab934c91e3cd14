"""``flask hubspot``: the connection to HubSpot."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime

import click

from crm.cli.commands import Group
from crm.operations import doctor
from crm.operations.findings import Level
from crm.portals.portals import list_connected_portal_ids
from crm.portals.rate_forecast import Forecast, forecast

hubspot = Group("hubspot", help="The connection to HubSpot.")


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
