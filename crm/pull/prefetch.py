"""Reading ahead: the next pages of a list are fetched while the last ones are applied."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from contextvars import copy_context
from dataclasses import dataclass
from datetime import datetime
from queue import Empty, Queue
from threading import Event, Thread

from flask import current_app

from crm.hubspot.answers import HubSpotRecord
from crm.pull.associations import read_clock

_MOST_PAGES = 10
"""That wait, and that are given at once: a bound of the memory."""
_CLOCK_IS_GOOD_FOR = 1.0


@dataclass(frozen=True)
class Batch:
    """Pages that have come since the last batch was taken."""

    records: Sequence[HubSpotRecord]
    asked_at: datetime
    """When HubSpot was asked for the first of them."""
    is_last: bool


@dataclass(frozen=True)
class _Page:
    records: Sequence[HubSpotRecord]
    asked_at: datetime


@dataclass(frozen=True)
class _End:
    is_last: bool
    error: Exception | None = None


def read_ahead(
    pages: Iterator[Sequence[HubSpotRecord]], start: str, until: float
) -> Iterator[Batch]:
    """The pages in batches: one by one where HubSpot is slow, up to ten where it is fast.

    Args:
        pages: read in a thread of their own, within this app.
        start: the id that they begin with, where it is known already.
        until: by ``time.monotonic``; no page is asked for after it, once there was another record.

    Raises:
        Exception: what reading raised, after all that was read before.
    """
    context = current_app.app_context()
    ahead: Queue[_Page | _End] = Queue(_MOST_PAGES)
    abandoned = Event()
    has_got_on = False

    def is_over(page: _Page) -> bool:
        # What goes round the last record for ever would never see that it is the last.
        nonlocal has_got_on
        has_got_on |= any(each.id != start for each in page.records)
        return abandoned.is_set() or (has_got_on and time.monotonic() > until)

    reading = Thread(
        target=copy_context().run,
        args=(_read, context, _dated(pages), ahead, is_over),
        daemon=True,
    )
    reading.start()
    try:
        yield from _batches(ahead)
    finally:
        abandoned.set()
        while reading.is_alive():
            with suppress(Empty):
                ahead.get(timeout=0.05)


def _read(
    context: AbstractContextManager[object],
    pages: "Iterator[_Page]",
    ahead: "Queue[_Page | _End]",
    is_over: Callable[[_Page], bool],
) -> None:
    try:
        with context:
            for page in pages:
                ahead.put(page)
                if is_over(page):
                    ahead.put(_End(is_last=False))
                    return
        ahead.put(_End(is_last=True))
    except Exception as error:
        ahead.put(_End(is_last=False, error=error))


def _dated(pages: Iterator[Sequence[HubSpotRecord]]) -> Iterator[_Page]:
    asked_at, looked = read_clock(), time.monotonic()
    for page in pages:
        yield _Page(page, asked_at)
        # A time that is a little too early does no harm, and a look for each page takes time.
        if time.monotonic() - looked > _CLOCK_IS_GOOD_FOR:
            asked_at, looked = read_clock(), time.monotonic()


def _batches(ahead: "Queue[_Page | _End]") -> Iterator[Batch]:
    end: _End | None = None
    while end is None:
        pages: list[_Page] = []
        for each in _waiting(ahead):
            if isinstance(each, _End):
                end = each
            else:
                pages.append(each)
        if pages or (end and end.is_last):
            records = [record for page in pages for record in page.records]
            asked_at = pages[0].asked_at if pages else read_clock()
            yield Batch(records, asked_at, bool(end and end.is_last))
    if end.error:
        raise end.error


def _waiting(ahead: "Queue[_Page | _End]") -> Iterator[_Page | _End]:
    """Wait for one, and give what has come besides."""
    yield ahead.get()
    for _ in range(_MOST_PAGES - 1):
        try:
            yield ahead.get_nowait()
        except Empty:
            return
