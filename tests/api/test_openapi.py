"""The OpenAPI document and its page."""

import re

import pytest
from openapi_spec_validator import validate

from crm.api.guards import Guard, guard_of
from crm.api.schemas.outputs import ErrorSchema

OUTSIDE = re.compile(r"""(?:src|href|url)\s*[=:(]\s*["']?\s*(?:https?:)?//(?!localhost)[^\s"')]+""")


@pytest.fixture
def document(client):
    answer = client.get("/openapi.json")
    assert answer.status_code == 200
    return answer.json


def path_of(rule):
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)


def operations(document):
    """(path, method, operation) of every operation; a path may have parameters beside them."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method != "parameters":
                yield path, method, operation


def test_the_document_is_valid(document):
    validate(document)


def test_the_document_tells_every_route_of_ours(app, document):
    ours = {
        (path_of(rule), method.lower())
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
        if rule.endpoint.partition(".")[0] in {each["name"] for each in document["tags"]}
        and not rule.endpoint.endswith(".static")
    }

    told = {(path, method) for path, method, _ in operations(document)}

    assert ours == told
    assert ("/contacts", "get") in told


def test_every_operation_tells_its_guard(app, document):
    schemes = {Guard.PUBLIC: [], Guard.PERSON: ["token"], Guard.REFRESH: ["refresh"]}
    schemes[Guard.MEMBER] = schemes[Guard.ADMIN] = ["token", "key", "key_as_bearer"]
    schemes[Guard.HUBSPOT], schemes[Guard.OPERATOR] = ["signature"], ["operator"]

    for rule in app.url_map.iter_rules():
        for method in set(rule.methods or ()) & {"GET", "POST", "PUT", "PATCH", "DELETE"}:
            operation = document["paths"].get(path_of(rule), {}).get(method.lower())
            if operation is None:
                continue
            guard = guard_of(app.view_functions[rule.endpoint])
            assert [*map(next, map(iter, operation["security"]))] == schemes[guard], rule.rule
            refusals = {"401", "403"} & set(operation["responses"])
            assert guard is Guard.PUBLIC or refusals == {"401", "403"}, rule.rule
            assert {"429", "500", "default"} <= set(operation["responses"])


def test_every_operation_with_an_input_tells_of_a_400_and_none_of_a_422(document):
    for path, _, operation in operations(document):
        assert "422" not in operation["responses"]
        if "parameters" in operation or "requestBody" in operation:
            assert "400" in operation["responses"], path


def test_every_error_is_told_with_the_one_schema(client, document):
    responses = document["components"]["responses"]
    body = client.get("/nowhere").json

    for name, response in responses.items():
        schema = response["content"]["application/json"]["schema"]
        assert schema == {"$ref": "#/components/schemas/Error"}, name
    assert set(document["components"]["schemas"]["Error"]["properties"]) == set(body)
    assert ErrorSchema().validate(body) == {}


def test_the_page_and_its_files_ask_no_outside_host(client):
    page = client.get("/docs/")
    files = re.findall(r'(?:src|href)="([^"]+)"', page.text)

    assert page.status_code == 200
    assert "/openapi.json" in page.text
    assert not OUTSIDE.search(page.text)
    assert len(files) >= 4
    for file in files:
        assert file.startswith("/docs/")
        with client.get(file) as answer:
            assert answer.status_code == 200, file
            if file.endswith(".css"):
                assert not OUTSIDE.search(answer.text), file


def test_the_page_does_not_send_the_document_to_the_online_validator(client):
    assert '"validatorUrl": "none"' in client.get("/docs/").text


def test_the_page_is_found_without_the_slash_too(client):
    answer = client.get("/docs", follow_redirects=True)

    assert answer.status_code == 200
    assert "swagger-ui" in answer.text
