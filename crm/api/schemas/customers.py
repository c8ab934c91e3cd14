"""Customers, as answers and as bodies."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from flask import Request
from marshmallow import Schema, ValidationError, fields

from crm.api.schemas.inputs import StrictParser
from crm.api.schemas.outputs import Moment
from crm.errors import InvalidInputError
from crm.services.customers import FIELDS

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


@contextmanager
def invalid_body() -> Iterator[None]:
    """Within it, what is wrong with a body is said in the words that customers' clients know."""
    try:
        yield
    except InvalidInputError as error:
        raise InvalidInputError("Invalid body", errors=error.errors) from error


class CustomerParser(StrictParser):
    """Refuses bodies in those words."""

    def load_json(self, req: Request, schema: Schema) -> Any:
        """The JSON body, which must be an object."""
        with invalid_body():
            return super().load_json(req, schema)

    def handle_error(self, error: ValidationError, *args: Any, **options: Any) -> NoReturn:
        """Name each field by its dotted path."""
        with invalid_body():
            super().handle_error(error, *args, **options)
        raise AssertionError("unreachable")
