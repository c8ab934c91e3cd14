"""The service listening over real HTTP to what the sandbox delivers, and acting on it."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Flask
from sqlalchemy import text
from werkzeug.serving import make_server

from crm.db import transaction
from crm.inbox import process
from crm.inbox.receive import unpack
from hubspot_sandbox import DEFAULT_PORTAL_ID, SandboxServer


@contextmanager
def served(app: Flask) -> Iterator[str]:
    """The service on a port of its own; yields its address."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Ear:
    """Hears what happens in HubSpot."""

    def __init__(self, sandbox: SandboxServer, portal_id: int) -> None:
        self._sandbox, self._portal_id = sandbox, portal_id

    def hear(self) -> None:
        """Have everything delivered, and act on it, as the job would."""
        self._sandbox.flush_webhooks()
        process.process(self._portal_id)

    def listen_long(self) -> None:
        """Hear, and go on until nothing is left to wait for."""
        self.hear()
        for _ in process.PAUSES:
            let_pauses_pass()
            process.process(self._portal_id)


def let_pauses_pass() -> None:
    """Let the time come of all that is to be looked at again."""
    with transaction() as session:
        session.execute(text("UPDATE inbox SET due_at = now() WHERE processed_at IS NULL"))
        session.execute(text("UPDATE procrastinate_jobs SET scheduled_at = NULL"))


def outcomes() -> Counter[tuple[str, str | None]]:
    """How many events of which subscription type came to what."""
    unpack()
    statement = "SELECT payload ->> 'subscriptionType', outcome, count(*) FROM inbox GROUP BY 1, 2"
    with transaction() as session:
        return Counter({(told, came): n for told, came, n in session.execute(text(statement))})


def event(kind: str, object_id: str, **changes: Any) -> dict[str, Any]:
    """An event as HubSpot sends it; ``kind`` such as ``contact.creation``."""
    given = {
        "eventId": 1,
        "portalId": DEFAULT_PORTAL_ID,
        "appId": 1,
        "occurredAt": 4_000_000_000_000,
        "subscriptionType": kind,
        "attemptNumber": 0,
        "objectId": int(object_id),
    }
    return given | changes
