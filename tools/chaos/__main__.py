"""``make chaos``: some minutes of bad luck, and then the question whether anything was lost.

A thousand people register over HTTP and a thousand changes are made to them, while HubSpot errs in
one call of ten, workers are killed, tokens expire and Postgres restarts. Afterwards the mirror and
HubSpot must be equal, record for record and association for association. Then workers are killed
two hundred times within scans, whose results must be complete and exact each time. The same seed
brings the same faults; which call each of them strikes depends on the machine.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import IO

from tools.chaos import scans
from tools.chaos.people import People
from tools.chaos.trouble import Trouble
from tools.chaos.verdict import find_differences, wait_until_sent
from tools.stage import stage

PEOPLE = 1_000
KILLS = 200
REPORT_EVERY = 5.0
LOG = Path(tempfile.gettempdir()) / "crm-chaos.log"


def main() -> int:
    """Run it; returns 1 when something was lost or doubled."""
    options = _options()
    print(f"what the service says goes to {LOG}", flush=True)
    with LOG.open("wb") as log:
        differences = _run_people(options, log) if options.people else []
        differences += scans.run(options.kills, options.seed, log) if options.kills else []
    for each in differences[:20]:
        print(f"DIFFERENT: {each}")
    return 1 if differences else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the faults and the kills")
    parser.add_argument("--people", type=int, default=PEOPLE, help="how many register")
    parser.add_argument("--kills", type=int, default=KILLS, help="of workers within scans")
    return parser.parse_args()


def _run_people(options: argparse.Namespace, log: IO[bytes]) -> list[str]:
    with stage(as_oauth_app=True, log=log) as place:
        app = place.create_service("chaos")
        people = People(place, app, options.people, options.seed)
        trouble = Trouble(place, "chaos", people, options.seed)
        with _reporting(lambda: f"{people}  {trouble}"):
            with trouble:
                people.run(trouble.is_complete)
            print("no more trouble; what is left is sent", flush=True)
            wait_until_sent(app)
        differences = find_differences(app, place.sandbox, people)
        print(f"\n{people}\nsurvived: {trouble}")
        for name, count in trouble.struck.items():
            print(f"  {count:4}  {name}")
    print(f"{len(differences)} differences between the mirror and HubSpot")
    return differences


@contextmanager
def _reporting(report: Callable[[], str]) -> Iterator[None]:
    """Say every few seconds how it is going."""
    over = Event()

    def repeat() -> None:
        while not over.wait(REPORT_EVERY):
            print(f"  {time.strftime('%H:%M:%S')}  {report()}", flush=True)

    thread = Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


if __name__ == "__main__":
    sys.exit(main())
