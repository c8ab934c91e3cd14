"""The totals of boards, as a model in Python counts them."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from crm.db import transaction
from crm.mirror.reads import pipeline_boards
from crm.models import Record
from crm.object_types import DEALS

AMOUNTS = ("100", "0.5", "-3", None, "a lot", "", "NaN", "Infinity", "1e400", "9" * 400, " 7 ")
COUNTED = {"100": 100, "0.5": 0.5, "-3": -3, " 7 ": 7}
STAGES, PIPELINES = ("won", "lost", None), ("one", "two")

deals = some.lists(
    some.tuples(
        some.sampled_from(PIPELINES), some.sampled_from(STAGES), some.sampled_from(AMOUNTS)
    ),
    max_size=40,
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(given_deals=deals)
def test_totals_count_every_deal_and_every_amount(app, portal_id, given_deals):
    with transaction() as session:
        session.query(Record).delete()
        session.add_all(
            Record(
                portal_id=portal_id,
                object_type="deals",
                properties={"pipeline": pipeline, "dealstage": stage, "amount": amount},
            )
            for pipeline, stage, amount in given_deals
        )
    expected: dict[tuple[str, str], tuple[int, float]] = {}
    for pipeline, stage, amount in given_deals:
        count, total = expected.get((pipeline, stage or ""), (0, 0))
        expected[pipeline, stage or ""] = (count + 1, total + COUNTED.get(amount, 0))

    totals = pipeline_boards.read_totals(portal_id, DEALS)
    board = pipeline_boards.read_board(portal_id, DEALS, "one")

    assert {key: (each.count, each.amount) for key, each in totals.items()} == expected
    assert {("one", stage): total for stage, total in board.totals.items()} == {
        key: total for key, total in totals.items() if key[0] == "one"
    }
    assert {stage: len(cards) for stage, cards in board.cards.items()} == {
        stage: min(total.count, pipeline_boards.MOST_CARDS) for stage, total in board.totals.items()
    }
