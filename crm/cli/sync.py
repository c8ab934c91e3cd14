"""``flask sync``: what HubSpot has, taken into the mirror."""

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from itertools import groupby
from typing import Any

import click

from crm.cli.commands import Group
from crm.cli.rejected import rejected
from crm.portals import portals
from crm.pull import runner as service
from crm.pull import runs

sync = Group("sync", help="The mirror and HubSpot.")
sync.add_command(rejected)

_types = click.option(
    "--type",
    "names",
    multiple=True,
    type=click.Choice(service.TYPES),
    help="Only this object type.",
)


@sync.command("backfill")
@_types
def backfill(names: tuple[str, ...]) -> None:
    """Take in everything that HubSpot has, with associations; goes on where it was stopped."""
    _follow("backfill", names)


@sync.command("incremental")
@_types
def search_changes(names: tuple[str, ...]) -> None:
    """Take in what was changed in HubSpot since the last time."""
    _follow("incremental", names)


@sync.command("reconcile")
@_types
def reconcile(names: tuple[str, ...]) -> None:
    """Compare the mirror with HubSpot, mend it, and tell how many differences there were."""
    _follow("reconcile", names)


@sync.command("status")
def show_status() -> None:
    """Show the latest run of each kind over each object type, and what cannot be sent."""
    for run in service.list_status():
        total = "" if run.total is None else f" of {run.total}"
        click.echo(
            f"{run.kind:<11}  {run.object_type:<10}  {run.state:<9}"
            f"  {run.processed}{total} records, {run.differences} differences; {_times(run)}"
        )
        if run.error:
            click.echo(f"      → {run.error}")
    for blocked in portals.list_blocked().values():
        for name, reason in blocked.items():
            click.echo(f"{'sending':<11}  {name:<10}  blocked\n      → {reason}")


def _times(run: Any) -> str:
    if run.completed_at:
        return f"completed {run.completed_at:%Y-%m-%d %H:%M:%S}"
    left = runs.find_seconds_left(run)
    outlook = "" if left is None else f", about {timedelta(seconds=round(left))} left"
    return f"got on {run.updated_at:%Y-%m-%d %H:%M:%S}{outlook}"


def _follow(kind: str, names: tuple[str, ...]) -> None:
    with closing(service.follow(kind, names)) as steps:
        for object_type, progress in groupby(steps, key=lambda run: run.object_type):
            _show_progress(object_type, progress)


def _show_progress(object_type: str, progress: Iterator[Any]) -> None:
    """Show a bar, what is left and how long that takes; in the end, what was done."""
    with click.progressbar(length=0, label=object_type, show_pos=True) as bar:
        for run in progress:
            bar.length = max(run.total or 0, run.processed)
            bar.update(run.processed - bar.pos)
    click.echo(f"{object_type}: {run.processed} records, {run.differences} differences")
