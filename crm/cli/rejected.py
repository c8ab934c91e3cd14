"""``flask sync rejected``: the changes that HubSpot refused."""

from collections.abc import Iterator, Sequence
from typing import Any

import click
import orjson

from crm.accounts.users import get_portal_id
from crm.cli.commands import Group, of_organization
from crm.mirror.reads.pages import MOST
from crm.push import rejections

rejected = Group("rejected", help="Changes that HubSpot refused.")

_type = click.option("--type", "object_type", type=click.Choice(rejections.TYPES))


@rejected.command("list")
@_type
@of_organization
def list_rejected(object_type: str | None, organization: str) -> None:
    """Show each refused change: its id, its type, and what HubSpot said of which property."""
    for each in _all_rejected(get_portal_id(organization), object_type):
        said = each["rejection"]
        click.echo(f"{each['id']}  {each['type']}  {said['message']}")
        for name, sentence in said["fields"].items():
            value = each.get("properties", {}).get(name)
            click.echo(f"      {name} = {value!r}: {sentence}")


@rejected.command("resend")
@click.argument("ids", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All of them, or all of a type.")
@click.option("--set", "changes", multiple=True, metavar="NAME=VALUE", help="Correct a property.")
@_type
@of_organization
def resend(
    ids: Sequence[str],
    everything: bool,
    changes: Sequence[str],
    object_type: str | None,
    organization: str,
) -> None:
    """Send refused changes again: those with IDS, of which one can be corrected, or all."""
    if everything == bool(ids):
        raise click.UsageError("Name the changes, or say --all.")
    if changes and len(ids) != 1:
        raise click.UsageError("Only one change can be corrected at a time.")
    portal_id = get_portal_id(organization)
    if changes:
        rejections.correct(portal_id, ids[0], _properties(changes))
        resent = 1
    else:
        resent = rejections.resend(portal_id, ids or None, object_type=object_type)
    click.echo(f"{resent} will be sent again.")


@rejected.command("drop")
@click.argument("ids", nargs=-1, required=True)
@of_organization
def drop(ids: Sequence[str], organization: str) -> None:
    """Drop the refused changes with IDS: here all is again as HubSpot has it."""
    click.echo(f"{rejections.drop(get_portal_id(organization), ids)} dropped.")


def _all_rejected(portal_id: int, object_type: str | None) -> Iterator[dict[str, Any]]:
    cursor = None
    while True:
        page = rejections.list_rejected(
            portal_id, object_type=object_type, limit=MOST, cursor=cursor
        )
        yield from map(orjson.loads, page.items)
        cursor = page.next_after
        if cursor is None:
            return


def _properties(changes: Sequence[str]) -> dict[str, str | None]:
    pairs = [each.partition("=") for each in changes]
    if not all(name and equals for name, equals, _ in pairs):
        raise click.UsageError("Write --set NAME=VALUE.")
    return {name: value or None for name, _, value in pairs}
