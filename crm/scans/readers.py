"""Reading: several readers go through a portal's deals at once, each through a range of ids."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice, takewhile
from queue import Empty, Full, Queue
from typing import Self

from crm.hubspot import associations as hubspot_associations
from crm.hubspot.answers import HubSpotRecord
from crm.hubspot.client import HubSpotClient
from crm.hubspot.errors import HubSpotRefusedError
from crm.hubspot.lists import Page, Selection, read_page
from crm.hubspot.search import search
from crm.object_types import DEALS, OBJECT_TYPES
from crm.scans.commands import ScanConfig
from crm.scans.deal_rows import find_id
from crm.scans.filters import list_filters, list_properties
from crm.scans.ranges import AbandonedError, CursorError, Plan, Range

READERS = 8
"""As many as keep HubSpot's limit of 19 calls a second busy while each takes 0.4 s."""
_MOST_PAGES = 10
"""That wait to be stored: a bound of the memory."""
_SEARCHED = 1_000
"""Deals of a search that are given together: as many as one read of associations takes."""


@dataclass(frozen=True)
class ReadPage:
    """A page of a range."""

    piece: Range
    page: Page
    is_last: bool


@dataclass
class Reading:
    """Readers at work, within the block.

    Args:
        client: of the portal.
        config: what to read.
        plan: the ranges to go through.
    """

    client: HubSpotClient
    config: ScanConfig
    plan: Plan
    _read: "Queue[ReadPage]" = field(default_factory=lambda: Queue(_MOST_PAGES))
    _error: Exception | None = None

    def __enter__(self) -> Self:
        """Begin. Nobody waits for a reader whose call takes long when the others have stopped."""
        for _ in range(READERS):
            threading.Thread(target=self._work, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.plan.abandon()

    def take(self, timeout: float) -> list[ReadPage]:
        """The pages that have come; none after so many seconds without any.

        Raises:
            Exception: what stopped a reader, after all that was read before.
        """
        pages = []
        with suppress(Empty):
            pages.append(self._read.get(timeout=timeout))
            while True:
                pages.append(self._read.get_nowait())
        if not pages and self._error:
            raise self._error
        return pages

    def _work(self) -> None:
        try:
            while (piece := self.plan.take()) is not None:
                self._go_through(piece)
        except AbandonedError:
            return
        except Exception as error:
            self._error = self._error or error
            self.plan.abandon()

    def _go_through(self, piece: Range) -> None:
        for page in self._pages(piece):
            numbers = (find_id(each.id) for each in page.records)
            ids = [each for each in numbers if each is not None]
            is_last = self.plan.note(piece, ids, page.after)
            self._give(ReadPage(piece, page, is_last))
            if is_last or self.plan.is_abandoned:
                return

    def _give(self, page: ReadPage) -> None:
        while True:
            with suppress(Full):
                self._read.put(page, timeout=0.1)
                return
            if self.plan.is_abandoned:
                return

    def _pages(self, piece: Range) -> Iterator[Page]:
        return self._search(piece) if piece.is_searched else self._list(piece)

    def _list(self, piece: Range) -> Iterator[Page]:
        selection = Selection(
            DEALS,
            list_properties(self.config),
            [OBJECT_TYPES[name] for name in self.config.association_types],
            archived=piece.is_archived,
        )
        after: str | None = piece.after
        is_jump = piece.number > 0 and not piece.ids_a_page
        while after is not None:
            try:
                page = read_page(self.client, selection, after=after, limit=self.config.batch_size)
            except HubSpotRefusedError as error:
                if not (is_jump and after and self.plan.may_split):
                    raise
                # An id is no cursor here.
                raise CursorError from error
            yield page
            after, is_jump = page.after, False

    def _search(self, piece: Range) -> Iterator[Page]:
        found = search(
            self.client,
            DEALS,
            list_filters(self.config),
            properties=list_properties(self.config),
            after=int(piece.after or 0),
        )
        going_on = takewhile(lambda _: not self.plan.is_abandoned, found)
        while True:
            records = list(islice(going_on, _SEARCHED))
            if self.plan.is_abandoned:
                return
            is_last = len(records) < _SEARCHED
            yield Page(self._associated(records), {}, None if is_last else records[-1].id)
            if is_last:
                return

    def _associated(self, deals: Sequence[HubSpotRecord]) -> list[HubSpotRecord]:
        """The same deals with the ids that searches do not tell."""
        ids = [each.id for each in deals]
        found = {
            name: hubspot_associations.read(self.client, DEALS, OBJECT_TYPES[name], ids)
            for name in self.config.association_types
        }
        return [
            replace(
                deal,
                associations={
                    name: [other.id for other in each[deal.id]] for name, each in found.items()
                },
            )
            for deal in deals
        ]
