"""Make of HubSpot's deals what a scan stores, with the portal's labels."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from crm.hubspot.account import AccountDetails
from crm.hubspot.answers import HubSpotRecord
from crm.hubspot.owners import Owner
from crm.object_types import DEALS, OBJECT_TYPES
from crm.scans.commands import ScanConfig
from crm.scans.filters import find_moment

_LARGEST_ID = 2**63 - 1
_ID = re.compile(r"[0-9]{1,19}", re.ASCII)
_NUMBER = re.compile(r"\s*[-+]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][-+]?[0-9]{1,4})?\s*", re.ASCII)


def find_id(text: str) -> int | None:
    """A deal's id as a number; None where it is none that HubSpot would give."""
    number = int(text) if _ID.fullmatch(text) else _LARGEST_ID + 1
    return number if number <= _LARGEST_ID else None


def make_labels(
    account: AccountDetails,
    pipelines: Iterable[Mapping[str, Any]],
    owners: Iterable[Owner],
) -> dict[str, Any]:
    """What a portal calls its pipelines, stages and owners, and where people see its deals."""
    return {
        "pipelines": {
            each["id"]: {
                "label": each["label"],
                "stages": {stage["id"]: stage["label"] for stage in each["stages"]},
            }
            for each in pipelines
        },
        "owners": {each.id: each.email for each in owners if each.email},
        "currency": account.currency,
        "url": f"https://{account.ui_domain}/contacts/{account.hub_id}/record/{DEALS.type_id}/",
    }


def make_row(deal: HubSpotRecord, labels: Mapping[str, Any], config: ScanConfig) -> dict[str, Any]:
    """The columns of ``ScanDeal`` after the scan's id, as JSON knows values."""
    given = deal.properties
    pipeline_id, stage, owner_id = (
        given.get(name) or None for name in ("pipeline", "dealstage", "hubspot_owner_id")
    )
    pipeline = labels["pipelines"].get(pipeline_id) or {"label": None, "stages": {}}
    return {
        "deal_id": int(deal.id),
        "deal_name": given.get("dealname"),
        "amount": find_amount(given.get("amount")),
        "currency": given.get("deal_currency_code") or labels["currency"],
        "deal_stage": stage,
        "deal_stage_label": pipeline["stages"].get(stage),
        "pipeline_id": pipeline_id,
        "pipeline_label": pipeline["label"],
        "close_date": _moment(given.get("closedate")),
        "deal_created_at": _moment(given.get("createdate")),
        "deal_updated_at": _moment(given.get(DEALS.modified_property)),
        "owner_id": owner_id,
        "owner_email": labels["owners"].get(owner_id),
        "deal_type": given.get("dealtype") or None,
        "is_archived": deal.archived,
        "deal_url": labels["url"] + deal.id,
        "properties": _asked(given, config),
        "associations": {
            name: [
                {"id": each, "type": f"{DEALS.singular}_to_{OBJECT_TYPES[name].singular}"}
                for each in deal.associations.get(name, ())
            ]
            for name in config.association_types
        },
    }


def find_amount(value: str | None) -> float | None:
    """A number, also with an exponent; None for everything else, infinity among it."""
    if value is None or not _NUMBER.fullmatch(value):
        return None
    amount = float(value)
    return amount if math.isfinite(amount) else None


def _asked(given: Mapping[str, str | None], config: ScanConfig) -> Mapping[str, str | None]:
    if not config.properties:
        return given
    return {name: given[name] for name in config.properties if name in given}


def _moment(value: str | None) -> str | None:
    moment = find_moment(value)
    return moment.isoformat() if moment else None
