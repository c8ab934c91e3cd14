"""Customers, as answers and as bodies."""

from collections.abc import Mapping
from contextlib import AbstractContextManager

from marshmallow import Schema, fields

from crm.api.schemas.inputs import parser_saying, saying
from crm.api.schemas.outputs import Moment
from crm.errors import InvalidInputError
from crm.push.customers import FIELDS

_INVALID = "Invalid body"
_REQUIRED = ("email", "firstname", "lastname")

CustomerParser = parser_saying(_INVALID)

CustomerSchema = Schema.from_dict(
    {
        "uuid": fields.UUID(required=True),
        **{name: fields.String(required=True, allow_none=True) for name in FIELDS},
        "createdat": Moment(required=True),
        "updatedat": Moment(required=True),
        "hubspot_id": fields.String(required=True, allow_none=True),
        "hubspot_createdat": Moment(required=True, allow_none=True),
        "hubspot_updatedat": Moment(required=True, allow_none=True),
        "sync_state": fields.String(required=True),
    },
    name="Customer",
)


def refuse_incomplete(properties: Mapping[str, str]) -> None:
    """Raise if a new customer lacks what each must have.

    Raises:
        InvalidInputError: names each field that is missing or blank.
    """
    missing = [name for name in _REQUIRED if not properties.get(name, "").strip()]
    if missing:
        raise InvalidInputError(errors=dict.fromkeys(missing, "Field is required"))


def invalid_body() -> AbstractContextManager[None]:
    """Within it, what is wrong with a body is said in the words that customers' clients know."""
    return saying(_INVALID)
