"""Those who use the service while it is in trouble, and try again until they are answered."""

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import Any

import requests
from flask import Flask
from sqlalchemy.exc import DBAPIError

from crm.db import transaction
from crm.mirror import rows
from crm.portals.portals import get_default_portal_id
from crm.push.job import enqueue_push
from tests.conftest import registration
from tools.stage import Stage

REGISTERING, CHANGING = 4, 2
SECONDS = 90.0
"""How long the registrations are spread over."""
LONGEST_MORE = 30.0
CREATED, CONFLICT = 201, 409
CITIES = ("London", "Paris", "Oslo", "Lisboa", "Göteborg", "São Paulo", "東京")


@dataclass
class People:
    """So many register, and as many changes are made to those who have.

    What the last of each one's changes said is known, since it is always the same one of
    ``CHANGING`` who changes them.
    """

    place: Stage
    app: Flask
    count: int
    seed: int
    registered: list[int] = field(default_factory=list)
    cities: dict[int, str] = field(default_factory=dict)
    changes: int = 0
    repeated: int = 0
    _lock: Lock = field(default_factory=Lock)

    def run(self, is_enough: Callable[[], bool]) -> None:
        """Register everybody and make the changes; returns when the last one was answered.

        Args:
            is_enough: whether no more changes than these are wanted; after ``LONGEST_MORE`` seconds
                they end anyway.
        """
        self._address = self.place.serve("crm:create_app()", self.place.environment("chaos"))
        with ThreadPoolExecutor(REGISTERING + CHANGING) as pool:
            working = [pool.submit(self._register, each) for each in range(REGISTERING)]
            working += [pool.submit(self._change, each, is_enough) for each in range(CHANGING)]
            for each in working:
                each.result()

    @property
    def graphs(self) -> set[tuple[str, str | None, str, str]]:
        """What was accepted: e-mail, city, the deal's name and the ticket's, of each one."""
        return {
            (_email(each), self.cities.get(each), f"Deal {each}", f"Ticket {each}")
            for each in self.registered
        }

    def __str__(self) -> str:
        return (
            f"{len(self.registered)} of {self.count} registered, {self.changes} changes, "
            f"{self.repeated} answers lost and asked for again"
        )

    def _register(self, first: int) -> None:
        pause = SECONDS * REGISTERING / self.count
        with requests.Session() as session:
            for number in range(first, self.count, REGISTERING):
                began = time.monotonic()
                self._until_done(partial(self._post, session, _registration(number)))
                with self._lock:
                    self.registered.append(number)
                time.sleep(max(0.0, pause - (time.monotonic() - began)))

    def _post(self, session: requests.Session, body: dict[str, Any]) -> bool:
        with suppress(requests.RequestException):
            answer = session.post(f"{self._address}/register", json=body, timeout=10)
            # A conflict: the account is there, and it was the answer that was lost.
            return answer.status_code in (CREATED, CONFLICT)
        return False

    def _change(self, first: int, is_enough: Callable[[], bool]) -> None:
        dice = random.Random(f"{self.seed} {first}")
        with self.app.app_context():
            for _ in range(self.count // CHANGING):
                self._change_somebody(first, dice)
            until = time.monotonic() + LONGEST_MORE
            while not is_enough() and time.monotonic() < until:
                self._change_somebody(first, dice)

    def _change_somebody(self, first: int, dice: random.Random) -> None:
        """Change one who has registered, again and again the same ones too."""
        while not (mine := self.registered[first::CHANGING]):
            time.sleep(0.05)
        number, city = dice.choice(mine), dice.choice(CITIES)
        self._until_done(partial(_write, number, city))
        self.cities[number] = city
        with self._lock:
            self.changes += 1
        time.sleep(SECONDS * CHANGING / self.count * dice.random() * 2)

    def _until_done(self, attempt: Callable[[], bool]) -> None:
        while not attempt():
            with self._lock:
                self.repeated += 1
            time.sleep(0.2)


def _registration(number: int) -> dict[str, Any]:
    body = registration(_email(number))
    (deal,) = body["deals"]
    (ticket,) = deal["tickets"]
    deal["dealname"], ticket["subject"] = f"Deal {number}", f"Ticket {number}"
    return body


def _write(number: int, city: str) -> bool:
    with suppress(DBAPIError), transaction():
        portal_id = get_default_portal_id()
        rows.write_contact(portal_id, {"email": _email(number), "city": city})
        enqueue_push(portal_id)
        return True
    return False


def _email(number: int) -> str:
    return f"person{number}@example.com"
