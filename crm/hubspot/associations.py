"""Associations between records: HubSpot's associations API, v4 or dated."""

from collections.abc import Collection, Mapping
from typing import Any

from crm.hubspot.answers import BatchOutcome, batch_from, reading
from crm.hubspot.client import HubSpotClient
from crm.objects import AssociationType

BATCH = 2000
"""The most inputs of one batch/create call."""

Pair = tuple[str, str]
"""From id, to id."""


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
    body = client.call(
        "POST",
        client.path(
            "associations",
            association.from_type.name,
            association.to_type.name,
            "batch",
            "create",
        ),
        body={
            "inputs": [
                {"from": {"id": from_id}, "to": {"id": to_id}, "types": [kind]}
                for from_id, to_id in pairs
            ]
        },
        repeatable=True,
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
