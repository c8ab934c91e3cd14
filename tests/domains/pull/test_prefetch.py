"""Reading ahead: nothing is lost or kept too long, whoever of the two stops first."""

import math
import threading
import time

import pytest

from crm.hubspot.answers import HubSpotRecord
from crm.pull.prefetch import read_ahead
from tests.conftest import wait_until

pytestmark = pytest.mark.usefixtures("app")


def page(first):
    return [HubSpotRecord(str(first + n), {}) for n in range(100)]


def ids(batches):
    return [int(record.id) for batch in batches for record in batch.records]


def test_every_record_comes_once_and_the_last_batch_says_so():
    batches = list(read_ahead(iter([page(0), page(100), page(200)]), "", math.inf))

    assert ids(batches) == list(range(300))
    assert [batch.is_last for batch in batches[:-1]] == [False] * (len(batches) - 1)
    assert batches[-1].is_last


def test_what_came_before_an_error_comes_before_it():
    def pages():
        yield page(0)
        raise OSError("gone")

    batches = []
    with pytest.raises(OSError, match="gone"):
        batches.extend(read_ahead(pages(), "", math.inf))

    # The list was being extended when it was raised.
    assert ids(batches) == list(range(100))


def test_a_slow_taker_is_waited_for():
    asked = []

    def pages():
        for number in range(100):
            asked.append(number)
            yield page(number * 100)

    batches = read_ahead(pages(), "", math.inf)
    next(batches)
    wait_until(lambda: len(asked) >= 11)
    time.sleep(0.1)

    assert len(asked) <= 23
    batches.close()


def test_who_stops_taking_stops_the_reading():
    def pages():
        while True:
            yield page(0)

    before = set(threading.enumerate())
    batches = read_ahead(pages(), "", math.inf)
    next(batches)
    [reader] = set(threading.enumerate()) - before
    batches.close()

    assert not reader.is_alive()


def test_out_of_time_it_ends_after_the_first_page_with_something_new():
    start = HubSpotRecord("7", {})
    pages = [[start], [start, HubSpotRecord("8", {})], page(100)]

    batches = list(read_ahead(iter(pages), "7", until=0))

    assert ids(batches) == [7, 7, 8]
    assert not batches[-1].is_last


def test_where_there_is_nothing_the_end_is_told():
    [batch] = read_ahead(iter([]), "", math.inf)

    assert (batch.records, batch.is_last) == ([], True)
