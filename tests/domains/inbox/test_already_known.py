"""Writes of our own come back as events, and cost next to nothing."""

import threading

import pytest

from crm.db import db, transaction
from crm.inbox import process
from crm.mirror import rows
from crm.mirror.rows import NewRecord, associate, create_records
from crm.object_types import COMPANIES, CONTACT_TO_DEAL, DEALS
from crm.push.job import enqueue_push
from tests.domains import graphs
from tests.domains.webhook_listener import outcomes

WRITES = 1000
EXTRA = 20


def write_contacts(portal_id, numbers, **properties):
    with transaction():
        for number in numbers:
            email = f"p{number}@example.com"
            rows.write_contact(portal_id, {"email": email, **graphs.CONTACT, **properties})
        enqueue_push(portal_id)


def sent(sandbox):
    """How many requests wrote something, and how many there were in all."""
    by_route = sandbox.requests()["by_route"]
    writes = sum(n for route, n in by_route.items() if route.endswith(("upsert", "update")))
    return writes, sandbox.requests()["total"]


@pytest.mark.long
def test_a_thousand_writes_from_here_cause_no_second_one_and_hardly_a_request(
    ear, app, portal_id, sandbox, send
):
    half = WRITES // 2
    write_contacts(portal_id, range(half))
    send()
    ear.listen_long()
    sandbox.clear_requests()

    write_contacts(portal_id, range(half), phone="+1 555 7", company="Engines Ltd")
    write_contacts(portal_id, range(half, WRITES), phone="+1 555 8")
    with listening_meanwhile(app, portal_id):
        send()
    ear.listen_long()
    send()

    writes, requests = sent(sandbox)
    assert graphs.states() == {"contacts synced": WRITES}
    assert writes == WRITES / 100
    assert requests <= writes + EXTRA
    assert {outcome for _, outcome in outcomes()} <= {"known", "ignored", "read"}
    assert outcomes()["contact.propertyChange", "known"] >= half


def test_writes_of_deals_companies_and_associations_cause_no_second_one_either(
    ear, app, portal_id, sandbox, send
):
    new = [NewRecord(DEALS, graphs.DEAL) for _ in range(100)]
    new += [NewRecord(COMPANIES, {"name": f"Engines {n}"}) for n in range(100)]
    with transaction():
        contact_id = rows.write_contact(portal_id, {"email": "ada@example.com"})
        ids = create_records(portal_id, new)
        associate(portal_id, [(CONTACT_TO_DEAL, contact_id, ids[each.uuid]) for each in new[:100]])
        enqueue_push(portal_id)
    sandbox.clear_requests()

    with listening_meanwhile(app, portal_id):
        send()
    sent_requests = sandbox.requests()["total"]
    ear.listen_long()

    assert sandbox.requests()["total"] - sent_requests <= 2
    assert graphs.states()["associations synced"] == 100


class listening_meanwhile:  # noqa: N801 - reads as a statement
    """Another worker acts on events while the block runs."""

    def __init__(self, app, portal_id):
        self._app, self._portal_id = app, portal_id
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._listen)

    def __enter__(self):
        self._thread.start()

    def __exit__(self, *_):
        self._is_over.set()
        self._thread.join()

    def _listen(self):
        with self._app.app_context():
            while not self._is_over.wait(0.01):
                process.process(self._portal_id)
            db.session.remove()
