"""Scans as rows, without anybody who pulls deals."""

from typing import Any

import orjson
from sqlalchemy import text

from crm.accounts.users import get_organization_id
from crm.db import transaction
from crm.scans.commands import ScanConfig

_SCAN = """
    INSERT INTO scans (organization_id, scan_id, job_id, config, status, total_items,
        processed_items, failed_items, archived_deals, with_associations, data_size,
        error_code, error_message, created_at, started_at, completed_at)
    SELECT :organization_id, :scan_id, 'job_' || md5(:scan_id || :organization_id), :config,
        :status, :total_items, :processed_items, :failed_items, 0, 0, :data_size, :error_code,
        :error_message, at, CASE WHEN :status <> 'pending' THEN at END,
        CASE WHEN :status NOT IN ('pending', 'running') THEN at + :took * interval '1 second' END
    FROM (SELECT clock_timestamp() - :ago * interval '1 second' AS at) AS moment
    RETURNING id
"""
_DEALS = """
    INSERT INTO scan_deals (scan_id, deal_id, deal_name, amount, deal_stage, pipeline_id, owner_id,
        deal_created_at, is_archived, properties, associations)
    SELECT :id, 7000 + number * 3, 'Deal ' || number, number * 100,
        CASE number % 2 WHEN 0 THEN 'closedwon' ELSE 'qualifiedtobuy' END, 'default',
        (number % 3)::text, '2026-11-20T10:30:00Z', false, '{"amount": "1"}',
        '{"contacts": [{"id": "1", "type": "deal_to_contact"}]}'
    FROM generate_series(1, :count) AS number
"""


def make_scan(
    scan_id: str = "nightly", *, deals: int = 0, organization: str = "Default", **changes: Any
) -> int:
    """A scan with so many deals, completed unless ``status`` says otherwise; its row's id."""
    config = changes.pop("config", ScanConfig(association_types=("contacts",)))
    values = {
        "organization_id": get_organization_id(organization),
        "scan_id": scan_id,
        "config": orjson.dumps(config.as_json()).decode(),
        "status": "completed",
        "total_items": deals,
        "processed_items": deals,
        "failed_items": 0,
        "data_size": 2_500_000,
        "error_code": None,
        "error_message": None,
        "ago": 600,
        "took": 60,
        **changes,
    }
    with transaction() as session:
        row_id = int(session.execute(text(_SCAN), values).scalar_one())
        session.execute(text(_DEALS), {"id": row_id, "count": deals})
    return row_id
