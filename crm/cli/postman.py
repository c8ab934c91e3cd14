"""``flask openapi postman``: the OpenAPI document as a collection for Postman, format 2.1."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import click
from flask import current_app

from crm.cli.postman_examples import BODIES, PATH_VALUES

Json = dict[str, Any]

_FORMAT = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
_METHODS = ("get", "post", "put", "patch", "delete")
_REFERENCE = "#/components/schemas/"
_DESCRIPTION = (
    "Made from the service's OpenAPI document. On this machine, as `make run` starts it, requests "
    "to try out need no token. Else send `POST /login` or `GET /get-token/admin` first: each keeps "
    "its token in the variable `token`, which all other requests send. An application's key goes "
    "into `apiKey`: leave `token` empty, and tick the request's header X-API-Key."
)
_VARIABLES = {
    "baseUrl": "http://localhost:4012",
    "token": "",
    "refreshToken": "",
    "apiKey": "",
    "metricsToken": "",
}
_BEARERS = {"token": "token", "refresh": "refreshToken", "operator": "metricsToken"}
"""The variable that fills the Bearer token, by the security scheme."""

_KEPT = {
    "SignedIn": {"token": "data.access_token", "refreshToken": "data.refresh_token"},
    "Token": {"token": "token"},
}
"""Which variables an answer fills from where, by its schema."""


@click.command("postman")
def print_postman() -> None:
    """Print a collection for Postman."""
    [spec] = current_app.extensions["flask-smorest"]["apis"].values()
    collection = collection_of(spec["ext_obj"].spec.to_dict())
    click.echo(json.dumps(collection, indent=2, ensure_ascii=False))


def collection_of(document: Mapping[str, Any]) -> Json:
    """An OpenAPI document as a collection, with a folder for each tag."""
    folders: dict[str, Json] = {
        tag["name"]: {"name": tag["name"], "description": tag["description"], "item": []}
        for tag in document["tags"]
    }
    for path, method, operation in _operations(document):
        [tag] = operation["tags"]
        folders[tag]["item"].append(_item(document, path, method, operation))
    return {
        "info": {
            "name": document["info"]["title"],
            "description": _DESCRIPTION,
            "schema": _FORMAT,
        },
        "item": [each for each in folders.values() if each["item"]],
        "auth": _bearer("token"),
        "variable": [{"key": name, "value": value} for name, value in _VARIABLES.items()],
    }


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Json]]:
    for path, methods in document["paths"].items():
        for method in _METHODS:
            if operation := methods.get(method):
                shared = methods.get("parameters", [])
                own = operation.get("parameters", [])
                yield path, method, operation | {"parameters": [*shared, *own]}


def _item(document: Mapping[str, Any], path: str, method: str, operation: Json) -> Json:
    schemes = [name for each in operation["security"] for name in each]
    request: Json = {
        "method": method.upper(),
        "header": [],
        "url": _url(path, operation["parameters"]),
        "description": operation.get("description") or operation.get("summary", ""),
    }
    if "token" not in schemes:
        # What needs the token says nothing, and takes what the collection says.
        bearers = [_BEARERS[each] for each in schemes if each in _BEARERS]
        request["auth"] = _bearer(bearers[0]) if bearers else {"type": "noauth"}
    if "key" in schemes:
        request["header"].append(_key_header())
    body = _body(document, path, operation)
    if body is not None:
        request["header"].append({"key": "Content-Type", "value": "application/json"})
        request["body"] = {
            "mode": "raw",
            "raw": json.dumps(body, indent=2, ensure_ascii=False),
            "options": {"raw": {"language": "json"}},
        }
    name = f"{method.upper()} {path}"
    return {"name": name, **_events(operation), "request": request, "response": []}


def _url(path: str, parameters: list[Json]) -> Json:
    steps = [
        f":{step[1:-1]}" if step.startswith("{") else step for step in path.strip("/").split("/")
    ]
    url: Json = {
        "raw": "/".join(["{{baseUrl}}", *steps]),
        "host": ["{{baseUrl}}"],
        "path": steps,
    }
    query = [_query(each) for each in parameters if each["in"] == "query"]
    variable = [
        {"key": each["name"], "value": PATH_VALUES.get(each["name"], "")}
        for each in parameters
        if each["in"] == "path"
    ]
    return url | ({"query": query} if query else {}) | ({"variable": variable} if variable else {})


def _query(parameter: Json) -> Json:
    """A parameter of the query; Postman sends none but those that are ticked."""
    default = parameter["schema"].get("default")
    return {
        "key": parameter["name"],
        "value": "" if default is None else str(default),
        "description": parameter.get("description", ""),
        "disabled": not parameter.get("required", False),
    }


def _bearer(variable: str) -> Json:
    value = {"key": "token", "value": f"{{{{{variable}}}}}", "type": "string"}
    return {"type": "bearer", "bearer": [value]}


def _key_header() -> Json:
    return {
        "key": "X-API-Key",
        "value": "{{apiKey}}",
        "description": "In place of the token",
        "disabled": True,
    }


def _body(document: Mapping[str, Any], path: str, operation: Json) -> Any:
    """What to send: a good example where there is one, else a value for each required field."""
    content = operation.get("requestBody", {}).get("content", {})
    if "application/json" not in content:
        return None
    schema = content["application/json"]["schema"]
    above = path.removesuffix("/batch")
    if above != path and (one := document["paths"].get(above, {}).get("post")):
        return {"inputs": [_body(document, above, one)]}
    return _example(document, schema)


def _example(document: Mapping[str, Any], schema: Json) -> Any:
    name = schema.get("$ref", "").removeprefix(_REFERENCE)
    if name:
        return BODIES.get(name) or _example(document, document["components"]["schemas"][name])
    for given in ("example", "default"):
        if given in schema:
            return schema[given]
    if choices := schema.get("enum"):
        return choices[0]
    kind = schema.get("type", "object")
    if kind == "object":
        required = schema.get("required", [])
        fields = schema.get("properties", {})
        return {each: _example(document, fields[each]) for each in fields if each in required}
    if kind == "array":
        return [_example(document, schema["items"])] if schema.get("minItems") else []
    # A number is the least that is allowed.
    return {"boolean": False, "integer": schema.get("minimum", 0), "number": 0}.get(kind, "")


def _events(operation: Json) -> Json:
    """A script that keeps the tokens of an answer, for the other requests to send."""
    answers = json.dumps(operation["responses"])
    for name, kept in _KEPT.items():
        if f'"{_REFERENCE}{name}"' in answers:
            lines = [
                f'pm.collectionVariables.set("{variable}", pm.response.json().{place});'
                for variable, place in kept.items()
            ]
            code = ["if (pm.response.code === 200) {", *(f"  {line}" for line in lines), "}"]
            script = {"type": "text/javascript", "exec": code}
            return {"event": [{"listen": "test", "script": script}]}
    return {}
