"""Forms: fields that take nothing which the database or HubSpot could not hold."""

from typing import Any

from flask_wtf import FlaskForm
from marshmallow import ValidationError as SchemaError
from marshmallow import validate
from wtforms import Field, PasswordField, StringField, ValidationError
from wtforms.validators import InputRequired, Length, Optional

from crm.accounts.users import LONGEST_PASSWORD, SHORTEST_PASSWORD
from crm.property_values import FORBIDDEN_IN_LINE, FORBIDDEN_IN_TEXT


def is_storable(text: str) -> bool:
    """Whether Postgres and HubSpot can hold a text of any number of lines."""
    return not FORBIDDEN_IN_TEXT.search(text)


def one_line(_: FlaskForm, field: Field) -> None:
    """Refuse control characters, which Postgres cannot all hold."""
    if field.data and FORBIDDEN_IN_LINE.search(field.data):
        raise ValidationError("This holds characters that cannot be stored.")


def an_address(_: FlaskForm, field: Field) -> None:
    """Refuse what is no e-mail address."""
    try:
        validate.And(validate.Length(max=254), validate.Email())(field.data)
    except SchemaError as error:
        raise ValidationError("This does not look like an e-mail address.") from error


def line(label: str, *, longest: int = 255, required: bool = True, **attributes: str) -> Field:
    """A text of one line; ``attributes`` are those of its input element."""
    presence = InputRequired("Please fill this in.") if required else Optional()
    length = Length(max=longest, message=f"At most {longest} characters.")
    return StringField(
        label,
        [presence, length, one_line],
        filters=[lambda text: text and text.strip()],
        render_kw=attributes,
    )


def email_address(label: str = "E-mail") -> Field:
    """An e-mail address, in lower case."""
    return StringField(
        label,
        [InputRequired("Please fill this in."), one_line, an_address],
        filters=[lambda text: text and text.strip().lower()],
        render_kw={"type": "email", "autocomplete": "username", "inputmode": "email"},
    )


def password(label: str = "Password", *, is_new: bool = False) -> Field:
    """A password, never written back into the page."""
    shortest = SHORTEST_PASSWORD if is_new else 1
    message = f"Use {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters."
    attributes: dict[str, Any] = {
        "autocomplete": "new-password" if is_new else "current-password",
        "maxlength": LONGEST_PASSWORD,
    }
    return PasswordField(
        label,
        [
            InputRequired("Please fill this in."),
            Length(min=shortest, max=LONGEST_PASSWORD, message=message),
            _no_broken_text,
        ],
        render_kw=attributes,
    )


def _no_broken_text(_: FlaskForm, field: Field) -> None:
    if not is_storable(field.data or ""):
        raise ValidationError("This holds characters that cannot be stored.")
