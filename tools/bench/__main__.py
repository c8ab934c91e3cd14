"""``make bench``: every figure is a count, or a ratio measured side by side in one run."""

import argparse
import sys

from tools.bench import (
    budget,
    contacts,
    mirror,
    registrations,
    sandbox,
    scan_reads,
    scans,
    upserts,
    webhooks,
)
from tools.stage import stage

MEASUREMENTS = {
    "requests": registrations.measure_requests,
    "speed": registrations.measure_speed,
    "contacts": contacts.measure,
    "upserts": upserts.measure,
    "sandbox": sandbox.measure,
    "budget": budget.measure,
    "webhooks": webhooks.measure,
    "mirror": mirror.measure,
    "scan_reads": scan_reads.measure,
    "scans": scans.measure,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument(
        "only", nargs="*", choices=[[], *MEASUREMENTS], default=[], help="measure only these"
    )
    only = parser.parse_args().only
    for name, measure in MEASUREMENTS.items():
        if not only or name in only:
            print(f"{name} …", file=sys.stderr)
            with stage() as place:
                for figure in measure(place):
                    print(figure, flush=True)


if __name__ == "__main__":
    main()
