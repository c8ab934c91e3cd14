"""The service as gunicorn serves it, over real sockets: what a test client cannot show."""

import http.client
import json
import socket
from urllib.parse import urlsplit

import pytest

from tests.api.conftest import serving

JSON = "application/json"


@pytest.fixture(scope="module")
def port(make_settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    with serving(make_settings(), folder, RATE_LIMIT_SIGN_IN="1000 per 1 minute") as (url, _):
        yield urlsplit(url).port


@pytest.mark.parametrize(("size", "status"), [(1000, 400), (2**21, 413)])
def test_a_chunked_body_without_a_length_has_the_same_limit(port, size, status):
    chunks = iter([b"{}", *[b" " * 1000] * (size // 1000)])

    answer = _request(port, chunks, {"Transfer-Encoding": "chunked"}, encode_chunked=True)

    code = "PAYLOAD_TOO_LARGE" if status == 413 else "VALIDATION_ERROR"
    assert answer == (status, code)


@pytest.mark.parametrize("size", [2**21, 2**24])
def test_a_caller_who_sends_too_much_gets_to_read_why_it_is_refused(port, size):
    answers = {_request(port, b" " * size, {}) for _ in range(5)}

    assert answers == {(413, "PAYLOAD_TOO_LARGE")}


@pytest.mark.parametrize(
    ("head", "status", "code"),
    [
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: localhost", 414, "URI_TOO_LONG"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 9000, 431, "HEADERS_TOO_LARGE"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example", 400, "VALIDATION_ERROR"),
        (b"nonsense", 400, "VALIDATION_ERROR"),
    ],
)
def test_the_server_answers_what_it_cannot_read_with_the_one_error_body(port, head, status, code):
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(head + b"\r\n\r\n")
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        body = json.loads(answer.read())

    assert (answer.status, body["error_code"]) == (status, code)
    assert body["error"] == body["message"]
    assert body["request_id"] == answer.headers["X-Request-ID"]


def _request(port, body, headers, **options):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(
            "POST", "/login", body=body, headers={"Content-Type": JSON} | headers, **options
        )
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())["error_code"]
    finally:
        connection.close()
