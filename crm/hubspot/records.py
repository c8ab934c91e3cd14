"""Records of any object type: HubSpot's CRM objects API.

Source of the batch rules: HubSpot docs, error-handling and using-object-apis.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from crm.hubspot.answers import (
    BatchAnswer,
    BatchOutcome,
    HubSpotRecord,
    batch_from,
    parse_time,
    reading,
)
from crm.hubspot.client import HubSpotClient
from crm.hubspot.errors import HubSpotError, HubSpotNotFoundError
from crm.hubspot.paging import parts
from crm.object_types import CONTACTS, ObjectType

BATCH = 100
"""The most inputs of one batch call."""
HISTORY_BATCH = 50
"""The most inputs of a batch read with histories."""

_MORE_EMAILS = "hs_additional_emails"


@dataclass(frozen=True)
class Write:
    """One input of a batch."""

    trace_id: str
    """Comes back with this input's result or error; unique within the batch."""
    id: str
    """An upsert's unique value, an update's record id."""
    properties: Mapping[str, str]
    """Values as strings; an empty one clears the property."""


@dataclass(frozen=True)
class BatchRead:
    """What became of a batch of ids."""

    found: Mapping[str, HubSpotRecord]
    """By the record's own id, which is not the one asked for where that was merged into it."""
    missing: Collection[str]
    """The ids that no found record bears: archived, deleted, merged or never given."""


def upsert(
    client: HubSpotClient, object_type: ObjectType, writes: Sequence[Write]
) -> BatchOutcome[str, HubSpotRecord]:
    """Create or update up to 100 records by the type's unique property.

    Every input carries its trace id, so a bad one comes back alone in a 207. Doing it twice
    changes nothing.

    Raises:
        HubSpotError: nothing was written, or it is not known whether.
    """
    inputs = [{"idProperty": object_type.id_property} | _input(write) for write in writes]
    body = client.batch("objects", object_type.name, "upsert", inputs=inputs)
    # HubSpot lower-cases e-mails, so keys are compared without their case.
    keys = {write.id.lower(): write.trace_id for write in writes}
    return _outcome(
        body, keys, lambda record: (record.properties.get(object_type.id_property) or "").lower()
    )


def update(
    client: HubSpotClient, object_type: ObjectType, writes: Sequence[Write]
) -> BatchOutcome[str, HubSpotRecord]:
    """Update up to 100 records by their HubSpot ids; otherwise like ``upsert``."""
    inputs = [_input(write) for write in writes]
    body = client.batch("objects", object_type.name, "update", inputs=inputs)
    return _outcome(body, {write.id: write.trace_id for write in writes}, lambda record: record.id)


def _input(write: Write) -> dict[str, Any]:
    return {"id": write.id, "properties": write.properties, "objectWriteTraceId": write.trace_id}


def create(
    client: HubSpotClient, object_type: ObjectType, properties: Mapping[str, str]
) -> HubSpotRecord:
    """Create a record; after a lost answer nobody knows whether it was.

    Raises:
        HubSpotConflictError: there is one with such a unique value, such as an e-mail.
        HubSpotError: it was not created or, if ``retryable``, may have been.
    """
    path = client.path("objects", object_type.name)
    body = client.call("POST", path, body={"properties": properties}, repeatable=False)
    with reading():
        return HubSpotRecord.from_json(body)


def find_by_email(
    client: HubSpotClient, email: str, properties: Sequence[str]
) -> HubSpotRecord | None:
    """The live contact whose own address this is, as fresh as HubSpot has it."""
    path = client.path("objects", CONTACTS.name, email)
    params = {"idProperty": "email", "properties": ",".join(properties)}
    try:
        body = client.call("GET", path, params=params, repeatable=True)
    except HubSpotNotFoundError:
        return None
    with reading():
        return HubSpotRecord.from_json(body)


def get(client: HubSpotClient, object_type: ObjectType, record_id: str) -> HubSpotRecord:
    """Read one record; unlike a batch, HubSpot then follows the id of one that was merged away.

    Raises:
        HubSpotNotFoundError: there is none, or it is archived.
    """
    path = client.path("objects", object_type.name, record_id)
    body = client.call("GET", path, repeatable=True)
    with reading():
        return HubSpotRecord.from_json(body)


def read_batch(
    client: HubSpotClient,
    object_type: ObjectType,
    ids: Collection[str],
    *,
    properties: Sequence[str],
    archived: bool = False,
) -> BatchRead:
    """Read any number of records by their ids, 100 a request.

    Args:
        client: of the portal.
        object_type: whose records.
        ids: HubSpot's; one that comes twice is read once.
        properties: to read.
        archived: look among the archived records instead of the live ones.
    """
    found: dict[str, HubSpotRecord] = {}
    params = {"archived": "true"} if archived else None
    for answer in _read(
        client, object_type, ids, BATCH, params=params, properties=list(properties)
    ):
        for error in answer.errors:
            if not isinstance(error, HubSpotNotFoundError):
                raise error
        with reading():
            found |= {each.id: each for each in map(HubSpotRecord.from_json, answer.results)}
    return BatchRead(found, set(ids) - found.keys())


def find_ids(
    client: HubSpotClient, object_type: ObjectType, values: Collection[str]
) -> dict[str, str]:
    """The ids of live records by their type's unique property, 100 a request; none for others.

    Args:
        client: of the portal.
        object_type: of the records.
        values: of its ``id_property``; e-mails in lower case.
    """
    name = object_type.id_property
    found: dict[str, str] = {}
    for answer in _read(client, object_type, values, BATCH, properties=[name], idProperty=name):
        with reading():
            for record in map(HubSpotRecord.from_json, answer.results):
                found[(record.properties.get(name) or "").lower()] = record.id
    return {each: found[each.lower()] for each in values if each.lower() in found}


def read_change_times(
    client: HubSpotClient, object_type: ObjectType, ids: Collection[str], names: Sequence[str]
) -> dict[tuple[str, str], datetime]:
    """When properties of any number of records were last changed, by record id and name.

    50 records a request, as HubSpot allows where histories are asked for; what it tells nothing
    of is left out.
    """
    times: dict[tuple[str, str], datetime] = {}
    asked = {"properties": [], "propertiesWithHistory": list(names)}
    for answer in _read(client, object_type, ids, HISTORY_BATCH, **asked):
        with reading():
            for result in answer.results:
                for name, versions in (result.get("propertiesWithHistory") or {}).items():
                    moments = filter(None, (parse_time(each["timestamp"]) for each in versions))
                    if (last := max(moments, default=None)) is not None:
                        times[str(result["id"]), name] = last
    return times


def _read(
    client: HubSpotClient, object_type: ObjectType, ids: Collection[str], size: int, **asked: Any
) -> Iterator[BatchAnswer]:
    for some in parts(list(dict.fromkeys(ids)), size):
        inputs = [{"id": each} for each in some]
        yield batch_from(client.batch("objects", object_type.name, "read", inputs=inputs, **asked))


def archive(client: HubSpotClient, object_type: ObjectType, ids: Collection[str]) -> None:
    """Archive any number of records, 100 a request; HubSpot is silent of those that are gone."""
    for some in parts(list(dict.fromkeys(ids)), BATCH):
        inputs = [{"id": each} for each in some]
        client.batch("objects", object_type.name, "archive", inputs=inputs)


def find_contact_id(client: HubSpotClient, email: str) -> str | None:
    """The id of the contact that has this address, in lower case, as its own or a further one.

    By search, since whether ``idProperty=email`` knows of further addresses is not documented;
    so what was written within the last minute may not be found.
    """
    filters = (
        {"propertyName": "email", "operator": "EQ", "value": email},
        {"propertyName": _MORE_EMAILS, "operator": "CONTAINS_TOKEN", "value": email},
        # What a token is in a list of addresses is not documented.
        {"propertyName": _MORE_EMAILS, "operator": "CONTAINS_TOKEN", "value": f"*{email}*"},
    )
    body = client.call(
        "POST",
        client.path("objects", CONTACTS.name, "search"),
        body={
            "filterGroups": [{"filters": [each]} for each in filters],
            "properties": ["email", _MORE_EMAILS],
            "limit": BATCH,
        },
        repeatable=True,
    )
    with reading():
        for record in map(HubSpotRecord.from_json, body["results"]):
            # A token may be a part of another address.
            more = (record.properties.get(_MORE_EMAILS) or "").lower().split(";")
            if email in (record.properties.get("email"), *more):
                return record.id
    return None


def _outcome(
    body: Any, keys: Mapping[str, str], key_of: Callable[[HubSpotRecord], str]
) -> BatchOutcome[str, HubSpotRecord]:
    """Match results and errors to writes by trace id, else by key; never by position."""
    answer = batch_from(body)
    known = set(keys.values())
    outcome: BatchOutcome[str, HubSpotRecord] = BatchOutcome()
    with reading():
        records = [HubSpotRecord.from_json(each) for each in answer.results]
    for record in records:
        trace_id = record.trace_id if record.trace_id in known else keys.get(key_of(record))
        if trace_id is not None:
            outcome.done[trace_id] = record
    for error in answer.errors:
        for trace_id in _named(error, keys, known):
            outcome.refused.setdefault(trace_id, error)
    if len(known) == 1 and not outcome.done and not outcome.refused:
        # About one input alone there is no doubt, however HubSpot names it.
        outcome.done.update(zip(known, records, strict=False))
        outcome.refused.update(zip(known, [] if records else answer.errors, strict=False))
    return outcome


def _named(error: HubSpotError, keys: Mapping[str, str], known: set[str]) -> Iterator[str]:
    yield from (trace_id for trace_id in error.trace_ids if trace_id in known)
    yield from (keys[each.lower()] for each in error.ids if each.lower() in keys)
