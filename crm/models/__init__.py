"""The tables, as SQLAlchemy models."""

from crm.models.accounts import ApiKey, Organization, SignIn, User
from crm.models.budgets import CallWindow, DayQuota
from crm.models.inbox import WebhookEvent
from crm.models.mirror import PENDING, REJECTED, SYNCED, Association, PipelineSet, Record
from crm.models.portals import Portal

__all__ = [
    "PENDING",
    "REJECTED",
    "SYNCED",
    "ApiKey",
    "Association",
    "CallWindow",
    "DayQuota",
    "Organization",
    "PipelineSet",
    "Portal",
    "Record",
    "SignIn",
    "User",
    "WebhookEvent",
]
