"""The service as gunicorn serves it, over real sockets: what a test client cannot show."""

import http.client
import json
import os
import subprocess
import sys
import tempfile

import pytest
import requests

from tests.conftest import free_port, wait_until

JSON = "application/json"


@pytest.fixture(scope="module")
def port(make_settings):
    settings, number = make_settings(), free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "PORT": str(number),
        "DATABASE_URL": settings.database_url,
        "SECRET_KEY": settings.secret_key,
        "JWT_SECRET_KEY": settings.jwt_secret_key,
        "LOG_LEVEL": "ERROR",
        "WEB_CONCURRENCY": "1",
        "RATE_LIMIT_SIGN_IN": "1000 per 1 minute",
        "DATA_DIR": tempfile.gettempdir(),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "--config", "python:crm.gunicorn", "crm:create_app()"],
        env=environment,
    )
    try:
        wait_until(lambda: _is_up(number))
        yield number
    finally:
        process.terminate()
        process.wait()


def _is_up(port):
    try:
        return requests.get(f"http://127.0.0.1:{port}/health", timeout=2).ok
    except requests.RequestException:
        return False


@pytest.mark.parametrize(("size", "status"), [(1000, 400), (2**21, 413)])
def test_a_chunked_body_without_a_length_has_the_same_limit(port, size, status):
    chunks = iter([b"{}", *[b" " * 1000] * (size // 1000)])

    answer = _request(port, chunks, {"Transfer-Encoding": "chunked"}, encode_chunked=True)

    code = "PAYLOAD_TOO_LARGE" if status == 413 else "VALIDATION_ERROR"
    assert answer == (status, code)


@pytest.mark.parametrize("size", [2**21, 2**24])
def test_whoever_sends_too_much_gets_to_read_why_it_is_refused(port, size):
    answers = {_request(port, b" " * size, {}) for _ in range(5)}

    assert answers == {(413, "PAYLOAD_TOO_LARGE")}


def _request(port, body, headers, **options):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(
            "POST", "/login", body=body, headers={"Content-Type": JSON} | headers, **options
        )
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())["error_code"]
    finally:
        connection.close()
