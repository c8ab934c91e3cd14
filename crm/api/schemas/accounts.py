"""Registration, sign-in and the account."""

from typing import Any

from marshmallow import Schema, ValidationError, fields, validates_schema

from crm.accounts.users import LONGEST_PASSWORD, SHORTEST_PASSWORD
from crm.api.schemas.contacts import ContactSchema
from crm.api.schemas.inputs import EmailAddress, Few, Input, Line, Lines, MomentText, NumberText
from crm.api.schemas.outputs import Moment
from crm.object_types import ObjectType

MOST = 100
"""Deals and tickets together, of one registration."""


class TicketInput(Input):
    """A ticket by its wire names."""

    subject = Line(required=True, shortest=1)
    description = Lines(longest=65_536)
    category = Line()
    pipeline = Line(required=True)
    hs_ticket_priority = Line()
    hs_pipeline_stage = Line(required=True)


class DealInput(Input):
    """A deal with its tickets by their wire names."""

    dealname = Line(required=True, shortest=1)
    dealstage = Line(required=True)
    amount = NumberText()
    description = Lines(longest=65_536)
    pipeline = Line()
    closedate = MomentText()
    tickets = Few(TicketInput, most=MOST, load_default=list)


class RegistrationInput(Input):
    """A person, and the deals and tickets that HubSpot shall get."""

    email = EmailAddress(required=True)
    password = Lines(
        required=True, shortest=SHORTEST_PASSWORD, longest=LONGEST_PASSWORD, load_only=True
    )
    firstname = Line(required=True, shortest=1)
    lastname = Line(required=True, shortest=1)
    phone = Line(longest=64)
    deals = Few(DealInput, most=MOST, load_default=list)

    @validates_schema
    def check_size(self, given: dict[str, Any], **_: Any) -> None:
        """Refuse a graph that is too large."""
        deals = given["deals"]
        if len(deals) + sum(len(deal["tickets"]) for deal in deals) > MOST:
            raise ValidationError(f"At most {MOST} deals and tickets together.", "deals")


class LoginInput(Input):
    """What a person signs in with."""

    email = EmailAddress(required=True)
    password = Lines(required=True, longest=LONGEST_PASSWORD, load_only=True)


class RegisteredSchema(Schema):
    """Nothing but the word that it is done."""

    message = fields.String(required=True)
    data = fields.Dict(required=True)


class TokensSchema(Schema):
    """Tokens; ``expires_in`` is the access token's life in seconds."""

    access_token = fields.String(required=True)
    refresh_token = fields.String(required=True)
    expires_in = fields.Integer(required=True)


class SignedInSchema(Schema):
    """The answer to a login and to a refresh."""

    message = fields.String(required=True)
    data = fields.Nested(TokensSchema, required=True)


class TokenSchema(Schema):
    """The answer to ``GET /get-token/{role}``."""

    token = fields.String(required=True)


class MessageSchema(Schema):
    """A sentence."""

    message = fields.String(required=True)


class AccountSchema(Schema):
    """An account with its own graph."""

    email = fields.String(required=True)
    role = fields.String(required=True)
    organization = fields.String(required=True)
    created_at = Moment(required=True)
    contact = fields.Nested(ContactSchema, allow_none=True)


class MeSchema(Schema):
    """The answer to ``GET /me``."""

    message = fields.String(required=True)
    data = fields.Nested(AccountSchema, required=True)


def properties_of(object_type: ObjectType, given: dict[str, Any]) -> dict[str, str]:
    """A loaded record by HubSpot's property names, without what is nested in it."""
    return {
        object_type.property_for(name): value
        for name, value in given.items()
        if isinstance(value, str)
    }
