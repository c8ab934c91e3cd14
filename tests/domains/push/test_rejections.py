"""Dropping what HubSpot refused: in the end both sides agree, whatever happened before."""

import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as some
from sqlalchemy import select, text

from crm.db import transaction
from crm.mirror.rows import drafts_sql
from crm.models import Record
from crm.object_types import DEALS
from crm.portals import portals
from crm.pull.apply import refresh
from crm.push import rejections
from tests.domains.graphs import records_in, states, write_graph
from tests.sandbox.client import OBJECTS

_CHANGE = text(f"""
    UPDATE records SET properties = properties || CAST(:changes AS jsonb),
        drafts = drafts || {drafts_sql("CAST(:changes AS jsonb)")},
        unsent = ARRAY(SELECT DISTINCT unnest(
            unsent || ARRAY(SELECT jsonb_object_keys(CAST(:changes AS jsonb))))),
        state = 'pending', rejection = NULL, revision = revision + 1
    WHERE object_type = 'deals'
""")  # noqa: S608 - our own

CHANGED = ("dealname", "dealstage")
STAGES = some.sampled_from(["qualifiedtobuy", "closedwon", "nowhere", "neither"])
NAMES = some.sampled_from(["One", "Two", None])
STEPS = some.one_of(
    some.tuples(some.just("change"), STAGES, NAMES),
    some.tuples(some.just("edit"), STAGES.filter(lambda each: each[0] != "n"), NAMES),
    some.sampled_from([("push",), ("read",), ("resend",), ("drop",), ("forget",)]),
)


@pytest.fixture
def step(portal_id, hubspot, send):
    """Does one thing that may happen to the deal."""

    def change(stage, name):
        changes = orjson.dumps(changes_of(stage, name)).decode()
        with transaction() as session:
            session.execute(_CHANGE, {"changes": changes})

    def edit(stage, name):
        body = {"properties": changes_of(stage, name)}
        assert hubspot.patch(f"{OBJECTS}/deals/{deal().hs_object_id}", body).status_code == 200

    def read():
        refresh(portals.connect(portal_id), portal_id, DEALS, [deal().hs_object_id])

    def forget():
        """Nobody noted what the drafts were to replace."""
        with transaction() as session:
            session.execute(text("UPDATE records SET drafts = '{}'"))

    ways = {
        "change": change,
        "edit": edit,
        "push": send,
        "read": read,
        "resend": lambda: rejections.resend(portal_id, [str(deal().uuid)]),
        "drop": lambda: rejections.drop(portal_id, [str(deal().uuid)]),
        "forget": forget,
    }
    return lambda kind, *values: ways[kind](*values)


def changes_of(stage, name):
    return {"dealstage": stage} | ({"dealname": name} if name else {})


def deal():
    with transaction() as session:
        found = session.scalars(select(Record).where(Record.object_type == "deals")).one()
        session.expunge(found)
        return found


def test_the_mirror_is_as_hubspot_has_it_after_a_drop(app, portal_id, sandbox, hubspot, step, send):
    @settings(
        max_examples=8,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(steps=some.lists(STEPS, min_size=2, max_size=8), forgets=some.booleans())
    @example(steps=[("change", "nowhere", "One")], forgets=False)
    @example(steps=[("change", "nowhere", "One")], forgets=True)
    def check(steps, forgets):
        write_graph(portal_id, "ada@example.com")
        send()
        for each in steps:
            step(*each)
        for each in ("push", "read", *(["forget"] if forgets else []), "drop"):
            step(each)

        here, left = deal(), states()
        (there,) = records_in(hubspot, "deals", *CHANGED)
        with transaction() as session:
            session.execute(text("DELETE FROM associations; DELETE FROM records"))
            session.execute(text("UPDATE portals SET set_up_at = NULL"))
        sandbox.reset()

        assert {name: here.properties[name] for name in CHANGED} == {
            name: there["properties"][name] for name in CHANGED
        }
        assert (here.unsent, here.drafts) == ([], {})
        assert left == {
            "contacts synced": 1,
            "deals synced": 1,
            "tickets synced": 1,
            "associations synced": 2,
        }

    check()
