"""The tables, as SQLAlchemy models."""

from crm.models.accounts import ApiKey, Organization, SignIn, User
from crm.models.budgets import CallWindow, DayQuota
from crm.models.inbox import WebhookDelivery, WebhookEvent
from crm.models.mirror import (
    PENDING,
    REJECTED,
    SYNCED,
    Association,
    PipelineSet,
    PropertySet,
    Record,
    RecordAlias,
    RecordChange,
)
from crm.models.portals import Portal
from crm.models.runs import BACKFILL, COMPLETED, FAILED, INCREMENTAL, RECONCILE, RUNNING, SyncRun
from crm.models.scans import Scan, ScanDeal, ScanFailure, ScanRange

__all__ = [
    "BACKFILL",
    "COMPLETED",
    "FAILED",
    "INCREMENTAL",
    "PENDING",
    "RECONCILE",
    "REJECTED",
    "RUNNING",
    "SYNCED",
    "ApiKey",
    "Association",
    "CallWindow",
    "DayQuota",
    "Organization",
    "PipelineSet",
    "Portal",
    "PropertySet",
    "Record",
    "RecordAlias",
    "RecordChange",
    "Scan",
    "ScanDeal",
    "ScanFailure",
    "ScanRange",
    "SignIn",
    "SyncRun",
    "User",
    "WebhookDelivery",
    "WebhookEvent",
]
