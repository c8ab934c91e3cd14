"""Whether what people were told is in the mirror, and the mirror and HubSpot are equal."""

import time
from collections import Counter

from flask import Flask
from sqlalchemy import text

from crm.db import transaction
from hubspot_sandbox import SandboxServer
from tests.domains.graphs import differences, states
from tests.sandbox.client import HubSpot
from tools.chaos.people import People

LONGEST_WAIT = 180.0

_GRAPHS = text("""
    SELECT contact.email, contact.properties ->> 'city',
        deal.properties ->> 'dealname', ticket.properties ->> 'subject'
    FROM records AS contact
    LEFT JOIN associations AS to_deal ON to_deal.from_id = contact.id
    LEFT JOIN records AS deal ON deal.id = to_deal.to_id
    LEFT JOIN associations AS to_ticket ON to_ticket.from_id = deal.id
    LEFT JOIN records AS ticket ON ticket.id = to_ticket.to_id
    WHERE contact.object_type = 'contacts'
""")


def wait_until_sent(app: Flask) -> None:
    """Wait until nothing is pending any more; what is left is a difference."""
    deadline = time.monotonic() + LONGEST_WAIT
    with app.app_context():
        while any("pending" in each for each in states()) and time.monotonic() < deadline:
            time.sleep(0.5)


def find_differences(app: Flask, sandbox: SandboxServer, people: People) -> list[str]:
    """What is on one side only, differs, is not there, or is there twice; a sentence each."""
    # It asks for more than any app may within ten seconds.
    sandbox.sandbox.settings.lift_limits()
    client = HubSpot(sandbox.url)
    with client.session, app.app_context():
        return [*_promises_broken(people), *differences(client)]


def _promises_broken(people: People) -> list[str]:
    """What was accepted from people and is not in the mirror, or is there twice."""
    promised = people.graphs
    with transaction() as session:
        found = Counter(tuple(each) for each in session.execute(_GRAPHS))
    in_all = Counter[str]()
    for name, count in states().items():
        in_all[name.split()[0]] += count
    # One contact, one deal, one ticket, and what joins them.
    expected = dict.fromkeys(("contacts", "deals", "tickets"), len(promised))
    expected["associations"] = 2 * len(promised)
    return [
        *(f"{each} was accepted and is lost" for each in promised - found.keys()),
        *(f"{each} is in the mirror {count} times" for each, count in found.items() if count > 1),
        *(f"{each} is in the mirror, by nobody" for each in found.keys() - promised),
        *(
            f"{in_all[name]} {name} in the mirror instead of {count}"
            for name, count in expected.items()
            if in_all[name] != count
        ),
    ]
