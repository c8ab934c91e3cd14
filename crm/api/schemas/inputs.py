"""What every input must pass: strict types, sizes, and text that Postgres and HubSpot can hold."""

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn

from flask import Request
from flask_smorest import Blueprint
from marshmallow import RAISE, Schema, ValidationError, fields, validate
from webargs.flaskparser import FlaskParser

from crm.errors import InvalidInputError

LONGEST_TEXT = 65_536
"""HubSpot's limit of a text property, in characters (docs: properties)."""

_FORBIDDEN_IN_LINE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_FORBIDDEN_IN_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_NUMBER = re.compile(r"-?\d{1,20}(\.\d{1,10})?")


class Line(fields.String):
    """A text of one line: no control characters, nothing that is not Unicode."""

    forbidden = _FORBIDDEN_IN_LINE

    def __init__(
        self, *, longest: int = 255, shortest: int = 0, choices: Iterable[str] = (), **kwargs: Any
    ) -> None:
        """Limit the number of characters, or the choices."""
        super().__init__(validate=validate.Length(min=shortest, max=longest), **kwargs)
        if choices:
            self.validators.append(validate.OneOf(list(choices)))

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, attr, data, **kwargs)
        if self.forbidden.search(text):
            raise ValidationError("Must not contain control characters or broken Unicode.")
        return text


class Lines(Line):
    """A text of any number of lines."""

    forbidden = _FORBIDDEN_IN_TEXT


class EmailAddress(Line):
    """An e-mail address, in lower case from here on."""

    def __init__(self, **kwargs: Any) -> None:
        """Limit it to what mail servers accept."""
        super().__init__(longest=254, **kwargs)
        self.validators.append(validate.Email())

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        return super()._deserialize(value, attr, data, **kwargs).strip().lower()


class NumberText(fields.Field[str]):
    """A number, sent as a string or as a number, kept as the string that HubSpot wants."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if isinstance(value, float):
            text = f"{value:f}".rstrip("0").rstrip(".")
        elif isinstance(value, int | str) and not isinstance(value, bool):
            text = str(value)
        else:
            raise ValidationError("Not a valid number.")
        if not _NUMBER.fullmatch(text):
            raise ValidationError("Must be a number of at most 20 digits, without separators.")
        return text


class MomentText(fields.Field[str]):
    """A date or a time in ISO 8601, kept as the UTC time that HubSpot wants."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        try:
            moment = datetime.fromisoformat(value)
            moment = moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValidationError("Must be a date or a time like 2026-12-31T17:00:00Z.") from error
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Input(Schema):
    """A schema of something that callers send: fields it does not know are refused."""

    class Meta:
        """Marshmallow's options."""

        unknown = RAISE


class StrictParser(FlaskParser):
    """Loads bodies and queries; whatever is wrong becomes one ``InvalidInputError``."""

    DEFAULT_UNKNOWN_BY_LOCATION = {"json": RAISE, "query": RAISE}  # noqa: RUF012 - webargs' own

    def load_json(self, req: Request, schema: Schema) -> Any:
        """The JSON body, which must be an object."""
        if not req.is_json:
            raise _bad_body("Send JSON, with the header Content-Type: application/json")
        try:
            body = json.loads(req.get_data().decode(), parse_constant=_refuse_constant)
        except json.JSONDecodeError as error:
            raise _bad_body(f"Malformed JSON: {error}") from error
        except (ValueError, RecursionError) as error:
            # Not UTF-8, NaN, numbers of thousands of digits, brackets nested without end.
            raise _bad_body("Malformed JSON") from error
        if not isinstance(body, dict):
            raise _bad_body("Must be a JSON object")
        return body

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
        inside = {
            name: sentence
            for location in error.messages_dict.values()
            for name, sentence in location.items()
        }
        raise InvalidInputError(errors=flat(inside)) from error


class APIBlueprint(Blueprint):  # type: ignore[misc] # flask-smorest has no types
    """A blueprint whose inputs are parsed strictly."""

    ARGUMENTS_PARSER = StrictParser()


def flat(messages: Any, path: str = "") -> dict[str, str]:
    """Marshmallow's nested messages as dotted path to one sentence."""
    if isinstance(messages, Mapping):
        found: dict[str, str] = {}
        for name, inside in messages.items():
            step = "" if name == "_schema" else str(name)
            found |= flat(inside, ".".join(filter(None, (path, step))))
        return found
    sentence = messages[0] if isinstance(messages, list) and messages else messages
    return {path or "body": str(sentence)}


def _bad_body(sentence: str) -> InvalidInputError:
    return InvalidInputError(errors={"body": sentence})


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)
