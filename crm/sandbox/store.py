"""The sandbox's whole state: portals, the tokens that open them, faults, settings and counters."""

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock, RLock
from typing import Any

import orjson

from crm.sandbox.access import DEFAULT_APP, DEFAULT_TOKEN, Access
from crm.sandbox.clock import Clock
from crm.sandbox.events import Actor, Audience, Event
from crm.sandbox.faults import FaultPlan
from crm.sandbox.journal import Journal
from crm.sandbox.object_types import OBJECT_TYPES
from crm.sandbox.people import STOCK_OWNERS
from crm.sandbox.schema import ObjectType, Option, Pipeline, Property, Stage
from crm.sandbox.tables import Links, Record, RecordTable
from crm.sandbox.webhooks import Webhooks

DEFAULT_PORTAL_ID = 44021307

# Every type starts at the same id: a client that takes ids as unique across types shall stumble.
_FIRST_RECORD_ID = 18_000_000_001
_LARGEST_ID_STEP = 9
# HubSpot never gives an id twice; a killed sandbox may have given some that its file lacks.
_IDS_LOST_AT_MOST = 100_000
_FORMAT = 1


@dataclass
class Settings:
    """What can be changed while the sandbox runs.

    ``conflict_names_id`` says whether the 409 of a taken e-mail names the contact that has it;
    HubSpot sometimes leaves the id out.
    """

    latency_ms: int = 0
    index_lag_ms: int = 2_000
    conflict_names_id: bool = True


class Portal:
    """One HubSpot account: its records, schema and owners; hold ``lock`` around any use."""

    def __init__(
        self,
        portal_id: int,
        clock: Clock,
        settings: Settings,
        seed: int | None,
        audience: Audience,
    ) -> None:
        """Start with HubSpot's stock schema and no records; ``audience`` is told what happens."""
        self.id = portal_id
        self.clock = clock
        self.settings = settings
        self.lock = RLock()
        # Not for secrets: a seed must make the same ids and the same disorder again.
        self.random = random.Random(seed)  # noqa: S311
        self.journal = Journal(self._publish)
        self.links = Links(self.journal, clock.now_ms)
        self._audience = audience
        self._actor: Actor | None = None
        self.owners = STOCK_OWNERS
        self.tables = {name: RecordTable(each, self.journal) for name, each in OBJECT_TYPES.items()}
        self._next_ids = dict.fromkeys(OBJECT_TYPES, _FIRST_RECORD_ID)
        self.properties = {
            name: {declared.name: declared for declared in each.properties}
            for name, each in OBJECT_TYPES.items()
        }
        self.pipelines = {name: each.pipelines for name, each in OBJECT_TYPES.items()}

    @contextmanager
    def acting(self, actor: Actor) -> Iterator[None]:
        """Tell the audience of what is done inside, as the actor's doing.

        What is done by nobody, like loading the state or the demo data, is told to nobody. To be
        entered with the portal locked, around the transaction.
        """
        self._actor, self.journal.heard = actor, self._audience.listens_to(self.id)
        try:
            yield
        finally:
            self._actor, self.journal.heard = None, False

    def _publish(self, events: list[Event]) -> None:
        """Hand on the events of a transaction."""
        if self._actor:
            self._audience.hear(self.id, self._actor, events)

    def table(self, object_type: ObjectType) -> RecordTable:
        """Return the records of one type."""
        return self.tables[object_type.name]

    def is_empty(self) -> bool:
        """Say whether the portal never held a record."""
        return not any(table.records for table in self.tables.values())

    def take_id(self, object_type: ObjectType) -> int:
        """Return an id that was never used for the type; ids grow, with gaps."""
        taken = self._next_ids[object_type.name]
        self._next_ids[object_type.name] = taken + self.random.randint(1, _LARGEST_ID_STEP)
        return taken

    def take_ids_after(self, other: "Portal") -> None:
        """Give no id that the other has given."""
        self._next_ids = dict(other._next_ids)

    def find_property(self, object_type: ObjectType, name: str) -> Property | None:
        """Return the live definition of a property, or None."""
        found = self.properties[object_type.name].get(name)
        return found if found and not found.archived else None

    def put_property(self, object_type: ObjectType, definition: Property) -> None:
        """Add or replace the definition of a property, and index it when it is unique."""
        definitions = self.properties[object_type.name]
        before = definitions.get(definition.name)
        definitions[definition.name] = definition
        if definition.unique:
            self.table(object_type).add_index(definition.name)

        def undo() -> None:
            if before:
                definitions[before.name] = before
            else:
                del definitions[definition.name]

        self.journal.note(undo)

    def put_pipelines(self, object_type: ObjectType, pipelines: Iterable[Pipeline]) -> None:
        """Replace all pipelines of a type; records keep the stages they are in."""
        before = self.pipelines[object_type.name]
        self.pipelines[object_type.name] = tuple(pipelines)
        self.journal.note(lambda: self.pipelines.update({object_type.name: before}))

    def dump(self) -> dict[str, Any]:
        """Return everything that the state file keeps of this portal.

        Records are handed over as they are: orjson writes dataclasses itself, and fast.
        """
        stock = {name: set(each.properties) for name, each in OBJECT_TYPES.items()}
        return {
            "id": self.id,
            "next_ids": self._next_ids,
            "records": {name: list(table.records.values()) for name, table in self.tables.items()},
            "links": self.links.dump(),
            "pipelines": self.pipelines,
            "properties": {
                name: [each for each in definitions.values() if each not in stock[name]]
                for name, definitions in self.properties.items()
            },
        }

    def load(self, dumped: dict[str, Any]) -> None:
        """Take back what `dump` gave; what is missing stays as in a new portal.

        Raises KeyError, TypeError or ValueError when the data is of another shape.
        """
        with self.journal.transaction():
            for name, saved in dumped["next_ids"].items():
                self._next_ids[name] = saved + _IDS_LOST_AT_MOST
            for name, definitions in dumped.get("properties", {}).items():
                for each in definitions:
                    self.put_property(OBJECT_TYPES[name], _load_property(each))
            for name, pipelines in dumped.get("pipelines", {}).items():
                self.pipelines[name] = tuple(_load_pipeline(each) for each in pipelines)
            for name, records in dumped.get("records", {}).items():
                for each in records:
                    self.tables[name].add(Record(**each))
            self.links.load(dumped.get("links", []))


def _load_property(shape: dict[str, Any]) -> Property:
    """Make a property of what the state file holds."""
    options = tuple(Option(**option) for option in shape["options"])
    return Property(**{**shape, "options": options})


def _load_pipeline(shape: dict[str, Any]) -> Pipeline:
    """Make a pipeline of what the state file holds."""
    return Pipeline(**{**shape, "stages": tuple(Stage(**stage) for stage in shape["stages"])})


class RequestCounts:
    """How many requests were served, by method and route."""

    def __init__(self) -> None:
        """Start from zero."""
        self._lock = Lock()
        self._by_route: Counter[str] = Counter()

    def add(self, route: str) -> None:
        """Count one request, such as ``GET /crm/v3/objects/contacts/{record_id}``."""
        with self._lock:
            self._by_route[route] += 1

    def clear(self) -> None:
        """Start from zero again."""
        with self._lock:
            self._by_route.clear()

    def report(self) -> dict[str, Any]:
        """Return ``{"total": n, "by_route": {route: n}}``."""
        with self._lock:
            return {"total": self._by_route.total(), "by_route": dict(self._by_route)}


class Sandbox:
    """Everything that one running sandbox holds."""

    def __init__(
        self,
        *,
        portal_id: int = DEFAULT_PORTAL_ID,
        seed: int | None = None,
        settings: Settings | None = None,
    ) -> None:
        """Make one empty portal, which the default token opens."""
        self.clock = Clock()
        self.settings = settings or Settings()
        self.faults = FaultPlan()
        self.counts = RequestCounts()
        self.apps = {DEFAULT_APP.id: DEFAULT_APP}
        self.tokens = {DEFAULT_TOKEN: Access(portal_id, DEFAULT_APP.id)}
        self.webhooks = Webhooks(self.clock, self.apps, self._is_installed)
        self._seed = seed
        self._resets = 0
        self.portals = {portal_id: self._new_portal(portal_id)}

    def find_access(self, token: str) -> Access | None:
        """Return what a token opens; None for an unknown token."""
        return self.tokens.get(token)

    def reset(self) -> None:
        """Make every portal new and empty, and forget faults, counts and pending deliveries.

        Settings stay, and so do the apps' webhook targets and subscriptions.
        """
        before = self.portals
        self.portals = {portal_id: self._new_portal(portal_id) for portal_id in before}
        if self._seed is None:  # With a seed the same ids are wanted again.
            for portal_id, portal in self.portals.items():
                portal.take_ids_after(before[portal_id])
        self.faults.replace([])
        self.counts.clear()
        self.webhooks.clear()
        self._resets += 1

    def revision(self) -> tuple[int, int]:
        """Return a value that differs whenever the state may have changed."""
        commits = sum(portal.journal.commits for portal in self.portals.values())
        return self._resets, commits + self.webhooks.changes

    def serialize(self) -> bytes:
        """Return all that lasts beyond this process, as JSON; each portal as of one moment."""
        portals = []
        for portal in self.portals.values():
            with portal.lock:
                portals.append(orjson.dumps(portal.dump(), option=orjson.OPT_NON_STR_KEYS))
        return orjson.dumps(
            {
                "format": _FORMAT,
                "portals": [orjson.Fragment(each) for each in portals],
                "webhooks": self.webhooks.dump(),
            }
        )

    def restore(self, serialized: bytes) -> None:
        """Take back what `serialize` gave; raise ValueError when it is something else."""
        try:
            state = orjson.loads(serialized)
            if state["format"] != _FORMAT:
                raise ValueError(f"its format is {state['format']}, not {_FORMAT}")
            portals = {each["id"]: self._load_portal(each) for each in state["portals"]}
            if "webhooks" in state:
                self.webhooks.load(state["webhooks"])
        except (AttributeError, IndexError, KeyError, TypeError) as error:
            raise ValueError(f"it is not a sandbox's state ({error!r})") from error
        strangers = {each.portal_id for each in self.tokens.values()} - portals.keys()
        if strangers:
            raise ValueError(f"it holds the portals {sorted(portals)}, not {sorted(strangers)}")
        self.portals = portals

    def _is_installed(self, app_id: int, portal_id: int) -> bool:
        """Say whether an app is installed in a portal: a token of the app opens it."""
        return any(
            (each.app_id, each.portal_id) == (app_id, portal_id)
            for each in list(self.tokens.values())
        )

    def _load_portal(self, dumped: dict[str, Any]) -> Portal:
        portal = self._new_portal(dumped["id"])
        portal.load(dumped)
        return portal

    def _new_portal(self, portal_id: int) -> Portal:
        return Portal(portal_id, self.clock, self.settings, self._seed, self.webhooks)
