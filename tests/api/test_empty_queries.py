"""An empty value in a query counts as not given: of every parameter, of every route."""

import re

import orjson
import pytest

from .scan_rows import make_scan

NAMES = {"object_type": "deals", "type": "contacts", "format": "csv"}
"""Values of parameters that a call cannot do without."""
UUID = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def ask(app, make_user, make_key):
    """Asks a route as whoever may."""
    client, key, person = app.test_client(), make_key(), make_user().headers

    def do(path, query):
        headers = person if path.startswith("/integrations") else key
        return client.get(path, query_string=query, headers=headers, buffered=True)

    return do


def test_every_parameter_of_every_route_counts_as_not_given_when_it_is_empty(
    app, ask, make_contact
):
    make_contact("ada@example.com", hs_object_id="501", firstname="Ada")
    make_scan("nightly", deals=3)
    places = {"scan_id": "nightly", "record_id": "501", "provider": "hubspot", "email": "a@b.ch"}
    document = app.test_client().get("/openapi.json").json
    asked = 0

    for path, operations in document["paths"].items():
        parameters = [
            each
            for each in operations.get("get", {}).get("parameters", [])
            if each["in"] == "query"
        ]
        if not parameters:
            continue
        real = re.sub(r"{(\w+)}", lambda found: places[found[1]], path)
        needed = [(each["name"], NAMES[each["name"]]) for each in parameters if each["required"]]
        bare = ask(real, needed)
        empty = [(each["name"], "") for each in parameters if not each["required"]]
        asked += len(empty)
        for query in (empty, *([each] for each in empty)):
            assert _told(ask(real, [*needed, *query])) == _told(bare), (path, query)
    assert asked > 60


@pytest.mark.parametrize("path", ["/api/v1/scan/status/nightly", "/contacts/501", "/sync/rejected"])
def test_a_parameter_that_nobody_knows_is_not_there_when_it_is_empty(ask, make_contact, path):
    make_contact("ada@example.com", hs_object_id="501")
    make_scan("nightly")

    assert ask(path, "unknown=&limit=").status_code == 200


def test_a_value_counts_when_an_empty_one_stands_before_it(ask, make_contact):
    for number in range(3):
        make_contact(f"p{number}@example.com")

    answer = ask("/contacts", "limit=&limit=2&cursor=")

    assert len(answer.json["data"]["data"]["contacts"]) == 2


def test_a_space_is_a_value(ask):
    assert ask("/contacts", "limit=%20").status_code == 400


def _told(answer):
    """What an answer says, but for what is another each time."""
    try:
        body = orjson.loads(answer.data)
    except orjson.JSONDecodeError:
        return answer.status_code, answer.data
    for name in ("timestamp", "request_id"):
        body.pop(name, None)
    return answer.status_code, body
