"""One service for all of these clients, started as ``make run`` starts it, with its own defaults.

Each file is the client of one document: plain requests over HTTP, the document's bodies to the
letter, and no credentials where the document sends none.
"""

import tempfile
import time
from pathlib import Path

import pytest
import requests

from tests.test_run import Checkout

TIMEOUT = 30


@pytest.fixture(scope="session")
def service():
    """Its addresses, as ``url`` and ``hubspot``."""
    # Below /tmp, as in test_run.py.
    with tempfile.TemporaryDirectory(prefix="crm-clients-", dir="/tmp") as folder:
        checkout = Checkout(Path(folder))
        service = checkout.service()
        # On a busy machine, the sandbox may be slow at first.
        wait_for(lambda: pipelines(service.url).ok)
        yield service
        checkout.stop()


@pytest.fixture(scope="session")
def url(service):
    return service.url


@pytest.fixture(scope="session")
def hubspot(service):
    """The sandbox's address."""
    return service.hubspot


def pipelines(url):
    return requests.get(f"{url}/contacts/pipelines", timeout=TIMEOUT)


def wait_for(find):
    """What ``find`` returns, once it is something; changes take a moment to arrive."""
    until = time.monotonic() + TIMEOUT
    while not (found := find()):
        assert time.monotonic() < until, "it did not come in time"
        time.sleep(0.1)
    return found


def check_error(answer, status, message, code):
    """The one error body, in which each client finds its own fields."""
    body = answer.json()
    assert answer.status_code == status, body
    assert (body["status"], body["error"], body["message"]) == ("error", message, message)
    assert body["error_code"] == code
    assert isinstance(body["errors"], dict)
    assert isinstance(body["details"], dict)
    assert body["timestamp"].endswith("Z")
    assert body["request_id"] == answer.headers["X-Request-ID"]
    return body
