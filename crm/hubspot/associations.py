"""Associations between records: HubSpot's associations API, v4 or dated."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from crm.hubspot.answers import BatchOutcome, batch_from, reading
from crm.hubspot.client import HubSpotClient
from crm.hubspot.errors import HubSpotError, HubSpotNotFoundError
from crm.hubspot.paging import next_after, parts
from crm.object_types import AssociationType, ObjectType

BATCH = 2000
"""The most inputs of one batch/create call."""
_READ_BATCH = 1000
# Not documented; seen live.
_ARCHIVE_BATCH = 100

Pair = tuple[str, str]
"""From id, to id."""


@dataclass(frozen=True)
class Label:
    """One way in which two records are associated."""

    category: str
    """HUBSPOT_DEFINED, USER_DEFINED or INTEGRATOR_DEFINED; type ids are unique within it."""
    type_id: int
    label: str | None
    """None for the unlabelled type, which every association of two types has."""


@dataclass(frozen=True)
class AssociatedRecord:
    """A record at the other end."""

    id: str
    labels: tuple[Label, ...]


def read(
    client: HubSpotClient, from_type: ObjectType, to_type: ObjectType, ids: Collection[str]
) -> dict[str, list[AssociatedRecord]]:
    """What any number of records are associated with, all of it, 1,000 records a request.

    Returns:
        Each id with what it is associated with; nothing also where the record does not exist.
    """
    found: dict[str, list[AssociatedRecord]] = {each: [] for each in ids}
    cursors: dict[str, str | None] = dict.fromkeys(found)
    while cursors:
        following: dict[str, str | None] = {}
        for some in parts(list(cursors), _READ_BATCH):
            for result in _read_page(client, from_type, to_type, some, cursors):
                with reading():
                    from_id, after = str(result["from"]["id"]), next_after(result)
                    found[from_id] += [_associated(each) for each in result["to"]]
                if after is not None:
                    following[from_id] = after
                if after is not None and after == cursors[from_id]:
                    raise HubSpotError("HubSpot's associations do not go on after their next page")
        cursors = following
    return found


def _read_page(
    client: HubSpotClient,
    from_type: ObjectType,
    to_type: ObjectType,
    ids: Collection[str],
    cursors: Mapping[str, str | None],
) -> list[Mapping[str, Any]]:
    inputs = [{"id": each} | ({"after": after} if (after := cursors[each]) else {}) for each in ids]
    body = client.batch("associations", from_type.name, to_type.name, "read", inputs=inputs)
    answer = batch_from(body)
    for error in answer.errors:
        # That a record has no associations HubSpot calls an error: NO_ASSOCIATIONS_FOUND.
        if not isinstance(error, HubSpotNotFoundError):
            raise error
    return answer.results


def archive(
    client: HubSpotClient, from_type: ObjectType, to_type: ObjectType, pairs: Collection[Pair]
) -> None:
    """Take any number of pairs apart, whatever their labels; HubSpot is silent of those that are.

    Raises:
        HubSpotError: some may be apart already.
    """
    targets: dict[str, list[dict[str, str]]] = {}
    for from_id, to_id in dict.fromkeys(pairs):
        targets.setdefault(from_id, []).append({"id": to_id})
    for some in parts(list(targets), _ARCHIVE_BATCH):
        inputs = [{"from": {"id": each}, "to": targets[each]} for each in some]
        client.batch("associations", from_type.name, to_type.name, "archive", inputs=inputs)


def create(
    client: HubSpotClient, association: AssociationType, pairs: Collection[Pair]
) -> BatchOutcome[Pair, None]:
    """Associate up to 2,000 pairs; one that stands already is left as it is.

    Raises:
        HubSpotError: nothing was written, or it is not known whether.
    """
    kind = {
        "associationCategory": "HUBSPOT_DEFINED",
        "associationTypeId": association.type_id,
    }
    body = client.batch(
        *("associations", association.from_type.name, association.to_type.name, "create"),
        inputs=[
            {"from": {"id": from_id}, "to": {"id": to_id}, "types": [kind]}
            for from_id, to_id in pairs
        ],
    )
    answer = batch_from(body)
    if not answer.errors:
        return BatchOutcome(done=dict.fromkeys(pairs))
    with reading():
        named = {_pair(each) for each in answer.results}
    outcome: BatchOutcome[Pair, None] = BatchOutcome(done=dict.fromkeys(named & set(pairs)))
    if len(pairs) == 1 and not outcome.done:
        # The errors do not name their pairs in a way to rely on; about one alone there is no doubt.
        outcome.refused = dict.fromkeys(pairs, answer.errors[0])
    return outcome


def _pair(result: Mapping[str, Any]) -> Pair:
    """The pair of a result, in either of its shapes; HubSpot mixes strings and numbers."""
    if "fromObjectId" in result:
        return str(result["fromObjectId"]), str(result["toObjectId"])
    return str(result["from"]["id"]), str(result["to"]["id"])


def _associated(row: Mapping[str, Any]) -> AssociatedRecord:
    labels = (
        Label(str(each["category"]), int(each["typeId"]), each.get("label"))
        for each in row["associationTypes"]
    )
    return AssociatedRecord(str(row["toObjectId"]), tuple(labels))
