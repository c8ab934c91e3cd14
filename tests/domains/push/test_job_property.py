"""Whatever graphs come, and whatever goes wrong on the way, both sides end up the same."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from crm.db import transaction
from crm.mirror.rows import list_portals_with_unsent
from tests.domains.graphs import differences, end_pause, states, write_contact, write_graph

EMAILS = st.sampled_from([f"person{number}@example.com" for number in range(6)])
WORDS = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=12)

GRAPHS = st.builds(
    lambda email, phone, name, tickets: (
        "graph",
        {
            "email": email,
            "contact": {"phone": phone},
            "deal": {"dealname": name},
            "tickets": tickets,
        },
    ),
    *(EMAILS, WORDS, WORDS, st.integers(0, 3)),
)
CHANGES = st.builds(
    lambda email, name: ("change", {"email": email, "lastname": name}), EMAILS, WORDS
)
PUSHES = st.just(("push", {}))

FAULTS = st.lists(
    st.builds(
        dict,
        kind=st.sampled_from(["status", "reset_before", "reset_after", "truncated_json", "html"]),
        # Not 429, after which the budget lets ten seconds pass.
        status=st.sampled_from([423, 500, 503]),
        retry_after=st.just(0),
        probability=st.sampled_from([0.3, 0.7, 1.0]),
        seed=st.integers(0, 1000),
        count=st.integers(1, 5),
        match=st.sampled_from(
            ["", "contacts/batch", "deals/batch", "tickets/batch", "associations"]
        ),
    ),
    max_size=4,
)
EMPTY = """
    DELETE FROM records;
    DELETE FROM procrastinate_jobs;
    UPDATE portals SET push_failures = 0, push_retry_at = NULL, push_error = NULL, set_up_at = NULL;
"""


@pytest.fixture
def take(portal_id, send):
    """Takes one step of a story."""

    def do(step):
        name, arguments = step
        if name == "graph":
            write_graph(portal_id, **arguments)
        elif name == "change":
            write_contact(portal_id, **arguments)
        else:
            send()
            end_pause()

    return do


@settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=st.lists(GRAPHS | CHANGES | PUSHES, min_size=3, max_size=12), faults=FAULTS)
def test_both_sides_end_up_the_same_whatever_graphs_are_pushed(
    take, sandbox, hubspot, steps, faults
):
    sandbox.reset()
    with transaction() as session:
        session.execute(text(EMPTY))
    sandbox.set_faults([{key: each[key] for key in wanted(each)} for each in faults])

    for step in steps:
        take(step)
    sandbox.set_faults([])
    for _ in range(3):
        if list_portals_with_unsent():
            take(("push", {}))

    assert differences(hubspot) == []
    assert not [each for each in states() if "synced" not in each]


def wanted(fault):
    is_status = fault["kind"] == "status"
    return [name for name in fault if is_status or name not in ("status", "retry_after")]
