"""Deal extractions: what is asked for."""

import re
from collections.abc import Mapping
from typing import Any

from flask import Request
from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from crm.api.schemas.inputs import Input, Line, MomentText, parser_saying
from crm.errors import InvalidInputError
from crm.scans.commands import ASSOCIATED, LARGEST_BATCH, MOST_PROPERTIES, PROPERTY_NAME, ScanConfig
from crm.scans.results import MOST
from crm.scans.statistics import PERIODS
from crm.scans.status import SCAN_ID, STATUSES

SCAN_TYPE = "hubspot_deals"
INVALID = "Input validation failed"
"""What callers of scans are told of input that is not valid."""


class ScanParser(parser_saying(INVALID)):  # type: ignore[misc] # a class that is made
    """Loads what is asked of scans; an empty value in a query counts as not given."""

    def load_querystring(self, req: Request, schema: Schema) -> dict[str, str]:
        """The values that are given."""
        query = super().load_querystring(req, schema)
        return {name: value for name, value in query.items() if value}


_USUAL_ASSOCIATIONS = ["contacts", "companies", "line_items"]
_LONGEST_ID = 255
_LAST_PAGE = 1_000_000_000

_OWN = {"description": "Your organization's name, number or identifier"}
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class ScanId(fields.String):
    """What a caller calls a scan."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        scan_id = super()._deserialize(value, attr, data, **kwargs)
        if sentence := _find_problem(scan_id):
            raise ValidationError(sentence)
        return scan_id


class Flag(fields.Boolean):
    """True or false as JSON has them, and nothing that only looks like it."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if not isinstance(value, bool):
            raise ValidationError("Must be true or false.")
        return value


class WholeNumber(fields.Integer):
    """A whole number as JSON has it."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValidationError("Must be a whole number.")
        return super()._deserialize(value, attr, data, **kwargs)


class DayOrMoment(MomentText):
    """A day, kept as it is, or a moment, kept in UTC."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        moment = super()._deserialize(value, attr, data, **kwargs)
        return str(value) if _DAY.fullmatch(value) else moment


class AuthInput(Input):
    """What opens the portal."""

    hubspot_access_token = Line(shortest=1, longest=2000, required=True, load_only=True)


class DateFilterInput(Input):
    """A span of time in which a property of the deals lies."""

    property = fields.String(
        required=True,
        validate=validate.Regexp(PROPERTY_NAME, error="Must be the name of a property"),
    )
    start_date = DayOrMoment(data_key="startDate", load_default=None)
    end_date = DayOrMoment(
        data_key="endDate",
        load_default=None,
        metadata={"description": "A day counts to its end"},
    )

    @validates_schema
    def check_order(self, given: dict[str, Any], **_: Any) -> None:
        """Refuse a span without ends, or one that ends before it begins."""
        start, end = given.get("start_date"), given.get("end_date")
        if not start and not end:
            raise ValidationError("Give startDate, endDate or both.", "startDate")
        # A day begins with its letters, so the two can be compared as texts.
        if start and end and end < start[: len(end)]:
            raise ValidationError("Must not be before startDate.", "endDate")


class FiltersInput(Input):
    """Which deals."""

    include_archived = Flag(data_key="includeArchived", load_default=False)
    pipeline_id = Line(data_key="pipelineId", shortest=1, load_default=None)
    dealstage = Line(shortest=1, load_default=None)
    date_filter = fields.Nested(DateFilterInput, data_key="dateFilter", load_default=None)


class ConfigInput(Input):
    """What a scan is asked to do."""

    scan_id = ScanId(data_key="scanId", required=True)
    type = fields.List(
        fields.String(validate=validate.Equal(SCAN_TYPE, error=f"Must be {SCAN_TYPE}")),
        required=True,
        validate=validate.Length(equal=1, error=f'Must be ["{SCAN_TYPE}"]'),
    )
    auth = fields.Nested(AuthInput, required=True)
    organization_id = Line(data_key="organizationId", load_default=None, metadata=_OWN)
    properties = fields.List(
        fields.String(
            validate=validate.Regexp(PROPERTY_NAME, error="Must be the name of a property")
        ),
        load_default=list,
        validate=validate.Length(max=MOST_PROPERTIES),
    )
    include_associations = Flag(data_key="includeAssociations", load_default=False)
    association_types = fields.List(
        Line(choices=ASSOCIATED),
        data_key="associationTypes",
        load_default=lambda: [*_USUAL_ASSOCIATIONS],
        validate=validate.Length(min=1, max=len(ASSOCIATED)),
    )
    filters = fields.Nested(FiltersInput, load_default=lambda: FiltersInput().load({}))
    batch_size = WholeNumber(
        data_key="batchSize",
        load_default=LARGEST_BATCH,
        validate=validate.Range(min=1, max=LARGEST_BATCH),
    )


class StartInput(Input):
    """The body of ``POST /scan/start``."""

    config = fields.Nested(ConfigInput, required=True)


def check_path(scan_id: str, query: Mapping[str, str]) -> None:
    """Refuse what no scan can be called, and a query where none is known.

    By itself, because a status is asked for so often that a schema would be most of its cost.

    Raises:
        InvalidInputError: names what is wrong.
    """
    errors = {name: "Unknown field." for name, value in query.items() if value}
    if sentence := _find_problem(scan_id):
        errors["scan_id"] = sentence
    if errors:
        raise InvalidInputError(INVALID, errors=errors)


def _find_problem(scan_id: str) -> str | None:
    if len(scan_id) > _LONGEST_ID:
        return f"Must have at most {_LONGEST_ID} characters."
    if not SCAN_ID.fullmatch(scan_id):
        return "Must be alphanumeric with hyphens/underscores only"
    return None


def config_of(given: dict[str, Any]) -> ScanConfig:
    """A loaded ``ConfigInput`` as the service takes it."""
    filters = given["filters"]
    dates = filters["date_filter"] or {}
    types = given["association_types"] if given["include_associations"] else ()
    return ScanConfig(
        properties=tuple(dict.fromkeys(given["properties"])),
        association_types=tuple(dict.fromkeys(types)),
        include_archived=filters["include_archived"],
        pipeline_id=filters["pipeline_id"],
        deal_stage=filters["dealstage"],
        date_property=dates.get("property"),
        start_date=dates.get("start_date"),
        end_date=dates.get("end_date"),
        batch_size=given["batch_size"],
    )


class OrganizationQueryInput(Input):
    """Whose; only one's own."""

    organization_id = Line(load_default=None, metadata=_OWN)


class ListQueryInput(OrganizationQueryInput):
    """Which scans, and in which order."""

    status = Line(load_default=None, choices=STATUSES)
    page = fields.Integer(load_default=1, validate=validate.Range(min=1, max=_LAST_PAGE))
    page_size = fields.Integer(load_default=20, validate=validate.Range(min=1, max=100))
    sort_by = Line(load_default="created_at", choices=("created_at", "completed_at"))
    sort_order = Line(load_default="desc", choices=("asc", "desc"))


class StatsQueryInput(OrganizationQueryInput):
    """Statistics of which period."""

    period = Line(load_default="24h", choices=PERIODS)


class ResultsQueryInput(Input):
    """Which deals of a scan, by page or by cursor."""

    page = fields.Integer(load_default=None, validate=validate.Range(min=1, max=_LAST_PAGE))
    page_size = fields.Integer(load_default=50, validate=validate.Range(min=1, max=MOST))
    cursor = Line(load_default=None, longest=2000)
    pipeline = Line(shortest=1)
    dealstage = Line(shortest=1)
    owner_id = Line(shortest=1)

    @validates_schema
    def check_position(self, given: dict[str, Any], **_: Any) -> None:
        """Refuse to choose between two positions."""
        if given.get("page") and given.get("cursor"):
            raise ValidationError("Give page or cursor, not both.", "cursor")


class ExportQueryInput(Input):
    """How the deals are written."""

    format = Line(required=True, choices=("csv", "jsonl"))
