"""What goes wrong: HubSpot's faults, killed workers, expired tokens, a restart of Postgres."""

import random
import subprocess
import time
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any, Self

from tools.chaos.people import People
from tools.stage import Stage

SHARE = 0.1
"""Of all calls to HubSpot, how many meet a fault."""
KINDS: tuple[dict[str, Any], ...] = (
    *({"kind": "status", "status": each} for each in (423, 429, 477, 500, 502, 503, 504)),
    {"kind": "slow", "seconds": 2},
    {"kind": "reset_before"},
    {"kind": "reset_after"},
    {"kind": "truncated_json"},
    {"kind": "html"},
    {"kind": "expire_token"},
)
# Each is asked only where none before it struck, so that all strike equally often.
FAULTS = tuple(
    {**kind, "probability": SHARE / len(KINDS) / (1 - number * SHARE / len(KINDS))}
    for number, kind in enumerate(KINDS)
)
WORKERS = 2
BETWEEN_KILLS = (10.0, 20.0)
WITHOUT_POSTGRES = 1.0


@dataclass
class Trouble:
    """Begins and ends with the block."""

    place: Stage
    database: str
    people: People
    seed: int
    killed: int = 0
    restarts: int = 0
    _over: Event = field(default_factory=Event)
    _workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _struck: dict[str, int] = field(default_factory=dict)
    _calls: int = 0

    def __enter__(self) -> Self:
        self.place.sandbox.set_faults(
            [{**fault, "seed": self.seed * 100 + number} for number, fault in enumerate(FAULTS)]
        )
        self._workers = [self.place.start_worker(self.database) for _ in range(WORKERS)]
        self._threads = [Thread(target=self._kill_workers), Thread(target=self._restart_postgres)]
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for each in self._threads:
            each.join()
        self._start_who_ended()
        self._struck = self.struck
        self._calls = self.calls
        self.place.sandbox.set_faults([])

    @property
    def struck(self) -> dict[str, int]:
        """How often each fault struck."""
        return self._struck or {
            _name(each): each["struck"] for each in self.place.sandbox.sandbox.faults.describe()
        }

    def is_complete(self) -> bool:
        """Whether every kind of fault has struck."""
        return all(self.struck.values())

    @property
    def calls(self) -> int:
        """How many calls HubSpot has got."""
        return self._calls or self.place.sandbox.requests()["total"]

    def __str__(self) -> str:
        return (
            f"{sum(self.struck.values())} faults in {self.calls} calls, "
            f"{self.killed} workers killed, {self.restarts} restart of Postgres"
        )

    def _kill_workers(self) -> None:
        dice = random.Random(self.seed)
        while not self._over.wait(dice.uniform(*BETWEEN_KILLS)):
            victim = dice.choice(self._workers)
            self.killed += victim.poll() is None
            victim.kill()
            victim.wait()
            self._start_who_ended()

    def _start_who_ended(self) -> None:
        """Do what whoever runs a worker does, also when one found no database at its start."""
        self._workers = [
            each if each.poll() is None else self.place.start_worker(self.database)
            for each in self._workers
        ]

    def _restart_postgres(self) -> None:
        """Once, when half of the people are in."""
        while len(self.people.registered) < self.people.count / 2:
            if self._over.wait(0.1):
                return
        self.place.stop_postgres()
        time.sleep(WITHOUT_POSTGRES)
        self.place.start_postgres()
        self.restarts += 1


def _name(fault: dict[str, Any]) -> str:
    return f"status {fault['status']}" if fault["kind"] == "status" else str(fault["kind"])
