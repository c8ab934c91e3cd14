"""The collection for Postman: made from the OpenAPI document, checked in, and good to send."""

import json
import re

import pytest
from cryptography.fernet import Fernet
from jsonschema import Draft202012Validator

from crm.cli.postman import collection_of
from tests.contracts.source import ROOT

TEXT = {"type": "string"}
NAME = {"type": "string", "minLength": 1}


def listed(item, **more):
    return {"type": "array", "items": item, **more}


def shape(required, **properties):
    return {
        "type": "object",
        "required": required.split(),
        "properties": properties,
        "additionalProperties": False,
    }


# What Postman's format 2.1 asks of the parts that we use, and no part that it does not know.
PAIR = shape("key value", key=NAME, value=TEXT, description=TEXT, disabled={"type": "boolean"})
AUTH = shape(
    "type",
    type={"enum": ["bearer", "noauth"]},
    bearer=listed(shape("key value type", key={"const": "token"}, value=TEXT, type=TEXT)),
)
URL = shape(
    "raw host path",
    raw={"type": "string", "pattern": r"^\{\{baseUrl\}\}/"},
    host={"const": ["{{baseUrl}}"]},
    path=listed(TEXT),
    query=listed(PAIR, minItems=1),
    variable=listed(PAIR, minItems=1),
)
BODY = shape(
    "mode raw options",
    mode={"const": "raw"},
    raw={"type": "string", "contentMediaType": "application/json"},
    options={"const": {"raw": {"language": "json"}}},
)
REQUEST = shape(
    "method header url",
    method={"enum": ["GET", "POST", "PUT", "PATCH", "DELETE"]},
    header=listed(PAIR),
    url=URL,
    auth=AUTH,
    body=BODY,
    description=TEXT,
)
SCRIPT = shape("type exec", type={"const": "text/javascript"}, exec=listed(TEXT))
EVENT = shape("listen script", listen={"const": "test"}, script=SCRIPT)
ITEM = shape(
    "name request response",
    name=NAME,
    event=listed(EVENT),
    request=REQUEST,
    response={"const": []},
)
FOLDER = shape("name item", name=NAME, description=TEXT, item=listed(ITEM, minItems=1))
COLLECTION = shape(
    "info item auth variable",
    info=shape(
        "name schema",
        name=NAME,
        description=TEXT,
        schema={"const": "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"},
    ),
    item=listed(FOLDER, minItems=1),
    auth=AUTH,
    variable=listed(PAIR),
)


@pytest.fixture(scope="module")
def collection():
    return json.loads((ROOT / "docs" / "postman_collection.json").read_text())


@pytest.fixture
def document(client):
    return client.get("/openapi.json").json


def requests_of(collection):
    for folder in collection["item"]:
        for item in folder["item"]:
            yield folder["name"], item["request"]


def path_of(request):
    """As the OpenAPI document writes it."""
    return "/" + "/".join(re.sub(r"^:(.*)", r"{\1}", step) for step in request["url"]["path"])


def body_of(request):
    return json.loads(request["body"]["raw"])


def send(client, request, headers, **variables):
    path = path_of(request).format(**variables)
    return client.open(path, method=request["method"], json=body_of(request), headers=headers)


@pytest.fixture
def admin(app, client):
    made = app.test_cli_runner().invoke(args=["tokens", "create", "--role", "admin"])
    return {"Authorization": f"Bearer {made.stdout.strip()}"}


def test_the_collection_that_is_checked_in_is_what_make_postman_writes_today(app, collection):
    printed = app.test_cli_runner().invoke(args=["openapi", "postman"])

    assert printed.exit_code == 0, printed.output
    assert json.loads(printed.stdout) == collection, "run: make postman"


def test_the_collection_has_the_structure_of_postmans_format(collection):
    problems = [each.message for each in Draft202012Validator(COLLECTION).iter_errors(collection)]

    assert problems == []


def test_the_collection_has_each_operation_in_the_folder_of_its_tag(collection, document):
    described = {
        (operation["tags"][0], method.upper(), path)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if method != "parameters"
    }

    found = [(tag, each["method"], path_of(each)) for tag, each in requests_of(collection)]
    assert sorted(found) == sorted(described)


def test_the_collection_asks_for_nothing_but_its_own_variables(collection):
    names = {each["key"] for each in collection["variable"]}

    assert {"baseUrl", "token", "apiKey"} <= names
    assert set(re.findall(r"\{\{(\w+)\}\}", json.dumps(collection))) == names


def test_the_collection_sends_the_credential_that_the_guard_wants(collection, document):
    for _, request in requests_of(collection):
        security = document["paths"][path_of(request)][request["method"].lower()]["security"]
        schemes = {name for each in security for name in each}
        own = request.get("auth", collection["auth"])
        headers = {each["key"]: each for each in request["header"]}

        variables = re.findall(r"\{\{(\w+)\}\}", json.dumps(own))
        named = {"token": "token", "refresh": "refreshToken", "operator": "metricsToken"}
        assert variables == [named[each] for each in named if each in schemes][:1]
        assert ("X-API-Key" in headers) == ("key" in schemes)
        # For applications to tick; sent beside a token it would be a second credential.
        assert all(each.get("disabled") for name, each in headers.items() if name == "X-API-Key")


def test_every_body_of_the_collection_fits_the_documents_schema(collection, document):
    for _, request in requests_of(collection):
        operation = document["paths"][path_of(request)][request["method"].lower()]
        content = operation.get("requestBody", {}).get("content", {})
        assert ("body" in request) == ("application/json" in content), path_of(request)
        if "body" in request:
            schema = {**content["application/json"]["schema"], "components": document["components"]}
            Draft202012Validator(schema).validate(body_of(request))


def test_every_post_of_the_collection_is_taken_as_it_is(
    collection, client, admin, set_up, change_settings
):
    # A scan keeps its token, encrypted.
    change_settings(encryption_keys=Fernet.generate_key().decode())
    taken = []
    for _, request in requests_of(collection):
        path = path_of(request)
        if request["method"] != "POST" or "body" not in request or "{" in path:
            continue
        if path in ("/", "/customers"):
            # Its contact is there already, from another folder.
            continue
        answer = send(client, request, admin)
        assert answer.status_code < 300, (path, answer.json)
        assert not [each for each in answer.json.get("results", []) if "error_code" in each], path
        taken.append(path)

    assert {"/register", "/login", "/contacts", "/deals/batch", "/api/v1/scan/start"} <= set(taken)


def test_the_customer_of_the_collection_is_made_and_changed(collection, client, admin, set_up):
    wanted = {each["method"]: each for _, each in requests_of(collection) if is_customer(each)}
    [variable] = wanted["PUT"]["url"]["variable"]

    assert send(client, wanted["POST"], admin).status_code == 201
    changed = send(client, wanted["PUT"], admin, email=variable["value"])
    assert (changed.status_code, changed.data) == (200, b"")


def is_customer(request):
    return path_of(request) in ("/customers", "/customers/{email}") and "body" in request


@pytest.mark.parametrize("kind", ["contacts", "companies", "deals", "tickets", "line_items"])
def test_the_changes_of_the_collection_are_taken_as_they_are(
    kind, collection, client, admin, set_up
):
    found = {(each["method"], path_of(each)): each for _, each in requests_of(collection)}
    # Its associations are with this contact.
    send(client, found["POST", "/contacts"], admin)
    made = send(client, found["POST", f"/{kind}"], admin).json

    [hs_object_id] = [made[name] for name in made if re.fullmatch(r"hubspot_\w+_id", name)]
    answer = send(client, found["PATCH", f"/{kind}/{{record_id}}"], admin, record_id=hs_object_id)
    assert answer.status_code == 200, answer.json


def test_signing_in_keeps_the_tokens_for_the_other_requests(collection):
    kept = {
        item["name"]: "".join(item["event"][0]["script"]["exec"])
        for folder in collection["item"]
        for item in folder["item"]
        if "event" in item
    }

    assert set(kept) == {"POST /login", "POST /refresh", "GET /get-token/{role}"}
    assert all(
        'pm.collectionVariables.set("token", pm.response.json().' in s for s in kept.values()
    )


def test_an_operation_that_nobody_gave_an_example_has_its_required_fields(document):
    schema = {
        "type": "object",
        "required": ["name", "size", "tags", "on", "kind"],
        "properties": {
            "name": {"type": "string"},
            "size": {"type": "integer", "minimum": 1},
            "tags": {"type": "array", "minItems": 1, "items": {"type": "string"}},
            "on": {"type": "boolean"},
            "kind": {"type": "string", "enum": ["small", "large"]},
            "note": {"type": "string"},
        },
    }
    operation = {
        "tags": ["auth"],
        "security": [],
        "responses": {},
        "requestBody": {"content": {"application/json": {"schema": schema}}},
    }

    made = collection_of(document | {"paths": {"/things": {"post": operation}}})
    [(folder, request)] = requests_of(made)
    assert folder == "auth"
    assert body_of(request) == {"name": "", "size": 1, "tags": [""], "on": False, "kind": "small"}
