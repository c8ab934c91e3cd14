"""Deals in a sandbox of this process, people who change them, and whether a scan has them all."""

import random
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from hubspot_sandbox import DEFAULT_PORTAL_ID, SandboxServer
from hubspot_sandbox.associations import associate
from hubspot_sandbox.merges import merge_records
from hubspot_sandbox.object_types import OBJECT_TYPES
from hubspot_sandbox.records import archive_record, create_record, restore_record, update_record
from hubspot_sandbox.tables import Record, Ref

TYPES = ("contacts", "companies", "line_items")
CONTACTS, COMPANIES = 700, 50
MANY = 620
"""Contacts of some deals; a list shows 500."""
WITH_MANY = 4

Associated = Mapping[str, frozenset[str]]


class Deals:
    """Deals with contacts, companies and line items, all random by a seed."""

    def __init__(self, sandbox: SandboxServer, seed: int) -> None:
        self._portal = sandbox.sandbox.portals[DEFAULT_PORTAL_ID]
        self._dice = random.Random(seed)
        self._contacts: list[Record] = []
        self._companies: list[Record] = []
        self.live: list[Record] = []
        self.throughout: dict[str, Associated] = {}
        """Those that were there when they were looked at, and were not taken away since."""
        self.known: set[str] = set()
        self.changes = 0

    def load(self, count: int) -> None:
        """Begin with so many."""
        with self._portal.lock, self._portal.undo_log.transaction():
            self._contacts = [self._new("contacts", n) for n in range(CONTACTS)]
            self._companies = [self._new("companies", n) for n in range(COMPANIES)]
            for number in range(count):
                self._add(MANY if number % (count // WITH_MANY) == 7 else self._dice.randint(0, 3))
        self.look()

    def look(self) -> None:
        """Note what there is: a scan that begins now is to find it."""
        with self._portal.lock:
            ids = [str(each.id) for each in self.live]
            self.throughout = {each: self._associated(each) for each in ids}

    @contextmanager
    def changing(self, pause: float = 0.005) -> Iterator[None]:
        """People go on changing them within the block."""
        is_over = threading.Event()

        def keep_changing() -> None:
            while not is_over.wait(pause):
                self.change()

        people = threading.Thread(target=keep_changing)
        people.start()
        try:
            yield
        finally:
            is_over.set()
            people.join()

    def change(self) -> None:
        """One change, as somebody makes it."""
        act = self._dice.choice([self._add, self._update, self._archive, self._merge, self._link])
        with self._portal.lock, self._portal.undo_log.transaction():
            act()
        self.changes += 1

    def find_differences(self, found: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """What is wrong with the results of a scan that ran since, by the deals' ids."""
        with self._portal.lock:
            return self._find_differences(found)

    def _find_differences(self, found: Mapping[str, Mapping[str, Any]]) -> list[str]:
        differences = [f"{each} never was" for each in found.keys() - self.known]
        for deal_id, before in self.throughout.items():
            if deal_id not in found:
                differences.append(f"{deal_id} is missing")
                continue
            after = self._associated(deal_id)
            for name in TYPES:
                listed = [each["id"] for each in found[deal_id]["associations"][name]]
                # Of what was added meanwhile, a scan may have seen any part.
                is_right = before[name] <= set(listed) <= after[name]
                if not is_right or len(listed) != len(set(listed)):
                    differences.append(f"{deal_id} has other {name}")
        return differences

    def _add(self, contacts: int = 1) -> None:
        deal = self._new("deals", len(self.known))
        for each in self._dice.sample(self._contacts, contacts):
            self._associate(deal, "contacts", each)
        self._associate(deal, "companies", self._dice.choice(self._companies))
        self._associate(deal, "line_items", self._new("line_items", deal.id))
        self.live.append(deal)
        self.known.add(str(deal.id))

    def _update(self) -> None:
        values = {"dealname": f"Changed {self.changes}", "amount": str(self.changes)}
        update_record(self._portal, OBJECT_TYPES["deals"], self._dice.choice(self.live), values)

    def _archive(self) -> None:
        deal = self._take_away()
        archive_record(self._portal, OBJECT_TYPES["deals"], deal)
        if self._dice.random() < 0.3:
            restore_record(self._portal, OBJECT_TYPES["deals"], deal)
            self.live.append(deal)

    def _merge(self) -> None:
        survivor = merge_records(
            self._portal, OBJECT_TYPES["deals"], self._take_away(), self._take_away()
        )
        self.live.append(survivor)
        self.known.add(str(survivor.id))

    def _link(self) -> None:
        self._associate(self._dice.choice(self.live), "contacts", self._dice.choice(self._contacts))

    def _take_away(self) -> Record:
        deal = self.live.pop(self._dice.randrange(len(self.live)))
        self.throughout.pop(str(deal.id), None)
        return deal

    def _new(self, object_type: str, number: int) -> Record:
        values = {
            "contacts": {"email": f"person{number}@example.com"},
            "companies": {"name": f"Company {number}"},
            "line_items": {"name": f"Item {number}", "price": "5", "quantity": "1"},
            "deals": {
                "dealname": f"Deal {number}",
                "dealstage": self._dice.choice(["qualifiedtobuy", "closedwon", "closedlost"]),
                "amount": str(number),
            },
        }
        return create_record(self._portal, OBJECT_TYPES[object_type], values[object_type])

    def _associate(self, deal: Record, object_type: str, other: Record) -> None:
        associate(self._portal, Ref("deals", deal.id), Ref(object_type, other.id), [])

    def _associated(self, deal_id: str) -> Associated:
        source = Ref("deals", int(deal_id))
        return {
            name: frozenset(map(str, self._portal.links.targets(source, name))) for name in TYPES
        }
