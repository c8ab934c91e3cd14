"""Write contacts for applications that want a write done on both sides, or on neither."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from crm.db import in_one_transaction, transaction
from crm.errors import ConfigError, CRMError, NotFoundError, UnavailableError
from crm.hubspot import records as hubspot_records
from crm.hubspot.answers import BatchOutcome, HubSpotRecord
from crm.hubspot.client import HubSpotClient
from crm.hubspot.errors import (
    HubSpotConflictError,
    HubSpotError,
    HubSpotNotFoundError,
    HubSpotRefusedError,
    HubSpotUnavailableError,
)
from crm.hubspot.retries import may_have_happened
from crm.mirror import pending, row_edits
from crm.mirror.row_edits import Edit, New
from crm.models import Record
from crm.object_types import CONTACTS
from crm.outages import DATABASE_ERRORS, is_outage
from crm.portals import portals
from crm.portals.property_schemas import list_mirrored
from crm.push.immediate import FOR_ONE, Sent, connect_now, refresh_missing, send_now
from crm.push.job import enqueue_push
from crm.push.write_inputs import Entry
from crm.push.writes import check_version
from crm.queue import enqueue_once

_LONGEST_EMAIL = 254

log = structlog.get_logger(__name__)

WITHDRAW_TASK = "withdraw_customer"
FIELDS = ("email", "firstname", "lastname", "phone", "company", "website", "lifecyclestage")

_TRY_AGAIN = timedelta(seconds=30)
_LARGEST_SKEW = timedelta(seconds=60)
"""Between our clock and HubSpot's."""


def create(portal_id: int, entry: Entry) -> dict[str, Any]:
    """Create a customer on both sides.

    Args:
        portal_id: whose mirror.
        entry: with an ``email``.

    Returns:
        The customer, see ``customer_of``.

    Raises:
        HubSpotConflictError: HubSpot has a contact with this e-mail.
        HubSpotRefusedError: HubSpot refuses it.
        CRMError: it failed on either side, and neither keeps any of it.
    """
    with _failing_as("Error creating customer"):
        return _create(portal_id, entry)


def _create(portal_id: int, entry: Entry) -> dict[str, Any]:
    email = entry.key(CONTACTS)
    edit = in_one_transaction(lambda session: _insert(session, portal_id, email, entry))
    since = datetime.now(UTC)
    client = created = None
    try:
        if portals.find_push_pause(portal_id):
            raise HubSpotUnavailableError
        _refuse_taken_email(portal_id, edit)
        client = connect_now(portal_id, CONTACTS, FOR_ONE)
        created = hubspot_records.create(client, CONTACTS, entry.properties)
        _apply_created(portal_id, edit, created)
    except (HubSpotError, ConfigError, *DATABASE_ERRORS) as error:
        _undo(edit)
        if client and isinstance(error, HubSpotConflictError):
            error = _with_existing_id(client, email, error)
        if isinstance(error, HubSpotConflictError | HubSpotRefusedError):
            raise as_customer_error(error) from error
        if created or (client and _may_have_created(error)):
            withdraw(portal_id, email, since.isoformat(), dict(entry.properties))
        raise
    return get(portal_id, email)


def update(portal_id: int, email: str, entry: Entry, expected: Collection[str] | None) -> None:
    """Change a customer on both sides.

    Args:
        portal_id: whose mirror.
        email: the customer's.
        entry: what to change.
        expected: the tags of the versions that may be changed; None for any.

    Raises:
        NotFoundError: there is no such customer.
        PreconditionFailedError: it has moved on.
        HubSpotConflictError: another contact has the new e-mail.
        HubSpotRefusedError: HubSpot refuses it, or there is nothing to change.
        CRMError: it failed on either side, and neither keeps any of it.
    """
    if not entry.properties:
        raise as_customer_error(
            HubSpotRefusedError("No properties found to update, please provide at least one.")
        )
    with _failing_as("Error updating customer"):
        try:
            _update(portal_id, email, entry, expected)
        except HubSpotNotFoundError:
            # Archived or merged away there, which the mirror knows by now.
            _update(portal_id, email, entry, expected)


def _update(portal_id: int, email: str, entry: Entry, expected: Collection[str] | None) -> None:
    edit = in_one_transaction(lambda session: _change(session, portal_id, email, entry, expected))
    sent = send_now(portal_id, CONTACTS, [edit], FOR_ONE)
    if edit.id in sent.accepted:
        return
    refusal = sent.refused.get(edit.id)
    _undo_change(portal_id, edit, sent)
    refresh_missing(portal_id, CONTACTS, [edit], sent)
    if refusal:
        raise as_customer_error(refusal)
    raise HubSpotUnavailableError


def get(portal_id: int, email: str, *, only_contact_id: int | None = None) -> dict[str, Any]:
    """The customer with this e-mail, in any letter case; see ``customer_of``.

    Args:
        portal_id: whose mirror.
        email: as the caller wrote it.
        only_contact_id: the one contact that the caller may see; None for all.

    Raises:
        NotFoundError: there is none, or it is not for this caller.
    """
    if not email.isprintable():
        raise not_found(email)
    statement = select(Record).where(
        Record.portal_id == portal_id,
        Record.email == email.strip().lower(),
        Record.archived_at.is_(None),
    )
    with transaction() as session:
        row = session.scalar(statement)
        if row is None or only_contact_id not in (None, row.id):
            raise not_found(email)
        return customer_of(row)


def not_found(email: str) -> NotFoundError:
    """The refusal to speak of a customer that there is not."""
    return NotFoundError(f"Customer with email {email[:_LONGEST_EMAIL]} not found")


def customer_of(row: Record) -> dict[str, Any]:
    """A contact as a customer.

    Returns:
        ``{"uuid", "email", …, "createdat", "updatedat", "hubspot_id", "hubspot_createdat",
        "hubspot_updatedat", "sync_state"}``.
    """
    return {
        "uuid": row.uuid,
        **{name: row.properties.get(name) for name in FIELDS},
        "createdat": row.created_at,
        "updatedat": row.updated_at,
        "hubspot_id": row.hs_object_id,
        "hubspot_createdat": row.hs_created_at,
        "hubspot_updatedat": row.hs_modified_at,
        "sync_state": row.state,
    }


def as_customer_error(error: HubSpotError) -> HubSpotError:
    """HubSpot's refusal as customers' clients know it: with its status in the message."""
    renamed = type(error)(
        f"HubSpot API Error ({error.status}): {error.message}",
        category=error.category,
        correlation_id=error.correlation_id,
        errors=error.errors,
    )
    renamed.details = error.details
    return renamed


def withdraw(portal_id: int, email: str, since: str, properties: Mapping[str, str]) -> None:
    """Archive in HubSpot a contact of whose creation the answer was lost, sooner or later.

    One that was there before, that others have changed, or that stands in the mirror by now, is
    nobody's failure and stays.
    """
    names = list(properties)
    try:
        client = connect_now(portal_id, CONTACTS, FOR_ONE)
        found = hubspot_records.find_by_email(client, email, names)
        if found and not _is_mirrored(portal_id, email) and _is_ours(found, since, properties):
            hubspot_records.archive(client, CONTACTS, [found.id])
    except (HubSpotError, ConfigError) as error:
        log.warning("customer not withdrawn yet", reason=error.message)
        with transaction():
            enqueue_once(
                WITHDRAW_TASK,
                f"{portal_id}:{email}",
                at=datetime.now(UTC) + _TRY_AGAIN,
                portal_id=portal_id,
                email=email,
                since=since,
                properties=dict(properties),
            )


def _is_ours(found: HubSpotRecord, since: str, properties: Mapping[str, str]) -> bool:
    began = datetime.fromisoformat(since) - _LARGEST_SKEW
    is_new = found.created_at is not None and found.created_at >= began
    return is_new and all(
        (found.properties.get(name) or "").lower() == value.lower()
        for name, value in properties.items()
    )


def _is_mirrored(portal_id: int, email: str) -> bool:
    with transaction() as session:
        return bool(row_edits.find_by_keys(session, portal_id, CONTACTS, [email]))


def _insert(session: Session, portal_id: int, email: str, entry: Entry) -> Edit:
    existing = row_edits.find_by_keys(session, portal_id, CONTACTS, [email]).get(email)
    if existing:
        raise as_customer_error(pending.already_exists(existing.hs_object_id))
    return row_edits.insert(session, portal_id, CONTACTS, [New(entry.properties, None)])[0]


def _change(
    session: Session, portal_id: int, email: str, entry: Entry, expected: Collection[str] | None
) -> Edit:
    key = email.strip().lower()
    if not key.isprintable():
        raise not_found(email)
    wanted = [key, entry.properties.get("email", key)]
    found = row_edits.find_by_keys(session, portal_id, CONTACTS, wanted)
    row, holder = found.get(key), found.get(wanted[1])
    if row is None:
        raise not_found(email)
    check_version(row, expected)
    if holder and holder.id != row.id:
        raise as_customer_error(pending.already_exists(holder.hs_object_id))
    return row_edits.update(session, [(row, entry.properties)])[0]


def _refuse_taken_email(portal_id: int, edit: Edit) -> None:
    """Keep off HubSpot's record of another contact that is yet to give up the e-mail."""
    rows = pending.list_still_pending([edit.id])
    sendable = pending.find_sendable(portal_id, CONTACTS, rows)
    for refusal in sendable.refused.values():
        raise refusal
    if sendable.waiting:
        raise HubSpotUnavailableError("Another contact is still to give up the e-mail in HubSpot")


def _apply_created(portal_id: int, edit: Edit, created: HubSpotRecord) -> None:
    rows = pending.list_still_pending([edit.id])
    outcome = BatchOutcome(done={row.key: created for row in rows})
    pending.apply_outcome(rows, outcome, list_mirrored(portal_id, CONTACTS))


def _undo(edit: Edit) -> None:
    with transaction() as session:
        row_edits.undo(session, [edit])


def _undo_change(portal_id: int, edit: Edit, sent: Sent) -> None:
    """Undo a change here; where HubSpot may have it, have the old values sent there."""
    with transaction() as session:
        row_edits.undo(session, [edit])
        if edit.before and not sent.is_certain and edit.id not in sent.refused:
            old = {name: edit.before.properties.get(name) or "" for name in edit.names}
            row = row_edits.find_by_id(session, portal_id, CONTACTS, str(edit.uuid))
            if row:
                row_edits.update(session, [(row, old)])
                row_edits.release(session, [row.id])
            enqueue_push(portal_id)


def _with_existing_id(
    client: HubSpotClient, email: str, error: HubSpotConflictError
) -> HubSpotConflictError:
    """The same conflict with the id of the contact, which HubSpot does not always tell (seen)."""
    existing_id = error.existing_id or hubspot_records.find_contact_id(client, email)
    return error if error.existing_id or not existing_id else pending.already_exists(existing_id)


def _may_have_created(error: Exception) -> bool:
    return isinstance(error, HubSpotError) and may_have_happened(error)


@contextmanager
def _failing_as(message: str) -> Iterator[None]:
    """Within it, what fails on HubSpot's side is a 502 of this message, on ours a 500 or 503."""
    try:
        yield
    except (HubSpotConflictError, HubSpotRefusedError):
        raise
    except (HubSpotError, ConfigError) as error:
        log.error(message, reason=error.message)
        raise HubSpotError(message) from error
    except DATABASE_ERRORS as error:
        log.error(message, reason=type(error).__name__)
        raise (UnavailableError if is_outage(error) else CRMError)(message) from error
