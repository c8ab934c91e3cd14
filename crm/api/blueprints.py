"""Blueprints that parse strictly, and document who may call each operation and how it fails."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from flask import Flask
from flask_smorest import Blueprint

from crm.api.guards import Guard, guard_of
from crm.api.schemas.inputs import StrictParser

_SECURITY: Mapping[Guard | None, list[dict[str, list[str]]]] = {
    Guard.PERSON: [{"token": []}],
    Guard.MEMBER: [{"token": []}, {"key": []}, {"key_as_bearer": []}],
    Guard.ADMIN: [{"token": []}, {"key": []}, {"key_as_bearer": []}],
    Guard.REFRESH: [{"refresh": []}],
    Guard.OPERATOR: [{"operator": []}],
    Guard.HUBSPOT: [{"signature": []}],
}
"""By the names of ``SECURITY_SCHEMES``; nothing for what is public."""

SECURITY_SCHEMES = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "The access token that a login answers with.",
    },
    "refresh": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "The refresh token that a login or a refresh answers with.",
    },
    "key": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "An organization's API key.",
    },
    "key_as_bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "The same key, for clients that send nothing but Bearer.",
    },
    "operator": {
        "type": "http",
        "scheme": "bearer",
        "description": "The METRICS_TOKEN of the settings.",
    },
    "signature": {
        "type": "apiKey",
        "in": "header",
        "name": "X-HubSpot-Signature-v3",
        "description": "HubSpot's signature of the request; version 1 is known too.",
    },
}


class APIBlueprint(Blueprint):  # type: ignore[misc] # flask-smorest has no types
    """A blueprint for the API.

    Args:
        in_open_access: whether its routes may be tried out without a credential, where
            ``crm.open_access`` lets somebody in.
    """

    ARGUMENTS_PARSER = StrictParser()

    def __init__(self, *args: Any, in_open_access: bool = False, **options: Any) -> None:
        super().__init__(*args, **options)
        self.in_open_access = in_open_access

    def add_url_rule(
        self,
        rule: str,
        endpoint: str | None = None,
        view_func: Callable[..., Any] | None = None,
        **options: Any,
    ) -> None:
        """Add a route whose document tells its guard and the errors that any route may answer."""
        if view_func is not None:
            view_func = self.doc(**_documented(guard_of(view_func)))(view_func)
        super().add_url_rule(rule, endpoint, view_func, **options)

    def register_views_in_doc(self, api: Any, app: Flask, spec: Any, **options: Any) -> None:
        """Have the routes described as soon as somebody wants to read it."""
        describe = super().register_views_in_doc
        spec.undescribed.append(lambda: describe(api, app, spec, **options))


def _documented(guard: Guard | None) -> dict[str, Any]:
    statuses = [
        *(HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.INTERNAL_SERVER_ERROR),
        HTTPStatus.SERVICE_UNAVAILABLE,
    ]
    if guard is not Guard.PUBLIC:
        statuses += [HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN]
    return {
        "security": _SECURITY.get(guard, []),
        # flask-smorest has a response with the one error schema for each status, by its name.
        "responses": {str(status.value): status.name for status in statuses},
    }
