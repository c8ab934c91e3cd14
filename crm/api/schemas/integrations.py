"""Integrations: whether they are connected, and what there is in them."""

from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, fields, pre_load

from crm.api.schemas.inputs import Input, Line
from crm.api.schemas.lists import PageInput
from crm.api.schemas.outputs import Moment


class AuthorizationInput(Input):
    """How to connect."""

    stay_connected = fields.Boolean(
        load_default=False,
        truthy={True},
        falsy={False},
        metadata={"description": "HubSpot only, for admins: mirror the portal in the background"},
    )


class AuthorizationSchema(Schema):
    """Where to send the person."""

    authorization_url = fields.URL(required=True)


class ItemsQueryInput(PageInput):
    """Which items."""

    type = Line(
        load_default=None,
        longest=50,
        metadata={"description": "One of the provider's; all of them, one after another, without"},
    )

    @pre_load
    def leave_out_empty(self, given: Mapping[str, str], **_: Any) -> dict[str, str]:
        """See to it that an empty value counts as not given."""
        return {name: value for name, value in given.items() if value}


class IntegrationSchema(Schema):
    """A provider, and whether it is connected."""

    provider = fields.String(required=True)
    name = fields.String(required=True)
    types = fields.List(fields.String(), required=True)
    is_available = fields.Boolean(
        required=True, metadata={"description": "Whether the service has an app there"}
    )
    can_stay_connected = fields.Boolean(required=True)
    can_disconnect = fields.Boolean(required=True)
    connected = fields.Boolean(required=True)
    account = fields.String(required=True, allow_none=True, metadata={"description": "As whom"})
    until = Moment(
        required=True, allow_none=True, metadata={"description": "null where it stays connected"}
    )
    stays_connected = fields.Boolean(required=True)
    problem = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "Why it is not mirrored although it stays connected"},
    )


class IntegrationsSchema(Schema):
    """All providers."""

    integrations = fields.List(fields.Nested(IntegrationSchema), required=True)


class ItemSchema(Schema):
    """Something that a provider holds."""

    id = fields.String(required=True)
    type = fields.String(required=True)
    name = fields.String(required=True)
    creation_time = Moment(required=True, allow_none=True)
    last_modified_time = Moment(required=True, allow_none=True)
    url = fields.String(
        required=True, allow_none=True, metadata={"description": "Where a person opens it"}
    )
    visibility = fields.Boolean(
        required=True, metadata={"description": "Whether whoever connected can open it now"}
    )


class ItemPageSchema(Schema):
    """A page of items."""

    items = fields.List(fields.Nested(ItemSchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)
