"""However many requests a process works on, its health is told within a second."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from crm.admission import AT_ALL_TIMES, AT_ONCE, WAITING, Admission, init_admission
from crm.api.guards import Guard, guarded
from crm.errors import UnavailableError
from tests.api.conftest import serving
from tests.conftest import wait_until


def test_a_request_beyond_those_that_may_wait_is_refused_at_once(monkeypatch):
    monkeypatch.setattr("crm.admission._PATIENCE", 0.3)
    admission = Admission(at_once=1, waiting=1)
    admission.enter()

    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(admission.enter)
        wait_until(lambda: admission._inside == 2)
        with pytest.raises(UnavailableError, match="busy"):
            admission.enter()
        assert not waits.done()
        with pytest.raises(UnavailableError, match="busy"):
            waits.result()

    admission.leave()
    admission.enter()
    assert admission._inside == 1


def test_a_turn_ends_with_its_request_even_one_that_breaks(make_app):
    app = make_app()
    admission = Admission(at_once=1, waiting=0)
    init_admission(app, admission)
    app.add_url_rule("/breaking", "breaking", guarded(Guard.PUBLIC)(lambda: 1 / 0))
    client = app.test_client()

    answers = [client.get(path).status_code for path in ("/breaking", "/nowhere", "/openapi.json")]

    assert answers == [500, 404, 200]
    assert admission._inside == 0


def test_a_request_that_comes_while_too_many_wait_is_refused_for_now_and_health_is_not(make_app):
    app = make_app()
    admission = Admission(at_once=1, waiting=0)
    init_admission(app, admission)
    admission.enter()
    client = app.test_client()

    answer = client.get("/contacts/pipelines")

    assert (answer.status_code, answer.json["error_code"]) == (503, "UNAVAILABLE")
    assert answer.headers["Retry-After"] == "5"
    assert client.get("/health").status_code == 200


def test_health_answers_within_a_second_when_every_turn_is_taken(
    make_settings, app, make_key, sandbox, tmp_path
):
    key, settings = make_key(), make_settings()
    hubspot = {
        "HUBSPOT_API_URL": settings.hubspot_api_url,
        "HUBSPOT_PRIVATE_APP_TOKEN": settings.hubspot_private_app_token,
    }
    with serving(settings, tmp_path, **hubspot) as (url, _):
        sandbox.set_faults([{"kind": "slow", "seconds": 2.0}])

        def write(number):
            body = {"email": f"p{number}@example.com"}
            return requests.post(f"{url}/contacts", json=body, headers=key, timeout=60).status_code

        with ThreadPoolExecutor(AT_ONCE + WAITING + AT_ALL_TIMES) as pool:
            writes = [pool.submit(write, number) for number in range(AT_ONCE + WAITING)]
            took = []
            for _ in range(5):
                time.sleep(0.2)
                began = time.monotonic()
                assert requests.get(f"{url}/health", timeout=10).json()["uptime_seconds"] >= 0
                took.append(time.monotonic() - began)
            sandbox.set_faults([])
            statuses = {each.result() for each in writes}

    assert max(took) < 1
    assert statuses <= {200, 201, 202, 503}
