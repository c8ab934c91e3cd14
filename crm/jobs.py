"""What every job does: some seconds' work, then hand over; back off after failures; sweep.

A job leaves the rest to the next one, so that a worker can stop soon and one portal's work never
keeps others from theirs. Whatever became of a job, a sweep finds what is left to do.
"""

import time
from collections.abc import Iterable
from datetime import timedelta
from random import uniform

from crm.db import transaction
from crm.queue import enqueue_once

LONGEST_RUN = 5.0
"""Seconds after which a job leaves the rest to the next one."""
LONGEST_PAUSE = timedelta(minutes=1)
"""Between two attempts, for as long as it takes."""

_MOST_DOUBLINGS = 10


def deadline() -> float:
    """When a job that begins now leaves the rest to the next one, by ``time.monotonic``."""
    return time.monotonic() + LONGEST_RUN


def hand_over(task: str, key: str | int) -> None:
    """Have another job go on with what this one leaves."""
    with transaction():
        enqueue_once(task, key)


def sweep_up(task: str, keys: Iterable[str | int]) -> None:
    """Enqueue a job for everything that waits, whatever became of the jobs that were to do it."""
    for key in keys:
        hand_over(task, key)


def back_off(failures: int, asked_for: float | None = None) -> timedelta:
    """How long to wait after so many failures in a row.

    The pauses double from one second to ``LONGEST_PAUSE``, with jitter, so that not all who wait
    come back at once.

    Args:
        failures: in a row, from 1 on.
        asked_for: seconds that somebody asked for, such as HubSpot in ``Retry-After``.
    """
    doubled = 2 ** min(failures, _MOST_DOUBLINGS) / 2
    pause = min(doubled, LONGEST_PAUSE.total_seconds()) * uniform(0.5, 1)  # noqa: S311 - jitter
    return timedelta(seconds=max(pause, asked_for or 0))
