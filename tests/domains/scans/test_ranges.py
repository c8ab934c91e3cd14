"""However many readers share a list, whoever dies when: every id is stored."""

import random
import threading
from bisect import bisect_left, bisect_right

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm.hubspot.errors import HubSpotError
from crm.scans.ranges import Bounds, CursorError, Plan, Range


class List:
    """HubSpot's, whose cursor names the next id, or the last one."""

    def __init__(self, ids, size, *, names_last=False):
        self.ids, self.size, self.names_last = ids, size, names_last
        self.calls = 0

    def page(self, after):
        self.calls += 1
        find = bisect_right if self.names_last else bisect_left
        first = find(self.ids, int(after or 0))
        page, rest = self.ids[first : first + self.size], self.ids[first + self.size :]
        if not rest:
            return page, None
        return page, str(page[-1] if self.names_last else rest[0])


def go_on(kept, listed, dice, steps):
    """Readers in any order, and a writer behind them, until all is stored or the process dies."""
    plan = Plan(
        [Range(each.number, False, each.after, each.until, each.is_done) for each in kept],
        max(listed.ids, default=0),
        may_split=True,
    )
    stored, reading, read = set(), [], []
    for _ in range(steps):
        if plan.is_stored:
            break
        action = dice.randrange(4)
        if action == 0 and read:
            # The writer: some pages and all bounds in one go.
            for _ in range(dice.randint(1, len(read))):
                piece, ids, after, is_last = read.pop(0)
                stored |= set(ids)
                piece.stored_after, piece.is_stored = after or piece.stored_after, is_last
            kept = plan.list_bounds()
        elif action == 1 and len(reading) < 4 and (piece := take(plan)):
            reading.append(piece)
        elif reading:
            piece = dice.choice(reading)
            ids, after = listed.page(piece.after)
            is_last = plan.note(piece, ids, after)
            ids = [each for each in ids if piece.until is None or each <= piece.until]
            read.append((piece, ids, after, is_last))
            if is_last:
                reading.remove(piece)
    return kept, stored


def take(plan):
    """Without waiting: there may be nothing to read at the moment."""
    found = plan._find_free() or plan._halve()
    if found:
        found.is_taken = True
    return found


@settings(max_examples=100, deadline=None)
@given(
    count=st.integers(0, 300),
    step=st.integers(1, 50),
    size=st.integers(1, 7),
    names_last=st.booleans(),
    lives=st.lists(st.integers(1, 60), max_size=8),
    seed=st.integers(0, 10_000),
)
def test_every_id_is_stored_no_matter_which_reader_dies_when(
    count, step, size, names_last, lives, seed
):
    dice = random.Random(seed)
    ids = {dice.randrange(1, count * step + 2) for _ in range(count)}
    listed = List(sorted(ids), size, names_last=names_last)
    kept, stored = [Bounds(0, False, "", None, False)], set()

    for steps in lives:
        kept, more = go_on(kept, listed, dice, steps)
        stored |= more
    while not all(each.is_done for each in kept):
        kept, more = go_on(kept, listed, dice, 10_000)
        stored |= more

    assert stored == ids


def test_readers_share_a_list_without_reading_much_twice():
    listed = List(list(range(7, 120_000, 10)), 100)
    plan = Plan([Range(0, False)], listed.ids[-1], may_split=True)
    seen, lock = set(), threading.Lock()

    def work():
        while (piece := plan.take()) is not None:
            is_last = False
            while not is_last:
                with lock:
                    ids, after = listed.page(piece.after)
                    seen.update(ids)
                is_last = plan.note(piece, ids, after)

    readers = [threading.Thread(target=work) for _ in range(8)]
    for each in readers:
        each.start()
    for each in readers:
        each.join()

    assert seen == set(listed.ids)
    assert listed.calls <= 130


@pytest.mark.parametrize(
    ("ids", "after"),
    [
        ([5, 4], "6"),
        ([4, 4], "6"),
        ([4, 5], "4"),
        ([4, 5], "page-2"),
        ([4, 5], "²"),
        ([1, 2], "9"),
    ],
)
def test_a_page_that_no_list_by_ids_would_give_is_noticed(ids, after):
    piece = Range(0, False, after="3")
    plan = Plan([piece], 100, may_split=True)

    with pytest.raises(CursorError):
        plan.note(piece, ids, after)


def test_a_list_that_goes_round_in_a_cycle_is_noticed():
    piece = Range(0, False, after="page-2")
    plan = Plan([piece], 100, may_split=False)

    with pytest.raises(HubSpotError, match="does not go on"):
        plan.note(piece, [1], "page-2")


def test_readers_that_wait_for_a_range_end_when_there_is_none_any_more():
    piece = Range(0, False)
    plan = Plan([piece], 100, may_split=True)
    assert plan.take() is piece
    taken = []
    waiting = threading.Thread(target=lambda: taken.append(plan.take()))
    waiting.start()

    plan.note(piece, [1, 2], None)
    waiting.join(30)

    assert taken == [None]
