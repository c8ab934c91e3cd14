"""What every input must pass: strict types, sizes, and text that Postgres and HubSpot can hold."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from math import inf
from typing import Any, NoReturn

from flask import Request
from marshmallow import RAISE, Schema, ValidationError, fields, validate
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import RequestEntityTooLarge

from crm.errors import InvalidInputError
from crm.property_values import FORBIDDEN_IN_LINE, FORBIDDEN_IN_TEXT, ValueProblem, as_number

_LONGEST_WHOLE_NUMBER = 40
"""Digits; more are no number that any field takes, and converting them takes quadratic time."""


class Line(fields.String):
    """A text of one line: no control characters, nothing that is not Unicode."""

    forbidden = FORBIDDEN_IN_LINE

    def __init__(
        self, *, longest: int = 255, shortest: int = 0, choices: Iterable[str] = (), **kwargs: Any
    ) -> None:
        """Limit the number of characters, or the choices."""
        super().__init__(validate=validate.Length(min=shortest, max=longest), **kwargs)
        if choices := list(choices):
            named = ", ".join(filter(None, choices))
            self.validators.append(validate.OneOf(choices, error=f"Must be one of: {named}."))

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, attr, data, **kwargs)
        if self.forbidden.search(text):
            raise ValidationError("Must not contain control characters or broken Unicode.")
        return text


class Lines(Line):
    """A text of any number of lines."""

    forbidden = FORBIDDEN_IN_TEXT


class EmailAddress(Line):
    """An e-mail address, in lower case from here on."""

    def __init__(self, **kwargs: Any) -> None:
        """Limit it to what mail servers accept."""
        super().__init__(longest=254, **kwargs)
        self.validators.append(validate.Email())

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        return super()._deserialize(value, attr, data, **kwargs).strip().lower()


class NumberText(fields.String):
    """A number, sent as a string or as a number, kept as the string that HubSpot wants."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        try:
            return as_number(value)
        except ValueProblem as problem:
            raise ValidationError(str(problem)) from problem


class MomentText(fields.String):
    """A date or a time in ISO 8601, kept as the UTC time that HubSpot wants."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        try:
            moment = datetime.fromisoformat(value)
            moment = moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValidationError("Must be a date or a time like 2026-12-31T17:00:00Z.") from error
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Few(fields.List[Any]):
    """A list whose length is looked at before its items, of which there might be thousands."""

    def __init__(self, inside: type[Schema], *, most: int, **kwargs: Any) -> None:
        """Allow at most so many."""
        self.fits = validate.Length(max=most)
        super().__init__(fields.Nested(inside), validate=self.fits, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> list[Any]:
        if isinstance(value, list):
            self.fits(value)
        return super()._deserialize(value, attr, data, **kwargs)


class Input(Schema):
    """A schema of something that callers send: fields it does not know are refused."""

    class Meta:
        """Marshmallow's options."""

        unknown = RAISE

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        """Say of a missing field what clients compare."""
        field_obj.error_messages["required"] = "Field is required"


class StrictParser(FlaskParser):
    """Loads bodies and queries; whatever is wrong becomes one ``InvalidInputError``."""

    DEFAULT_UNKNOWN_BY_LOCATION = {"json": RAISE, "query": RAISE}  # noqa: RUF012 - webargs' own
    DEFAULT_VALIDATION_STATUS = 400

    def load_json(self, req: Request, schema: Schema) -> Any:
        """The JSON body, which must be an object; none at all where no field is required."""
        if not any(each.required for each in schema.fields.values()) and not body_of(req):
            return {}
        if not req.is_json:
            raise _bad_body("Send JSON, with the header Content-Type: application/json")
        try:
            body = json.loads(
                body_of(req).decode(), parse_constant=_refuse_constant, parse_int=_whole_number
            )
        except json.JSONDecodeError as error:
            raise _bad_body(f"Malformed JSON: {error}") from error
        except UnicodeDecodeError as error:
            raise _bad_body("Must be UTF-8") from error
        except RecursionError as error:
            raise _bad_body("Nested too deeply") from error
        if not isinstance(body, dict):
            raise _bad_body("Must be a JSON object")
        return body

    def load_querystring(self, req: Request, schema: Schema) -> dict[str, str]:
        """The query, one value for each name: no parameter of ours is a list."""
        return req.args.to_dict()

    def handle_error(
        self,
        error: ValidationError,
        req: Request,
        schema: Schema,
        *,
        error_status_code: int | None,
        error_headers: Mapping[str, str] | None,
    ) -> NoReturn:
        """Name each field by its dotted path."""
        # By location, of which each call has one.
        found = [each for inside in error.messages_dict.values() for each in flat(inside)]
        raise InvalidInputError(errors=dict(found)) from error


@contextmanager
def saying(message: str) -> Iterator[None]:
    """Within it, what is wrong with an input is said in the words that some clients know."""
    try:
        yield
    except InvalidInputError as error:
        raise InvalidInputError(message, errors=error.errors) from error


def parser_saying(message: str) -> type[StrictParser]:
    """A parser that refuses inputs in these words."""

    class Parser(StrictParser):
        def load_json(self, req: Request, schema: Schema) -> Any:
            with saying(message):
                return super().load_json(req, schema)

        def handle_error(self, error: ValidationError, *args: Any, **options: Any) -> NoReturn:
            with saying(message):
                super().handle_error(error, *args, **options)
            raise AssertionError("unreachable")

    return Parser


def body_of(req: Request) -> bytes:
    """The whole body.

    Raises:
        RequestEntityTooLarge: it is larger than the app allows.
    """
    body = req.get_data()
    if req.content_length is None and len(body) >= (req.max_content_length or inf):
        # Werkzeug cuts a body of unknown length at the limit and says nothing.
        raise RequestEntityTooLarge
    return body


def flat(messages: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Marshmallow's nested messages, as dotted paths with one sentence each."""
    if isinstance(messages, Mapping):
        for name, inside in messages.items():
            # An unknown field may have any name that JSON can spell, broken Unicode too.
            step = str(name).encode("utf-8", "backslashreplace").decode()
            steps = (path, "" if name == "_schema" else step)
            yield from flat(inside, ".".join(filter(None, steps)))
    else:
        sentence = messages[0] if isinstance(messages, list) and messages else messages
        yield path or "body", str(sentence)


def _whole_number(digits: str) -> int | float:
    # As a float it stays a number, for the field to refuse by its name.
    return int(digits) if len(digits) <= _LONGEST_WHOLE_NUMBER else float(digits)


def _bad_body(sentence: str) -> InvalidInputError:
    return InvalidInputError(errors={"body": sentence})


def _refuse_constant(name: str) -> NoReturn:
    raise _bad_body(f"Malformed JSON: {name} is no number in JSON")
