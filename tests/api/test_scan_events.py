"""/api/v1/scan/events: watching a scan run."""

import json

import pytest
import requests
from sqlalchemy import text

from crm.accounts import users
from crm.db import transaction
from crm.errors import ScanNotFoundError
from crm.scans import progress_stream
from crm.streams import STREAMS
from tests.domains.webhook_listener import served

from .scan_rows import make_scan

EVENTS = "/api/v1/scan/events/nightly"


@pytest.fixture
def key(make_key):
    return make_key()


@pytest.fixture
def organization_id(app):
    return users.get_organization_id("Default")


def change(**values):
    with transaction() as session:
        for name, value in values.items():
            session.execute(
                text(f"UPDATE scans SET {name} = :value, updated_at = clock_timestamp()"),  # noqa: S608
                {"value": value},
            )


class Clock:
    """Goes on only while somebody pauses; what shall happen at a second is done then."""

    def __init__(self, **happenings):
        self.now = 0.0
        self.happenings = {int(at.removeprefix("at_")): do for at, do in happenings.items()}

    def __call__(self):
        return self.now

    def pause(self, seconds):
        self.now += seconds
        self.happenings.get(int(self.now), lambda: None)()


def watch(organization_id, clock):
    return progress_stream.watch(organization_id, "nightly", pause=clock.pause, clock=clock)


def events_in(answer):
    """(event, id, data) of each."""
    assert answer.status_code == 200
    found = []
    for block in answer.text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line[0] != ":")
        if "data" in fields:
            found.append((fields["event"], fields.get("id"), json.loads(fields["data"])))
    return found


def test_progress_is_told_whenever_there_is_some_and_then_the_end(organization_id):
    make_scan(status="running", total_items=10, processed_items=1)
    clock = Clock(
        at_3=lambda: change(processed_items=5),
        at_5=lambda: change(processed_items=10, status="completed"),
    )

    states = list(watch(organization_id, clock))

    assert [(each.status, each.processed_items) for each in states] == [
        *(("running", 1), ("running", 5), ("completed", 10))
    ]
    assert clock.now == 5


def test_while_there_is_no_news_there_are_signs_of_life_and_then_an_end(organization_id):
    make_scan(status="running")
    clock = Clock()

    states = list(watch(organization_id, clock))

    assert states[1:] == [None] * 6
    assert clock.now == 60


def test_a_scan_that_is_started_again_is_watched_no_longer(organization_id):
    make_scan(status="running")

    states = list(watch(organization_id, Clock(at_2=lambda: change(job_id="job_other"))))

    assert len(states) == 1


def test_nobody_watches_what_is_not_there(organization_id):
    with pytest.raises(ScanNotFoundError):
        next(watch(organization_id, Clock()))


def test_the_end_is_an_event_with_the_status(client, key):
    make_scan(deals=3)

    answer = client.get(EVENTS, headers=key, buffered=True)

    [(event, event_id, data)] = events_in(answer)
    assert answer.content_type == "text/event-stream; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.text.startswith("retry: 3000\n\n")
    assert (event, event_id) == ("end", data["id"])
    assert data == client.get("/api/v1/scan/status/nightly", headers=key).json


def test_a_browser_that_comes_again_after_the_end_is_told_to_stop(client, key):
    make_scan(deals=3)
    [(_, event_id, _)] = events_in(client.get(EVENTS, headers=key, buffered=True))

    again = client.get(EVENTS, headers={**key, "Last-Event-ID": event_id}, buffered=True)
    change(job_id="job_of_the_next_scan")
    of_the_next = client.get(EVENTS, headers={**key, "Last-Event-ID": event_id}, buffered=True)

    assert (again.status_code, again.data) == (204, b"")
    assert of_the_next.status_code == 200


def test_progress_is_an_event(client, key, monkeypatch):
    monkeypatch.setattr(progress_stream, "LONGEST", 0.0)
    make_scan(status="running", total_items=10, processed_items=1)

    [(event, _, data)] = events_in(client.get(EVENTS, headers=key, buffered=True))

    assert (event, data["progress"]["processed_items"]) == ("progress", 1)


def test_a_process_has_room_for_others_beside_those_who_watch(app, key):
    make_scan(status="running")
    with served(app) as url:

        def get(path):
            return requests.get(f"{url}{path}", headers=key, stream=True, timeout=10)

        watchers = [get(EVENTS) for _ in range(STREAMS)]
        refused = get(EVENTS)
        status = get("/api/v1/scan/status/nightly")
        change(status="completed")
        told = [each.text for each in watchers]
        again = get(EVENTS)

    assert all("event: progress" in each and "event: end" in each for each in told)
    assert (refused.status_code, refused.json()["error_code"]) == (429, "RATE_LIMIT_EXCEEDED")
    assert refused.json()["message"] == "ratelimit exceeded 4 streams at once"
    assert int(refused.headers["Retry-After"]) > 0
    assert (status.status_code, again.status_code) == (200, 200)


def test_what_is_refused_takes_up_no_room(client, key):
    for _ in range(STREAMS + 1):
        assert client.get(EVENTS, headers=key).status_code == 404
