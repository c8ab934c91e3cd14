"""Keep in Postgres what HubSpot says of a portal's object types, and serve it from there.

Of all processes one asks HubSpot again when a set has outlived its life; meanwhile, and while
HubSpot is down, the others have the stale one. Where there is none yet, they wait a moment.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import InstrumentedAttribute

from crm.db import db, transaction
from crm.hubspot.client import HubSpotClient
from crm.hubspot.errors import HubSpotError, HubSpotUnavailableError
from crm.models import PipelineSet, PropertySet
from crm.portals import portals

log = structlog.get_logger(__name__)

_PAUSE = timedelta(seconds=5)
"""Between two attempts to ask HubSpot, for all who want to know."""
_PATIENCE = 2.0
"""Seconds in which another process, perhaps a worker that starts just now, brings the first set."""
_POLL = 0.05


@dataclass(frozen=True)
class FetchedSets:
    """Sets of one kind, one for each object type of a portal.

    Args:
        table: where they are kept.
        column: of the table, that holds a set as JSON.
        life: after which a set is fetched again.
        fetch: asks HubSpot for the set of an object type, by its name.
    """

    table: type[PipelineSet] | type[PropertySet]
    column: InstrumentedAttribute[list[dict[str, Any]] | None]
    life: timedelta
    fetch: Callable[[HubSpotClient, str], list[dict[str, Any]]]

    def get(self, portal_id: int, object_type: str) -> list[dict[str, Any]]:
        """A set no older than its life, or an older one while HubSpot cannot be reached.

        Raises:
            HubSpotError: it was never fetched, and cannot be now.
        """
        found = self.find(portal_id, object_type)
        try:
            if self._claim(portal_id, object_type):
                return self._refresh(portal_id, object_type, someone_waits=True)
        except HubSpotError as error:
            if found is None:
                raise
            log.warning("stale set served", set=self._name(object_type), reason=error.message)
        return self._wait_for_first(portal_id, object_type) if found is None else found

    def find(self, portal_id: int, object_type: str) -> list[dict[str, Any]] | None:
        """A set as last fetched, however old, or None; never asks HubSpot."""
        found: list[dict[str, Any]] | None = db.session.scalar(
            select(self.column).where(
                self.table.portal_id == portal_id, self.table.object_type == object_type
            )
        )
        return found

    def refetch(self, portal_id: int, object_type: str) -> None:
        """Fetch a set however young it is, for somebody who misses something in it.

        While HubSpot cannot be reached, it stays as it is.
        """
        try:
            self._refresh(portal_id, object_type, someone_waits=True)
        except HubSpotError as error:
            log.warning("stale set served", set=self._name(object_type), reason=error.message)

    def refresh_stale(self, object_types: Iterable[str]) -> None:
        """Fetch the sets of all connected portals that have outlived their life."""
        for portal_id in portals.list_connected_portal_ids():
            for object_type in object_types:
                if not self._claim(portal_id, object_type):
                    continue
                try:
                    self._refresh(portal_id, object_type, someone_waits=False)
                except HubSpotError as error:
                    log.warning(
                        "set stays stale", set=self._name(object_type), reason=error.message
                    )

    def _wait_for_first(self, portal_id: int, object_type: str) -> list[dict[str, Any]]:
        """The set that somebody else is fetching."""
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            time.sleep(_POLL)
            with transaction():  # So that none is open while we wait.
                found = self.find(portal_id, object_type)
            if found is not None:
                return found
        raise HubSpotUnavailableError(
            f"The {self.column.key} are not fetched yet; try again in a moment"
        )

    def _claim(self, portal_id: int, object_type: str) -> bool:
        """Whether this caller is the one to ask HubSpot now; all others use what there is."""
        table = self.table
        new = insert(table).values(
            portal_id=portal_id, object_type=object_type, attempted_at=func.now()
        )
        statement = new.on_conflict_do_update(
            index_elements=[table.portal_id, table.object_type],
            set_={"attempted_at": func.now()},
            where=(
                or_(table.fetched_at.is_(None), table.fetched_at < func.now() - self.life)
                & (table.attempted_at < func.now() - _PAUSE)
            ),
        )
        with transaction() as session:
            claimed = session.scalar(statement.returning(table.object_type))
        return claimed is not None

    def _refresh(
        self, portal_id: int, object_type: str, *, someone_waits: bool
    ) -> list[dict[str, Any]]:
        client = portals.connect(portal_id, someone_waits=someone_waits)
        fetched = self.fetch(client, object_type)
        with transaction() as session:
            session.execute(
                update(self.table)
                .where(self.table.portal_id == portal_id, self.table.object_type == object_type)
                .values({self.column.key: fetched, "fetched_at": func.now()})
            )
        return fetched

    def _name(self, object_type: str) -> str:
        return f"{self.column.key} of {object_type}"
