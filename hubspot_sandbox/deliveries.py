"""Deliver notifications: in batches, signed, again when it failed, with disorder on request.

Source: HubSpot docs, webhooks guide: up to 100 events a request; an answer within five seconds;
ten retries within a day, jittered; neither order nor "exactly once" is promised.

What waits lives in memory alone: a stopped sandbox delivers it when it starts again, a process
that ends takes it along.
"""

import heapq
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from threading import Condition, Thread, current_thread
from typing import Any, Final, NamedTuple, TypeAlias

import orjson

from hubspot_sandbox.clock import Clock, iso
from hubspot_sandbox.delivery_settings import DeliverySettings
from hubspot_sandbox.posting import Post, PostError

MAX_EVENTS: Final = 100
MAX_RETRIES: Final = 10
_RECENT: Final = 200
# The clock may be moved at any moment, which wakes nobody.
_LOOK_AGAIN_SECONDS: Final = 0.05
_STOP_SECONDS: Final = 0.5
# How the ten waits share the day: quick at first, hours apart in the end.
_WAITS: Final = (1, 2, 5, 10, 30, 60, 120, 240, 360, 480)
_LEAST_OF_A_WAIT: Final = 0.8

Notification: TypeAlias = dict[str, Any]


class Address(NamedTuple):
    """Where an app's notifications go, what signs them, and how many requests go at once."""

    url: str
    secret: str
    max_requests: int


FindAddress: TypeAlias = Callable[[int], Address | None]


@dataclass(slots=True, order=True)
class _Waiting:
    """A notification, the moment from which it may go, and its place among those of the moment."""

    due: int
    place: int
    notification: Notification = field(compare=False)
    attempt: int = field(compare=False, default=0)


@dataclass(slots=True, eq=False)
class _Flight:
    """One request under way."""

    app_id: int
    batch: list[_Waiting]
    post: Post
    started: float


class Deliveries:
    """Everything that is to be delivered to all apps, and the thread that sees to it."""

    def __init__(self, clock: Clock, find_address: FindAddress) -> None:
        """Start with nothing to deliver; nothing is sent before `start`."""
        self.settings = DeliverySettings()
        self._clock = clock
        self._find_address = find_address
        self._changed = Condition()
        self._dispatcher: Thread | None = None
        self._places = 0
        self._dice = random.Random(0)  # noqa: S311 - for disorder and jitter, not for secrets
        self._waiting: dict[int, list[_Waiting]] = {}
        self._flights: set[_Flight] = set()
        self._counts: Counter[str] = Counter()
        self._recent: deque[dict[str, Any]] = deque(maxlen=_RECENT)

    def configure(self, changes: Mapping[str, Any]) -> None:
        """Set what is named; raise 400 and change nothing when a name or value is wrong."""
        with self._changed:
            self.settings.change(changes)
            self._dice = random.Random(self.settings.seed)  # noqa: S311 - as above

    def add(self, app_id: int, notifications: Iterable[Notification]) -> None:
        """Have notifications delivered, with the disorder that is on."""
        with self._changed:
            for each in notifications:
                self._counts["events"] += 1
                self._accept(self._waiting.setdefault(app_id, []), each)
            self._changed.notify_all()

    def start(self) -> None:
        """Deliver from now on, what waits already first."""
        with self._changed:
            self._dispatcher = Thread(target=self._dispatch, daemon=True)
            self._dispatcher.start()

    def stop(self) -> None:
        """Stop at once; what was under way waits again, and may so arrive twice."""
        with self._changed:
            dispatcher, self._dispatcher = self._dispatcher, None
            for flight in self._flights:
                flight.post.cut("stopped")
                for each in flight.batch:
                    heapq.heappush(self._waiting.setdefault(flight.app_id, []), each)
            self._flights.clear()
            self._changed.notify_all()
        if dispatcher:
            dispatcher.join(_STOP_SECONDS)

    def flush(self, seconds: float = 30.0) -> dict[str, Any]:
        """Deliver all that waits, retries and delayed ones too; return the report when it is done.

        A notification that fails waits for its next attempt again. Returns early after
        ``seconds``, and at once when deliveries are stopped.
        """
        with self._changed:
            now = self._clock.now_ms()
            for heap in self._waiting.values():
                heap.sort()  # A sorted list is a heap, and keeps whatever disorder was asked for.
                for each in heap:
                    each.due, each.place = min(each.due, now), self._next_place()
            self._changed.notify_all()
            self._changed.wait_for(self._is_idle, seconds)
            return self._report()

    def report(self) -> dict[str, Any]:
        """Return counts and the latest requests, newest first."""
        with self._changed:
            return self._report()

    def next_in_ms(self) -> int:
        """Return how long until the earliest of what waits may go; 0 when it may or there is none.

        It is the clock's time, for whoever wants to move it just so far.
        """
        with self._changed:
            dues = [heap[0].due for heap in self._waiting.values() if heap]
            return max(0, min(dues) - self._clock.now_ms()) if dues else 0

    def clear(self) -> None:
        """Forget everything: what waits, what is under way, counts and the latest requests."""
        with self._changed:
            self._waiting.clear()
            self._flights.clear()
            self._counts.clear()
            self._recent.clear()
            self._changed.notify_all()

    def _report(self) -> dict[str, Any]:
        waiting = [each for heap in self._waiting.values() for each in heap]
        names = ("events", "delivered", "abandoned", "requests", "failures", "duplicates", "lost")
        return {
            "pending": len(waiting) + sum(len(flight.batch) for flight in self._flights),
            "in_flight": len(self._flights),
            "next_at": iso(min(each.due for each in waiting)) if waiting else None,
            "counts": {name: self._counts[name] for name in names},
            "recent": list(reversed(self._recent)),
        }

    def _accept(self, heap: list[_Waiting], notification: Notification) -> None:
        settings, now = self.settings, self._clock.now_ms()
        if self._happens(settings.loss):
            self._counts["lost"] += 1
            return
        late = 0
        if self._happens(settings.delay):
            late = settings.delay_ms
        elif self._happens(settings.reordering):
            late = self._dice.randint(0, settings.delay_ms)
        heapq.heappush(heap, _Waiting(now + late, self._next_place(), notification))
        if self._happens(settings.duplicates):
            self._counts["duplicates"] += 1
            late = self._dice.randint(0, settings.delay_ms)
            heapq.heappush(heap, _Waiting(now + late, self._next_place(), notification))

    def _next_place(self) -> int:
        self._places += 1
        return self._places

    def _happens(self, probability: float) -> bool:
        return probability > 0 and self._dice.random() < probability

    def _dispatch(self) -> None:
        """Send whatever is due until stopped."""
        with self._changed:
            while self._dispatcher is current_thread():
                for flight in self._flights:
                    flight.post.expire()
                for app_id in list(self._waiting):
                    while self._send_batch(app_id):
                        pass
                busy = self._flights or any(self._waiting.values())
                self._changed.wait(_LOOK_AGAIN_SECONDS if busy else None)

    def _send_batch(self, app_id: int) -> bool:
        """Send one batch in a thread of its own; say whether there was one to send."""
        heap, now = self._waiting[app_id], self._clock.now_ms()
        if not heap or heap[0].due > now:
            return False
        address = self._find_address(app_id)
        if address is None:
            self._counts["abandoned"] += len(heap)
            heap.clear()
            return False
        if sum(flight.app_id == app_id for flight in self._flights) >= address.max_requests:
            return False
        batch: list[_Waiting] = []
        while heap and heap[0].due <= now and len(batch) < MAX_EVENTS:
            batch.append(heapq.heappop(heap))
        body = orjson.dumps(
            [{**each.notification, "attemptNumber": each.attempt} for each in batch]
        )
        post = Post(address.url, address.secret, body, self.settings.timeout_ms / 1_000)
        flight = _Flight(app_id, batch, post, time.monotonic())
        self._flights.add(flight)
        self._counts["requests"] += 1
        Thread(target=self._fly, args=(flight,), daemon=True).start()
        return True

    def _fly(self, flight: _Flight) -> None:
        status, error = None, None
        try:
            status = flight.post.send()
        except PostError as failure:
            error = str(failure)
        with self._changed:
            # One that was stopped or forgotten meanwhile is no longer ours to settle.
            if flight in self._flights:
                self._flights.discard(flight)
                self._finish(flight, status, error)
                self._changed.notify_all()

    def _finish(self, flight: _Flight, status: int | None, error: str | None) -> None:
        self._recent.append(
            {
                "sentAt": iso(self._clock.now_ms()),
                "appId": flight.app_id,
                "events": len(flight.batch),
                "attemptNumber": max(each.attempt for each in flight.batch),
                "status": status,
                "error": error,
                "milliseconds": round((time.monotonic() - flight.started) * 1_000),
            }
        )
        if status is not None and 200 <= status < 300:
            self._counts["delivered"] += len(flight.batch)
            return
        self._counts["failures"] += 1
        jitter = self._dice.uniform(_LEAST_OF_A_WAIT, 1)
        for each in flight.batch:
            if each.attempt == MAX_RETRIES:
                self._counts["abandoned"] += 1
                continue
            share = _WAITS[each.attempt] / sum(_WAITS)
            each.due = self._clock.now_ms() + round(share * self.settings.retry_span_ms * jitter)
            each.attempt += 1
            heapq.heappush(self._waiting.setdefault(flight.app_id, []), each)

    def _is_idle(self) -> bool:
        if self._dispatcher is None:
            return True
        now = self._clock.now_ms()
        due = any(heap and heap[0].due <= now for heap in self._waiting.values())
        return not due and not self._flights
