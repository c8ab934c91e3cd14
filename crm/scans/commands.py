"""Start and cancel scans."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from flask import current_app
from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from crm.db import transaction
from crm.errors import (
    InvalidCancellationError,
    ScanInProgressError,
    ScanNotFoundError,
    TooManyScansError,
    UnavailableError,
)
from crm.models import Organization, Scan
from crm.models.scans import CANCELLED_SCAN, UNFINISHED
from crm.object_types import COMPANIES, CONTACTS, LINE_ITEMS, TICKETS
from crm.portals.oauth_tokens import make_vault
from crm.queue import enqueue_once

TASK = "scan"
MOST_AT_ONCE = 10
"""Scans of one organization that are not finished."""
ASSOCIATED = tuple(each.name for each in (CONTACTS, COMPANIES, LINE_ITEMS, TICKETS))
"""What the deals' associations can be asked of."""
LARGEST_BATCH = 100
MOST_PROPERTIES = 250
"""That a scan may ask for by name."""
PROPERTY_NAME = re.compile(r"[a-z0-9_]{1,255}\Z")


@dataclass(frozen=True)
class ScanConfig:
    """What a scan is asked to do; kept as JSON beside it."""

    properties: tuple[str, ...] = ()
    """Names; none for HubSpot's usual ones of a deal."""
    association_types: tuple[str, ...] = ()
    """Some of ``ASSOCIATED``."""
    include_archived: bool = False
    pipeline_id: str | None = None
    deal_stage: str | None = None
    date_property: str | None = None
    """The one that the two dates are about; needed where there is one of them."""
    start_date: str | None = None
    """ISO 8601, the first moment or day that counts."""
    end_date: str | None = None
    """ISO 8601, the last moment or, without a time, the last day that counts."""
    batch_size: int = LARGEST_BATCH
    """Deals of one list page."""

    @classmethod
    def from_json(cls, config: Mapping[str, Any]) -> "ScanConfig":
        """Read what ``as_json`` gave."""
        names, types = tuple(config["properties"]), tuple(config["association_types"])
        return cls(**{**config, "properties": names, "association_types": types})

    def as_json(self) -> dict[str, Any]:
        """As the scan's row keeps it."""
        return asdict(self)


@dataclass(frozen=True)
class Cancelled:
    """A scan that was cancelled just now."""

    items_processed: int
    cancelled_at: str
    """As answers write it."""


def start_scan(
    organization_id: int,
    scan_id: str,
    token: str,
    config: ScanConfig,
    *,
    label: str | None = None,
) -> str:
    """Have a portal's deals pulled; one of this name that has ended gives way, with its results.

    Args:
        organization_id: whose it will be.
        scan_id: the caller's name of it.
        token: opens the portal; stored encrypted until the scan ends.
        config: what to pull.
        label: what the caller calls the organization; None for its number.

    Returns:
        The job's id, ``job_…``.

    Raises:
        ScanInProgressError: there is one of this name that has not ended.
        TooManyScansError: ten others of the organization have not ended.
        UnavailableError: there is no key to store tokens with.
    """
    settings = current_app.extensions["crm_settings"]
    if not settings.encryption_keys:
        raise UnavailableError(
            "ENCRYPTION_KEYS is not set; a scan's token is stored, and only encrypted"
        )
    encrypted = make_vault(settings).encrypt(token.encode())
    job_id = f"job_{uuid4().hex}"
    with transaction() as session:
        _wait_for_other_starts(session, organization_id)
        _refuse_second(session, organization_id, scan_id)
        _refuse_too_many(session, organization_id)
        session.execute(
            delete(Scan).where(Scan.organization_id == organization_id, Scan.scan_id == scan_id)
        )
        row_id = session.execute(
            insert(Scan)
            .values(
                organization_id=organization_id,
                organization_label=label,
                scan_id=scan_id,
                job_id=job_id,
                config=config.as_json(),
                token=encrypted,
            )
            .returning(Scan.id)
        ).scalar_one()
        enqueue_once(TASK, row_id)
    return job_id


def cancel_scan(organization_id: int, scan_id: str) -> Cancelled:
    """End a scan; what it has stored stays, and nothing is added once this has returned.

    Raises:
        ScanNotFoundError: the organization has none of this name.
        InvalidCancellationError: it has ended already.
    """
    mine = (Scan.organization_id == organization_id, Scan.scan_id == scan_id)
    with transaction() as session:
        row = session.execute(
            update(Scan)
            .where(*mine, Scan.status.in_(UNFINISHED))
            .values(
                status=CANCELLED_SCAN,
                token=None,
                completed_at=func.clock_timestamp(),
                updated_at=func.clock_timestamp(),
            )
            .returning(Scan.processed_items, Scan.completed_at)
        ).one_or_none()
        if row:
            return Cancelled(row.processed_items, _written(row.completed_at))
        status = session.scalar(select(Scan.status).where(*mine))
    if status is None:
        raise ScanNotFoundError
    raise InvalidCancellationError(details={"scanId": scan_id, "currentStatus": status})


def _wait_for_other_starts(session: Session, organization_id: int) -> None:
    """Of two that start at the same moment, the second is to count the first."""
    session.execute(
        select(Organization.id)
        .where(Organization.id == organization_id)
        .with_for_update(key_share=True)
    )


def _refuse_second(session: Session, organization_id: int, scan_id: str) -> None:
    row = session.execute(
        select(Scan.status, func.coalesce(Scan.started_at, Scan.created_at)).where(
            Scan.organization_id == organization_id,
            Scan.scan_id == scan_id,
            Scan.status.in_(UNFINISHED),
        )
    ).one_or_none()
    if row:
        status, began_at = row
        raise ScanInProgressError(
            details={"scanId": scan_id, "currentStatus": status, "startedAt": _written(began_at)}
        )


def _refuse_too_many(session: Session, organization_id: int) -> None:
    count = session.scalar(
        select(func.count())
        .select_from(Scan)
        .where(Scan.organization_id == organization_id, Scan.status.in_(UNFINISHED))
    )
    if (count or 0) >= MOST_AT_ONCE:
        raise TooManyScansError(f"ratelimit exceeded {MOST_AT_ONCE} scans at once")


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
