"""What is true of every batch, whatever is in it."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hubspot_sandbox import SandboxServer

from .client import HubSpot

SETTINGS = settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
# A few addresses, so that conflicts happen; one of them is not valid at all.
ADDRESSES = st.sampled_from(
    ["a@example.com", "A@example.com", "b@example.com", "c@example.com", "nope"]
)
STORED = st.sets(st.sampled_from(["a@example.com", "b@example.com"]))


def emails(hubspot: HubSpot) -> set[str]:
    answer = hubspot.get("/crm/v3/objects/contacts", limit=100)
    return {each["properties"]["email"] for each in answer.json()["results"]}


def prepare(sandbox: SandboxServer, hubspot: HubSpot, stored: set[str]) -> None:
    sandbox.reset()
    for email in stored:
        hubspot.create("contacts", email=email)


@SETTINGS
@given(stored=STORED, wanted=st.lists(ADDRESSES, min_size=1, max_size=6))
def test_creating_without_trace_ids_is_all_or_nothing(
    sandbox: SandboxServer, hubspot: HubSpot, stored: set[str], wanted: list[str]
) -> None:
    prepare(sandbox, hubspot, stored)
    answer = hubspot.batch(
        "contacts", "create", *({"properties": {"email": each}} for each in wanted)
    )

    if answer.status_code == 201:
        assert emails(hubspot) == stored | set(map(str.lower, wanted))
        assert len(set(map(str.lower, wanted))) == len(wanted)
    else:
        assert answer.status_code in (400, 409)
        assert emails(hubspot) == stored


@SETTINGS
@given(stored=STORED, wanted=st.lists(ADDRESSES, min_size=1, max_size=6))
def test_creating_with_trace_ids_answers_for_every_input_once(
    sandbox: SandboxServer, hubspot: HubSpot, stored: set[str], wanted: list[str]
) -> None:
    prepare(sandbox, hubspot, stored)
    answer = hubspot.batch(
        "contacts",
        "create",
        *(
            {"properties": {"email": each}, "objectWriteTraceId": str(at)}
            for at, each in enumerate(wanted)
        ),
    )

    body = answer.json()
    written = {each["objectWriteTraceId"]: each for each in body["results"]}
    refused = {each["context"]["objectWriteTraceId"][0] for each in body.get("errors", [])}
    assert answer.status_code == (207 if refused else 201)
    assert sorted([*written, *refused]) == sorted(map(str, range(len(wanted))))
    assert emails(hubspot) == stored | {each["properties"]["email"] for each in written.values()}
    for trace, record in written.items():
        assert record["properties"]["email"] == wanted[int(trace)].lower()


@SETTINGS
@given(
    stored=STORED,
    wanted=st.lists(ADDRESSES.filter(lambda each: each != "nope"), min_size=1, unique_by=str.lower),
    times=st.integers(1, 3),
)
def test_an_upsert_done_again_changes_nothing_but_the_new_flag(
    sandbox: SandboxServer,
    hubspot: HubSpot,
    stored: set[str],
    wanted: list[str],
    times: int,
) -> None:
    prepare(sandbox, hubspot, stored)
    inputs: list[dict[str, Any]] = [
        {"id": each, "idProperty": "email", "properties": {"firstname": "A"}} for each in wanted
    ]
    answers = [hubspot.batch("contacts", "upsert", *inputs).json() for _ in range(times + 1)]

    new = {each["properties"]["email"] for each in answers[0]["results"] if each["new"]}
    assert new == set(map(str.lower, wanted)) - stored
    assert not any(each["new"] for later in answers[1:] for each in later["results"])
    assert len({frozenset(each["id"] for each in one["results"]) for one in answers}) == 1
    assert emails(hubspot) == stored | set(map(str.lower, wanted))
