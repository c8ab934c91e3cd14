"""The sandbox's whole state: portals, the tokens that open them, faults, settings and counters."""

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import Lock, RLock
from typing import Any

import orjson

from hubspot_sandbox.access import DEFAULT_APP, DEFAULT_TOKEN, Access, App, Registry
from hubspot_sandbox.airtable import DEFAULT_AIRTABLE_APP, Airtable
from hubspot_sandbox.clock import Clock
from hubspot_sandbox.errors import token_expired, unauthenticated
from hubspot_sandbox.events import Actor, Audience, Event
from hubspot_sandbox.faults import FaultPlan
from hubspot_sandbox.json_cache import JSONCache
from hubspot_sandbox.limits import TIERS, Limits, LimitSettings
from hubspot_sandbox.notion import DEFAULT_NOTION_APP, Notion
from hubspot_sandbox.object_types import OBJECT_TYPES
from hubspot_sandbox.owners import STOCK_OWNERS
from hubspot_sandbox.request_log import RequestLog
from hubspot_sandbox.schema import ObjectType, Option, Pipeline, Property, Stage
from hubspot_sandbox.setup import Setup
from hubspot_sandbox.tables import Links, Record, RecordTable
from hubspot_sandbox.third_party_oauth import ThirdPartyApp
from hubspot_sandbox.undo_log import UNKNOWN_ACTOR, UndoLog
from hubspot_sandbox.webhooks import Webhooks

DEFAULT_PORTAL_ID = 44021307

# Every type starts at the same id: a client that takes ids as unique across types shall stumble.
_FIRST_RECORD_ID = 18_000_000_001
_LARGEST_ID_STEP = 9
# HubSpot never gives an id twice; a killed sandbox may have given some that its file lacks.
_IDS_LOST_AT_MOST = 100_000
_FORMAT = 1


@dataclass(kw_only=True)
class Settings(LimitSettings):
    """What can be changed while the sandbox runs.

    Every answer takes ``latency_ms``, and by chance up to ``latency_jitter_ms`` more.
    ``conflict_names_id`` says whether the 409 of a taken e-mail names the contact that has it;
    HubSpot sometimes leaves the id out. ``merge_mints_new_id`` says whether merged records get a
    new id, as HubSpot does today, or keep the primary one's. ``rotate_refresh_tokens`` says
    whether a refresh gives a new refresh token and ends the old one; HubSpot keeps them, and does
    not promise to.
    """

    latency_ms: int = 0
    latency_jitter_ms: int = 0
    index_lag_ms: int = 2_000
    conflict_names_id: bool = True
    merge_mints_new_id: bool = True
    access_token_seconds: int = 1_800
    rotate_refresh_tokens: bool = False


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
        self.name = "Bright Harbor"
        self.ui_domain = "app.hubspot.com"
        self.utc_offset_ms = -18_000_000
        self.limits = Limits(clock, settings, portal_id, self.utc_offset_ms)
        self.clock = clock
        self.settings = settings
        self.lock = RLock()
        # Not for secrets: a seed must make the same ids and the same disorder again.
        self.random = random.Random(seed)  # noqa: S311
        self.undo_log = UndoLog(self._publish)
        self.links = Links(self.undo_log, clock.now_ms)
        self.json_cache = JSONCache(self.undo_log)
        self._audience = audience
        self._actor: Actor | None = None
        self.owners = STOCK_OWNERS
        self.tables = {
            name: RecordTable(each, self.undo_log) for name, each in OBJECT_TYPES.items()
        }
        self._next_ids = dict.fromkeys(OBJECT_TYPES, _FIRST_RECORD_ID)
        self.properties = {
            name: {declared.name: declared for declared in each.properties}
            for name, each in OBJECT_TYPES.items()
        }
        self.pipelines = {name: each.pipelines for name, each in OBJECT_TYPES.items()}
        self.setup = Setup(self.undo_log)

    @contextmanager
    def acting(self, actor: Actor) -> Iterator[None]:
        """Tell the audience of what is done inside, as the actor's doing.

        What is done by nobody, like loading the state or the demo data, is told to nobody. To be
        entered with the portal locked, around the transaction.
        """
        self._actor, self.undo_log.has_listeners = actor, self._audience.listens_to(self.id)
        self.undo_log.actor = actor
        try:
            yield
        finally:
            self._actor, self.undo_log.has_listeners = None, False
            self.undo_log.actor = UNKNOWN_ACTOR

    def _publish(self, events: list[Event]) -> None:
        """Hand on the events of a transaction."""
        if self._actor:
            self._audience.publish(self.id, self._actor, [self._redacted(each) for each in events])

    def _redacted(self, event: Event) -> Event:
        """Keep the value of a sensitive property back."""
        properties = self.properties[event.object_type]
        changed = properties.get(event.details.get("propertyName", ""))
        if changed is None or not changed.is_sensitive:
            return event
        hidden = {"propertyValue": "REDACTED", "isSensitive": True}
        return replace(event, details={**event.details, **hidden})

    @property
    def tier(self) -> str | None:
        """What the account has paid for, a name in `TIERS`; None leaves it to the settings."""
        return next((name for name, each in TIERS.items() if each is self.limits.tier), None)

    def describe(self, *, name: str, ui_domain: str, tier: str | None) -> None:
        """Say whose account this is, which data centre shows it, and what was paid for."""
        self.name, self.ui_domain = name, ui_domain
        self.limits.tier = TIERS[tier] if tier else None

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

        self.undo_log.note(undo)

    def put_pipelines(self, object_type: ObjectType, pipelines: Iterable[Pipeline]) -> None:
        """Replace all pipelines of a type; records keep the stages they are in."""
        before = self.pipelines[object_type.name]
        self.pipelines[object_type.name] = tuple(pipelines)
        self.undo_log.note(lambda: self.pipelines.update({object_type.name: before}))

    def dump(self) -> dict[str, Any]:
        """Return everything that the state file keeps of this portal.

        Records are handed over as they are: orjson writes dataclasses itself, and fast.
        """
        stock = {name: set(each.properties) for name, each in OBJECT_TYPES.items()}
        return {
            "id": self.id,
            "account": {"name": self.name, "ui_domain": self.ui_domain, "tier": self.tier},
            "next_ids": self._next_ids,
            "records": {name: list(table.records.values()) for name, table in self.tables.items()},
            "links": self.links.dump(),
            "merged": {name: table.merged for name, table in self.tables.items()},
            "pipelines": self.pipelines,
            "setup": self.setup.dump(),
            "properties": {
                name: [each for each in definitions.values() if each not in stock[name]]
                for name, definitions in self.properties.items()
            },
        }

    def load(self, dumped: dict[str, Any]) -> None:
        """Take back what `dump` gave; what is missing stays as in a new portal.

        Raises KeyError, TypeError or ValueError when the data is of another shape.
        """
        if "account" in dumped:
            self.describe(**dumped["account"])
        with self.undo_log.transaction():
            for name, saved in dumped["next_ids"].items():
                self._next_ids[name] = saved + _IDS_LOST_AT_MOST
            self._load_schema(dumped)
            for name, records in dumped.get("records", {}).items():
                for each in records:
                    self.tables[name].add(_load_record(each))
            self.links.load(dumped.get("links", []))
            for name, merged in dumped.get("merged", {}).items():
                self.tables[name].merged = {int(old): new for old, new in merged.items()}

    def _load_schema(self, dumped: dict[str, Any]) -> None:
        for name, definitions in dumped.get("properties", {}).items():
            for each in definitions:
                self.put_property(OBJECT_TYPES[name], _load_property(each))
        self.setup.load(dumped.get("setup", {}))
        for name, pipelines in dumped.get("pipelines", {}).items():
            self.pipelines[name] = tuple(_load_pipeline(each) for each in pipelines)


def _load_record(shape: dict[str, Any]) -> Record:
    """Make a record of what the state file holds; older ones do not tell who changed it."""
    unknown = (UNKNOWN_ACTOR.source, UNKNOWN_ACTOR.source_id)
    changes = [(*each, *unknown[len(each) - 2 :]) for each in shape["changes"]]
    return Record(**{**shape, "changes": changes})


def _load_property(shape: dict[str, Any]) -> Property:
    """Make a property of what the state file holds."""
    options = tuple(Option(**option) for option in shape["options"])
    return Property(**{**shape, "options": options})


def _load_pipeline(shape: dict[str, Any]) -> Pipeline:
    """Make a pipeline of what the state file holds."""
    return Pipeline(**{**shape, "stages": tuple(Stage(**stage) for stage in shape["stages"])})


class Sandbox:
    """Everything that one running sandbox holds."""

    def __init__(
        self,
        *,
        portal_id: int = DEFAULT_PORTAL_ID,
        seed: int | None = None,
        settings: Settings | None = None,
        app: App = DEFAULT_APP,
        airtable_app: ThirdPartyApp = DEFAULT_AIRTABLE_APP,
        notion_app: ThirdPartyApp = DEFAULT_NOTION_APP,
    ) -> None:
        """Make one empty portal, which the default token opens, and one app.

        Beside it an Airtable account and a Notion workspace, each with an app of its own.
        """
        self.clock = Clock()
        self.settings = settings or Settings()
        self.airtable = Airtable(self.clock, self.settings, airtable_app)
        self.notion = Notion(self.clock, self.settings, notion_app)
        self.faults = FaultPlan()
        self.request_log = RequestLog(self.clock, seed)
        self.registry = Registry(self.clock, app, {DEFAULT_TOKEN: Access(portal_id, app.id)})
        self.first_portal_id = portal_id
        self.webhooks = Webhooks(self.clock, self.apps, self._is_installed)
        self._seed = seed
        self._changes = 0
        self._lock = Lock()
        self.portals = {portal_id: self._new_portal(portal_id)}

    def find_access(self, authorization: str) -> Access | None:
        """Return what the token of such a header opens, also when it has expired; or None."""
        scheme, _, token = authorization.partition(" ")
        return self.registry.find_access(token.strip()) if scheme.lower() == "bearer" else None

    def admit(self, authorization: str) -> Access:
        """Return what the token of such a header opens; raise 401 when that is nothing any more."""
        access, now = self.find_access(authorization), self.clock.now_ms()
        if access is None:
            raise unauthenticated()
        if access.expires_at is not None and access.expires_at <= now:
            raise token_expired(access.expires_at, now)
        return access

    @property
    def apps(self) -> dict[int, App]:
        """The apps that HubSpot knows, by id."""
        return self.registry.apps

    @property
    def tokens(self) -> dict[str, Access]:
        """What each bearer token opens."""
        return self.registry.tokens

    def expire_tokens(self) -> int:
        """Let every OAuth access token expire now; return how many did."""
        return self.registry.expire_tokens()

    def open_portal(self, portal_id: int) -> Portal:
        """Add an empty portal, which no token opens yet; raise ValueError when it is there."""
        with self._lock:
            if portal_id in self.portals:
                raise ValueError(f"There is a portal {portal_id} already")
            portal = self._new_portal(portal_id)
            # Others go through the portals meanwhile, so the dict itself never changes.
            self.portals = {**self.portals, portal_id: portal}
            self._changes += 1
        return portal

    def close_portal(self, portal_id: int) -> None:
        """Take a portal away, as when a customer deletes the account; never the first one."""
        with self._lock:
            self.portals = {key: each for key, each in self.portals.items() if key != portal_id}
            self._changes += 1
        self.registry.close_portal(portal_id)

    def reset(self) -> None:
        """Go back to the start: one empty portal, one app, no faults; only settings stay."""
        before = self.portals[self.first_portal_id]
        portal = self._new_portal(self.first_portal_id)
        if self._seed is None:  # With a seed the same ids are wanted again.
            portal.take_ids_after(before)
        self.portals = {portal.id: portal}
        self.registry.reset()
        self.airtable.reset(self.settings)
        self.notion.reset(self.settings)
        self.faults.replace([])
        self.request_log = RequestLog(self.clock, self._seed)
        self.webhooks.clear()
        self._changes += 1

    def revision(self) -> tuple[int, int]:
        """Return a value that differs whenever the state may have changed."""
        changes = self._changes + self.registry.changes + self.webhooks.changes
        return changes, sum(portal.undo_log.commits for portal in self.portals.values())

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
                "access": self.registry.dump(),
                "webhooks": self.webhooks.dump(),
            },
            default=sorted,  # Sets of scopes.
        )

    def restore(self, serialized: bytes) -> None:
        """Take back what `serialize` gave; raise ValueError when it is something else."""
        try:
            state = orjson.loads(serialized)
            if state["format"] != _FORMAT:
                raise ValueError(f"its format is {state['format']}, not {_FORMAT}")
            portals = {each["id"]: self._load_portal(each) for each in state["portals"]}
            if self.first_portal_id not in portals:
                raise ValueError(
                    f"it holds the portals {sorted(portals)}, not {self.first_portal_id}"
                )
            self.registry.load(state.get("access", {}))
            if "webhooks" in state:
                self.webhooks.load(state["webhooks"])
        except (AttributeError, IndexError, KeyError, TypeError) as error:
            raise ValueError(f"it is not a sandbox's state ({error!r})") from error
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
