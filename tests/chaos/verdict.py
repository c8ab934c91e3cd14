"""Whether the mirror and HubSpot are equal once all is quiet."""

import time
from collections import Counter

from flask import Flask

from crm.sandbox import SandboxServer
from tests.chaos.people import People
from tests.sandbox.client import HubSpot
from tests.services.graphs import differences, states

LONGEST_WAIT = 180.0


def wait_until_sent(app: Flask) -> None:
    """Wait until nothing is pending any more; what is left is a difference."""
    deadline = time.monotonic() + LONGEST_WAIT
    with app.app_context():
        while any("pending" in each for each in states()) and time.monotonic() < deadline:
            time.sleep(0.5)


def find_differences(app: Flask, sandbox: SandboxServer, people: People) -> list[str]:
    """What is on one side only, differs, is not there, or is there twice; a sentence each."""
    client = HubSpot(sandbox.url)
    # One contact, one deal, one ticket, and what joins them.
    expected = dict.fromkeys(("contacts", "deals", "tickets"), people.count)
    expected["associations"] = 2 * people.count
    with client.session, app.app_context():
        found: Counter[str] = Counter()
        for name, count in states().items():
            found[name.split()[0]] += count
        wrong = [
            f"{found[name]} {name} in the mirror instead of {count}"
            for name, count in expected.items()
            if found[name] != count
        ]
        return wrong + differences(client)
