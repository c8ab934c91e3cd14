"""Those who use the service while it is in trouble, and try again until they are answered."""

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Lock

import requests
from flask import Flask
from sqlalchemy.exc import DBAPIError

from crm.services.portals import get_default_portal_id
from tests.bench.stage import Stage
from tests.conftest import registration
from tests.services.graphs import write_contact

REGISTERING, CHANGING = 4, 2
SECONDS = 90.0
"""How long the registrations are spread over."""
CREATED, CONFLICT = 201, 409
CITIES = ("London", "Paris", "Oslo", "Lisboa", "Göteborg", "São Paulo", "東京")


@dataclass
class People:
    """So many register, and as many changes are made to those who have."""

    place: Stage
    app: Flask
    count: int
    seed: int
    registered: list[str] = field(default_factory=list)
    changes: int = 0
    repeated: int = 0
    _lock: Lock = field(default_factory=Lock)

    def run(self) -> None:
        """Register everybody and make the changes; returns when the last one was answered."""
        self._address = self.place.serve("crm:create_app()", self.place.environment("chaos"))
        with ThreadPoolExecutor(REGISTERING + CHANGING) as pool:
            working = [pool.submit(self._register, each) for each in range(REGISTERING)]
            working += [pool.submit(self._change, each) for each in range(CHANGING)]
            for each in working:
                each.result()

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
                email = f"person{number}@example.com"
                body = registration(email, firstname=f"P{number}")
                self._until_done(lambda body=body: self._post(session, body))
                with self._lock:
                    self.registered.append(email)
                time.sleep(max(0.0, pause - (time.monotonic() - began)))

    def _post(self, session: requests.Session, body: dict[str, object]) -> bool:
        with suppress(requests.RequestException):
            answer = session.post(f"{self._address}/register", json=body, timeout=10)
            # A conflict: the account is there, and it was the answer that was lost.
            return answer.status_code in (CREATED, CONFLICT)
        return False

    def _change(self, number: int) -> None:
        """Change people who have registered, again and again the same ones too."""
        dice = random.Random(f"{self.seed} {number}")
        with self.app.app_context():
            for _ in range(self.count // CHANGING):
                while not self.registered:
                    time.sleep(0.05)
                email = dice.choice(self.registered)
                city = dice.choice(CITIES)
                self._until_done(lambda email=email, city=city: _write(email, city))
                with self._lock:
                    self.changes += 1
                time.sleep(SECONDS * CHANGING / self.count * dice.random() * 2)

    def _until_done(self, attempt: Callable[[], bool]) -> None:
        while not attempt():
            with self._lock:
                self.repeated += 1
            time.sleep(0.2)


def _write(email: str, city: str) -> bool:
    with suppress(DBAPIError):
        write_contact(get_default_portal_id(), email, city=city)
        return True
    return False
