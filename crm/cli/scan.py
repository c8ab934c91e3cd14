"""``flask scan``: deal extractions from the command line."""

import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import islice
from typing import Any, BinaryIO

import click

from crm.accounts.users import get_organization_id
from crm.cli.commands import Group, of_organization
from crm.errors import ScanNotFoundError
from crm.scans import commands, progress_stream, results, status
from crm.scans import export as scans_export
from crm.scans.commands import ASSOCIATED, LARGEST_BATCH, ScanConfig
from crm.scans.status import ScanState

scan = Group(
    "scan",
    help="Deal extractions: all deals of a portal, pulled with a token and kept for a while.",
)


def _check_name(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if not status.SCAN_ID.fullmatch(value):
        raise click.BadParameter("up to 255 letters, digits, hyphens and underscores")
    return value


def _moment(kind: str) -> Callable[..., Any]:
    return click.option(
        f"--{kind}",
        type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]),
        help=f"The {'first' if kind == 'since' else 'last'} day or moment of that date, in UTC.",
    )


_scan_id = click.argument("scan_id", callback=_check_name)


@scan.command("start")
@_scan_id
@click.option(
    "--token",
    prompt="HubSpot access token",
    hide_input=True,
    help="Opens the portal; asked for when left out, so that no shell remembers it.",
)
@click.option("--property", "properties", multiple=True, help="Read this one; may be repeated.")
@click.option(
    "--association",
    "association_types",
    multiple=True,
    type=click.Choice(ASSOCIATED),
    help="With the associations to this type; may be repeated.",
)
@click.option("--archived", is_flag=True, help="Archived deals too.")
@click.option("--pipeline", "pipeline_id", help="Only deals of the pipeline with this id.")
@click.option("--stage", "deal_stage", help="Only deals in the stage with this id.")
@click.option("--date", "date_property", help="Only by this date, with --since or --until.")
@_moment("since")
@_moment("until")
@click.option(
    "--batch-size",
    type=click.IntRange(1, LARGEST_BATCH),
    default=LARGEST_BATCH,
    show_default=True,
    help="Deals of one request.",
)
@click.option("--detach", is_flag=True, help="Return at once, without watching.")
@of_organization
def start(
    scan_id: str,
    token: str,
    since: datetime | None,
    until: datetime | None,
    detach: bool,
    organization: str,
    **given: Any,
) -> None:
    """Begin to pull all deals under the name SCAN_ID, and watch until that has ended.

    Ctrl-C ends the watching only. A scan of the same name that has ended gives way, with its
    results. Exits with 1 unless it completed.
    """
    if bool(given["date_property"]) != bool(since or until):
        raise click.UsageError("--date needs --since or --until, and they need --date.")
    config = ScanConfig(
        include_archived=given.pop("archived"),
        start_date=_written(since),
        end_date=_written(until),
        **given,
    )
    organization_id = get_organization_id(organization)
    commands.start_scan(organization_id, scan_id, token, config)
    if detach:
        click.echo(f"Scan {scan_id} is started.")
        return
    _follow(organization_id, scan_id)


@scan.command("status")
@_scan_id
@click.option("--follow", is_flag=True, help="Watch until it has ended.")
@of_organization
def show_status(scan_id: str, follow: bool, organization: str) -> None:
    """Show how far SCAN_ID has got, and what it brought."""
    organization_id = get_organization_id(organization)
    state = _find(organization_id, scan_id)
    if follow:
        _follow(organization_id, scan_id)
    for line in _describe(state):
        click.echo(line)


@scan.command("cancel")
@_scan_id
@of_organization
def cancel(scan_id: str, organization: str) -> None:
    """End SCAN_ID; nothing is added to its results any more."""
    organization_id = get_organization_id(organization)
    _find(organization_id, scan_id)
    cancelled = commands.cancel_scan(organization_id, scan_id)
    click.echo(f"Scan {scan_id} is cancelled; {cancelled.items_processed} deals were read.")


@scan.command("results")
@_scan_id
@click.option("--pipeline", help="Only deals of the pipeline with this id.")
@click.option("--stage", "dealstage", help="Only deals in the stage with this id.")
@click.option("--owner", "owner_id", help="Only deals of the owner with this id.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many."
)
@of_organization
def show_results(scan_id: str, limit: int, organization: str, **filters: str | None) -> None:
    """Print deals that SCAN_ID brought, a JSON object a line."""
    found = _find_completed(organization, scan_id)
    wanted = {name: value for name, value in filters.items() if value is not None}
    for deal in islice(_deals(found, wanted, min(limit, results.MOST)), limit):
        click.echo(deal)


@scan.command("export")
@_scan_id
@click.option(
    "--format", "format_name", type=click.Choice([*scans_export.FORMATS]), default="csv",
    show_default=True, help="CSV for spreadsheets, or a JSON object a line.",
)  # fmt: skip
@click.option(
    "--output", type=click.File("wb", lazy=True), default="-", help="A file; else the terminal."
)
@of_organization
def export(scan_id: str, format_name: str, output: BinaryIO, organization: str) -> None:
    """Write all deals that SCAN_ID brought into a file."""
    found = _find_completed(organization, scan_id)
    output.writelines(scans_export.export(found, format_name))


def _find(organization_id: int, scan_id: str) -> ScanState:
    state = status.find_scan(organization_id, scan_id)
    if state is None:
        raise ScanNotFoundError(f"There is no scan {scan_id}")
    return state


def _find_completed(organization: str, scan_id: str) -> ScanState:
    organization_id = get_organization_id(organization)
    _find(organization_id, scan_id)
    return results.get_completed(organization_id, scan_id)


def _follow(organization_id: int, scan_id: str) -> None:
    """Show a bar until the scan has ended, then what came of it."""
    with click.progressbar(length=0, label=scan_id, show_pos=True) as bar:
        for state in _states(organization_id, scan_id):
            bar.length = max(state.total_items or 0, state.looked_at)
            bar.label = f"{scan_id} ({state.time_left} left)" if state.time_left else scan_id
            bar.update(state.looked_at - bar.pos)
    for line in _describe(state):
        click.echo(line)
    sys.exit(0 if state.status == "completed" else 1)


def _states(organization_id: int, scan_id: str) -> Iterator[ScanState]:
    has_ended = False
    while not has_ended:
        for state in progress_stream.watch(organization_id, scan_id):
            if state:
                has_ended = state.has_ended
                yield state


def _deals(found: ScanState, wanted: dict[str, str], page_size: int) -> Iterator[str]:
    cursor = None
    while True:
        page = results.read_page(found, wanted, page_size=page_size, cursor=cursor)
        yield from page.deals
        cursor = page.next_cursor
        if cursor is None:
            return


def _describe(state: ScanState) -> Iterator[str]:
    total = "" if state.total_items is None else f" of {state.total_items}"
    left = f", about {state.time_left} left" if state.time_left else ""
    yield f"{state.scan_id}: {state.status}, {state.processed_items}{total} deals{left}"
    if state.failed_items:
        yield f"  {state.failed_items} could not be read ({state.success_rate} were)"
    if state.status == "completed":
        yield (
            f"  in {state.duration_seconds} s; {state.with_associations} with associations,"
            f" {state.archived_deals} archived; {state.data_size_mb} MB"
        )
    if state.error_message:
        yield f"  → {state.error_message}"


def _written(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    # A day counts to its end, so it stays one.
    is_day = moment.time() == datetime.min.time()
    return f"{moment:%Y-%m-%d}" if is_day else f"{moment:%Y-%m-%dT%H:%M:%SZ}"
