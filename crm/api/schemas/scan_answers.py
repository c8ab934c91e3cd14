"""Deal extractions: what is told of them."""

from typing import Any

from marshmallow import Schema, fields, validate

from crm.api.schemas.scan_inputs import SCAN_TYPE
from crm.scans.status import STATUSES, ScanState

_UNKNOWN = {"description": "0 as long as it is not known"}
_AS_GIVEN = {"description": "As it was given at the start; else the organization's number"}
_CODE = {"description": "Such as HUBSPOT_AUTH_FAILED, for programs"}


def _null(kind: type[fields.Field[Any]], **options: Any) -> fields.Field[Any]:
    return kind(required=True, allow_none=True, **options)


class StartedSchema(Schema):
    """A scan that was started."""

    message = fields.String(required=True)
    scan_id = fields.String(required=True, data_key="scanId")
    status = fields.Constant("started", required=True)
    job_id = fields.String(required=True, data_key="jobId")
    estimated_duration = fields.String(required=True, data_key="estimatedDuration")


class CancelledSchema(Schema):
    """A scan that was cancelled."""

    message = fields.String(required=True)
    scan_id = fields.String(required=True, data_key="scanId")
    status = fields.Constant("cancelled", required=True)
    items_processed = fields.Integer(required=True, data_key="itemsProcessed")
    cancelled_at = fields.String(required=True, data_key="cancelledAt")


class ProgressSchema(Schema):
    """How far a scan has got; archived deals are counted as they come."""

    total_items = fields.Integer(required=True, metadata=_UNKNOWN)
    processed_items = fields.Integer(required=True)
    failed_items = fields.Integer(required=True)
    success_rate = fields.String(required=True)
    current_batch = fields.Integer(required=True)
    total_batches = fields.Integer(required=True, metadata=_UNKNOWN)
    estimated_time_remaining = _null(fields.String)
    duration_seconds = fields.Integer(metadata={"description": "When completed"})


class OutcomeSchema(Schema):
    """What a completed scan brought."""

    deals_extracted = fields.Integer(required=True)
    with_associations = fields.Integer(required=True)
    archived_deals = fields.Integer(required=True)
    data_size_mb = fields.Float(required=True)


class StatusConfigSchema(Schema):
    """What a scan was asked to do."""

    properties = fields.List(fields.String(), required=True)
    include_associations = fields.Boolean(required=True, data_key="includeAssociations")
    batch_size = fields.Integer(required=True, data_key="batchSize")


class ScanStatusSchema(Schema):
    """A scan; of one that is not there, eight fields, all null but the status."""

    id = _null(fields.String)
    scan_id = _null(fields.String, data_key="scanId")
    status = fields.String(required=True, validate=validate.OneOf([*STATUSES, "not_found"]))
    scan_type = fields.String(data_key="scanType")
    organization_id = fields.String(data_key="organizationId", metadata=_AS_GIVEN)
    started_at = _null(fields.String)
    completed_at = _null(fields.String)
    error_message = _null(fields.String)
    error_code = fields.String(allow_none=True, metadata=_CODE)
    created_at = _null(fields.String)
    updated_at = _null(fields.String)
    progress = fields.Nested(ProgressSchema)
    config = fields.Nested(StatusConfigSchema)
    results = fields.Nested(OutcomeSchema, metadata={"description": "When completed"})


class PaginationSchema(Schema):
    """Where a page stands."""

    current_page = fields.Integer(required=True)
    page_size = fields.Integer(required=True)
    total_items = fields.Integer(required=True)
    total_pages = fields.Integer(required=True)
    has_next = fields.Boolean(required=True)
    has_previous = fields.Boolean(required=True)
    next_page = _null(fields.Integer)
    previous_page = _null(fields.Integer)


class CursorPaginationSchema(PaginationSchema):
    """Where a page of results stands."""

    next_cursor = _null(fields.String)


class ListedScanSchema(Schema):
    """A scan in a list."""

    id = fields.String(required=True)
    scan_id = fields.String(required=True, data_key="scanId")
    status = fields.String(required=True, validate=validate.OneOf(STATUSES))
    scan_type = fields.String(required=True, data_key="scanType")
    organization_id = fields.String(required=True, data_key="organizationId", metadata=_AS_GIVEN)
    started_at = _null(fields.String)
    completed_at = _null(fields.String)
    total_items = fields.Integer(required=True, metadata=_UNKNOWN)
    processed_items = fields.Integer(required=True)
    success_rate = fields.String(required=True)
    duration_seconds = fields.Integer(required=True, metadata=_UNKNOWN)
    data_size_mb = fields.Float(required=True)
    error_message = fields.String()
    error_code = fields.String(metadata=_CODE)
    estimated_time_remaining = fields.String()


class ScanListSchema(Schema):
    """A page of scans."""

    pagination = fields.Nested(PaginationSchema, required=True)
    scans = fields.List(fields.Nested(ListedScanSchema), required=True)


class ExtractedAssociationSchema(Schema):
    """What a deal is associated with."""

    id = fields.String(required=True)
    type = fields.String(required=True, metadata={"description": "Such as deal_to_contact"})


class ExtractedDealSchema(Schema):
    """A deal as a scan found it."""

    id = fields.String(required=True, metadata={"description": "Its place, such as result_001"})
    deal_id = fields.String(required=True)
    deal_name = _null(fields.String)
    amount = _null(fields.Float)
    currency = _null(fields.String)
    deal_stage = _null(fields.String)
    deal_stage_label = _null(fields.String)
    pipeline_id = _null(fields.String)
    pipeline_label = _null(fields.String)
    close_date = _null(fields.String)
    deal_created_at = _null(fields.String)
    deal_updated_at = _null(fields.String)
    owner_id = _null(fields.String)
    owner_email = _null(fields.String)
    deal_type = _null(fields.String)
    is_archived = fields.Boolean(required=True)
    deal_url = _null(fields.String)
    properties = fields.Dict(keys=fields.String(), values=_null(fields.String), required=True)
    associations = fields.Dict(
        keys=fields.String(),
        values=fields.List(fields.Nested(ExtractedAssociationSchema)),
        required=True,
    )


class ScanResultsSchema(Schema):
    """A page of a scan's deals."""

    scan_id = fields.String(required=True, data_key="scanId")
    status = fields.String(required=True)
    pagination = fields.Nested(CursorPaginationSchema, required=True)
    deals = fields.List(fields.Nested(ExtractedDealSchema), required=True)


class SummarySchema(Schema):
    """What came of the scans of a period."""

    total_scans = fields.Integer(required=True)
    successful_scans = fields.Integer(required=True)
    failed_scans = fields.Integer(required=True)
    success_rate = fields.String(required=True, metadata={"description": "Of those two"})
    total_deals_extracted = fields.Integer(required=True)
    average_scan_duration_seconds = fields.Integer(required=True)
    total_data_extracted_mb = fields.Float(required=True)


class PerformanceSchema(Schema):
    """How fast the completed scans were."""

    fastest_scan_seconds = fields.Integer(required=True)
    slowest_scan_seconds = fields.Integer(required=True)
    average_deals_per_second = fields.Float(required=True)
    peak_concurrent_scans = fields.Integer(required=True)


class FailuresSchema(Schema):
    """Why scans failed."""

    authentication_failures = fields.Integer(required=True)
    rate_limit_errors = fields.Integer(required=True)
    network_timeouts = fields.Integer(required=True)
    other_errors = fields.Integer(required=True)


class StatsSchema(Schema):
    """Statistics over the scans that were started within a period."""

    period = fields.String(required=True)
    timestamp = fields.String(required=True)
    summary = fields.Nested(SummarySchema, required=True)
    status_breakdown = fields.Dict(keys=fields.String(), values=fields.Integer(), required=True)
    performance_metrics = fields.Nested(PerformanceSchema, required=True)
    error_analysis = fields.Nested(FailuresSchema, required=True)


def status_as(scan: ScanState | None) -> dict[str, Any]:
    """The answer to ``GET /scan/status``."""
    if scan is None:
        return {**dict.fromkeys(_STATUS_FIELDS), "status": "not_found"}
    config = scan.config
    current, total = scan.batches(config["batch_size"])
    answer: dict[str, Any] = {
        **_common(scan),
        "error_message": scan.error_message,
        "error_code": scan.error_code,
        "created_at": scan.created_at,
        "updated_at": scan.updated_at,
        "progress": {
            "total_items": scan.total_items or 0,
            "processed_items": scan.processed_items,
            "failed_items": scan.failed_items,
            "success_rate": scan.success_rate,
            "current_batch": current,
            "total_batches": total,
            "estimated_time_remaining": scan.time_left,
        },
        "config": {
            "properties": config["properties"],
            "includeAssociations": bool(config["association_types"]),
            "batchSize": config["batch_size"],
        },
    }
    if scan.status == "completed":
        answer["progress"]["duration_seconds"] = scan.duration_seconds or 0
        answer["results"] = {
            "deals_extracted": scan.processed_items,
            "with_associations": scan.with_associations,
            "archived_deals": scan.archived_deals,
            "data_size_mb": scan.data_size_mb,
        }
    return answer


def listed_as(scan: ScanState) -> dict[str, Any]:
    """A scan in the answer to ``GET /scan/list``."""
    optional = {
        "error_message": scan.error_message,
        "error_code": scan.error_code,
        "estimated_time_remaining": scan.time_left,
    }
    return {
        **_common(scan),
        "total_items": scan.total_items or 0,
        "processed_items": scan.processed_items,
        "success_rate": scan.success_rate,
        "duration_seconds": scan.duration_seconds or 0,
        "data_size_mb": scan.data_size_mb,
        **{name: each for name, each in optional.items() if each is not None},
    }


def pagination_as(*, page: int, page_size: int, total: int) -> dict[str, Any]:
    """Where a page stands among so many items; one beyond the last has an empty page's place."""
    pages = -(-total // page_size)
    return {
        "current_page": page,
        "page_size": page_size,
        "total_items": total,
        "total_pages": pages,
        "has_next": page < pages,
        "has_previous": page > 1 and pages > 0,
        "next_page": page + 1 if page < pages else None,
        "previous_page": min(page - 1, pages) if page > 1 and pages > 0 else None,
    }


def _common(scan: ScanState) -> dict[str, Any]:
    return {
        "id": scan.job_id,
        "scanId": scan.scan_id,
        "status": scan.status,
        "scanType": SCAN_TYPE,
        "organizationId": scan.organization_id,
        "started_at": scan.started_at,
        "completed_at": scan.completed_at,
    }


_STATUS_FIELDS = [
    each.data_key or name for name, each in ScanStatusSchema().fields.items() if each.required
]
