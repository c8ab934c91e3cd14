"""Yield each new state of a scan, until it ends or has been watched for long enough."""

import time
from collections.abc import Callable, Iterator

from crm.errors import ScanNotFoundError
from crm.scans.status import ScanState, find_scan

LONGEST = 60.0
"""Seconds; who wants to see more comes again, and meanwhile others have their turn."""
BETWEEN = 1.0
"""Seconds from one look to the next."""
HEARTBEAT = 10
"""Looks without news after which there is a sign of life."""


def watch(
    organization_id: int,
    scan_id: str,
    *,
    pause: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[ScanState | None]:
    """The state of a scan now, and again whenever it has changed; the last one if it has ended.

    Yields None when there was no news for a while, so that who passes it on finds out whether
    anybody listens yet.

    Args:
        organization_id: whose.
        scan_id: the caller's name of it.
        pause: waits the given seconds.
        clock: tells seconds.

    Raises:
        ScanNotFoundError: before anything is yielded, the organization has none of this name.
    """
    state = find_scan(organization_id, scan_id)
    if state is None:
        raise ScanNotFoundError
    yield state
    until, quiet = clock() + LONGEST, 0
    while not state.has_ended and clock() < until:
        pause(BETWEEN)
        found = find_scan(organization_id, scan_id)
        if found is None or found.job_id != state.job_id:
            return  # It was started again; who comes again sees that one.
        quiet += 1
        if found.version != state.version:
            state, quiet = found, 0
            yield state
        elif quiet % HEARTBEAT == 0:
            yield None
