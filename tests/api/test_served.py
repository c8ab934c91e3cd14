"""The service as gunicorn serves it, over real sockets: what a test client cannot show."""

import http.client
import json
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
