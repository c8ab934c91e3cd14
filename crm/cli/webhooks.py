"""``flask webhooks``: what HubSpot told us, and what we ask to be told."""

from datetime import UTC, datetime

import click
import orjson

from crm.cli.commands import Group
from crm.inbox import replay as service
from crm.inbox import subscriptions

webhooks = Group("webhooks", help="What HubSpot told us, and what we ask to be told.")


@webhooks.command("list")
@click.option("--state", type=click.Choice(service.STATES), help="Only those in this state.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
def list_webhooks(state: str | None, limit: int) -> None:
    """List the latest events that HubSpot sent, newest first."""
    for each in service.list_events(state=state, limit=limit):
        kind = each.payload.get("subscriptionType") or each.payload.get("eventType")
        about = each.payload.get("objectId") or each.payload.get("fromObjectId") or ""
        click.echo(
            f"{each.id}  {each.received_at:%Y-%m-%d %H:%M:%S}  portal {each.hub_id}"
            f"  {kind} {about}  {each.outcome or service.WAITING}"
        )


@webhooks.command("replay")
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
    count = service.replay(ids=ids, since=since and since.replace(tzinfo=UTC))
    click.echo(f"{count} events are looked at anew.")


@webhooks.command("manifest")
def print_manifest() -> None:
    """Print webhooks-hsmeta.json for HubSpot's app: all that we need to be told.

    It belongs to the app's project folder, as src/app/webhooks/webhooks-hsmeta.json.
    """
    click.echo(orjson.dumps(subscriptions.make_manifest(), option=orjson.OPT_INDENT_2))
