"""Select the deals that a scan is about, by HubSpot's search and for what no search finds."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from crm.hubspot.answers import HubSpotRecord
from crm.hubspot.search import Filter
from crm.scans.commands import ScanConfig

NEEDED = (
    *("dealname", "amount", "deal_currency_code", "dealstage", "pipeline", "closedate"),
    *("createdate", "hs_lastmodifieddate", "hubspot_owner_id", "dealtype"),
)
"""What the fields of a result are made of."""

_DAY = timedelta(days=1)
_MILLISECOND = timedelta(milliseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def list_properties(config: ScanConfig) -> list[str]:
    """The properties to read."""
    filtered = [config.date_property] if config.date_property else []
    return list(dict.fromkeys([*NEEDED, *filtered, *config.properties]))


def list_filters(config: ScanConfig) -> Sequence[Filter]:
    """The filters of a search; none when all live deals are wanted."""
    filters = []
    if config.pipeline_id is not None:
        filters.append(Filter("pipeline", "EQ", config.pipeline_id))
    if config.deal_stage is not None:
        filters.append(Filter("dealstage", "EQ", config.deal_stage))
    if config.date_property is not None:
        start, end = _span(config)
        if start:
            filters.append(Filter(config.date_property, "GTE", _milliseconds(start)))
        if end:
            filters.append(Filter(config.date_property, "LTE", _milliseconds(end)))
    return filters


def is_wanted(config: ScanConfig, deal: HubSpotRecord) -> bool:
    """Whether a deal would be found by the filters, if it were not archived."""
    given = deal.properties
    if config.pipeline_id not in (None, given.get("pipeline")):
        return False
    if config.deal_stage not in (None, given.get("dealstage")):
        return False
    if config.date_property is None:
        return True
    start, end = _span(config)
    if not start and not end:
        return True
    moment = find_moment(given.get(config.date_property))
    if moment is None:
        return False
    return (not start or moment >= start) and (not end or moment <= end)


def find_moment(value: str | None) -> datetime | None:
    """A property's moment, in ISO 8601 or milliseconds since 1970; None where it is none."""
    try:
        if value and value.isdecimal():
            return _EPOCH + int(value) * _MILLISECOND
        moment = datetime.fromisoformat(value or "")
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _span(config: ScanConfig) -> tuple[datetime | None, datetime | None]:
    start, end = find_moment(config.start_date), find_moment(config.end_date)
    is_day = config.end_date is not None and len(config.end_date) <= len("2026-12-31")
    return start, end + _DAY - _MILLISECOND if end and is_day else end


def _milliseconds(moment: datetime) -> str:
    return str((moment - _EPOCH) // _MILLISECOND)
