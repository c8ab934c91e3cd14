"""HubSpot's refusals: one exception that carries the answer, and a maker for each kind.

The wording follows real answers; sources are named at each maker. The correlation id is added
when the error becomes a response, in ``app``.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self, TypeAlias

from hubspot_sandbox.clock import iso

Context: TypeAlias = Mapping[str, Sequence[str]]
Detail: TypeAlias = Mapping[str, Any]

CONTENT_TYPE = "application/json;charset=utf-8"
VALIDATION = "VALIDATION_ERROR"
NOT_FOUND = "OBJECT_NOT_FOUND"


class HubSpotError(Exception):
    """A refusal: the status and the fields of HubSpot's error envelope.

    Source: HubSpot docs, error-handling. ``category``, ``sub_category``, ``context`` and ``errors``
    are left out of the body when they are not given, as HubSpot does.
    """

    def __init__(
        self,
        status: int,
        message: str,
        category: str | None = None,
        *,
        sub_category: str | None = None,
        context: Context | None = None,
        errors: Sequence[Detail] | None = None,
    ) -> None:
        """Keep what the answer will say."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.category = category
        self.sub_category = sub_category
        self.context = context
        self.errors = errors
        self.headers: dict[str, str] = {}
        self.extra: dict[str, Any] = {}

    def body(self) -> dict[str, Any]:
        """Return the error envelope without its correlation id."""
        optional = {
            "errors": self.errors,
            "context": self.context,
            "subCategory": self.sub_category,
            "category": self.category,
        }
        present = {name: value for name, value in optional.items() if value is not None}
        return {"status": "error", "message": self.message, **present, **self.extra}

    def adding(self, headers: Mapping[str, str] | None = None, **fields: Any) -> Self:
        """Add headers to the answer, and to its body fields that few errors have."""
        self.headers.update(headers or {})
        self.extra.update(fields)
        return self

    def batch_item(self, **context: str) -> dict[str, Any]:
        """Return the error as one entry of a batch answer, with ids added to its context."""
        added = {name: [value] for name, value in context.items()}
        return self.body() | {"context": {**(self.context or {}), **added}}


def invalid(message: str, *, sub_category: str | None = None, **context: list[str]) -> HubSpotError:
    """Make a 400 VALIDATION_ERROR; keywords become its context."""
    return HubSpotError(
        400, message, VALIDATION, sub_category=sub_category, context=context or None
    )


def invalid_json(problem: str, line: int = 1, column: int = 1) -> HubSpotError:
    """Make the 400 for a body that cannot be read; real ones carry no category."""
    return HubSpotError(400, f"Invalid input JSON on line {line}, column {column}: {problem}")


def missing_fields(*names: str) -> HubSpotError:
    """Make the 400 for a body that lacks fields of the request itself."""
    return invalid_json(f"Some required fields were not set: [{', '.join(names)}]")


def resource_not_found() -> HubSpotError:
    """Make the 404 of an unknown record or route; real ones carry no category."""
    return HubSpotError(404, "resource not found")


def id_not_numeric(record_id: str) -> HubSpotError:
    """Make the 404 for an id that cannot be a record's; the two spaces are HubSpot's."""
    message = "Object not found.  objectId are usually numeric."
    return HubSpotError(404, message, NOT_FOUND, context={"id": [record_id]})


def unknown_object_type(name: str) -> HubSpotError:
    """Make the 400 for an object type that the portal does not have."""
    return HubSpotError(400, f"Unable to infer object type from: {name}")


def unauthenticated() -> HubSpotError:
    """Make the 401 for a missing or unknown token."""
    return HubSpotError(
        401,
        "Authentication credentials not found. This API supports OAuth 2.0 authentication and "
        "you can find more details at https://developers.hubspot.com/docs/methods/auth/oauth-overview",
        "INVALID_AUTHENTICATION",
    )


def token_expired(expired_at: int, now: int) -> HubSpotError:
    """Make the 401 for an OAuth token whose time is over. Source: a live answer."""
    seconds = (now - expired_at) // 1000
    return HubSpotError(
        401,
        f"The OAuth token used to make this call expired {seconds} second(s) ago.",
        "EXPIRED_AUTHENTICATION",
        context={"expire time": [iso(expired_at)]},
    )


def missing_scopes(requirements: Sequence[Sequence[str]]) -> HubSpotError:
    """Make the 403 for a token that lacks scopes; one of each requirement would do."""
    return HubSpotError(
        403,
        "This app hasn't been granted all required scopes to make this call. Read more about "
        "required scopes here: https://developers.hubspot.com/scopes.",
        "MISSING_SCOPES",
        errors=[
            {
                "message": "One or more of the following scopes are required.",
                "context": {"requiredGranularScopes": list(each)},
            }
            for each in requirements
        ],
    ).adding(links={"scopes": "https://developers.hubspot.com/scopes"})


def objects_not_found(singular: str, ids: Sequence[str]) -> HubSpotError:
    """Make the refusal of ids that a batch could not find."""
    message = (
        f"Could not get some {singular.upper()} objects, they may be deleted or not exist. "
        "Check that ids are valid."
    )
    return HubSpotError(404, message, NOT_FOUND, context={"ids": list(ids)})
