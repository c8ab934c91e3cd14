"""Customers, as answers."""

from marshmallow import Schema, fields, validate

from crm.api.schemas.outputs import Moment


class CustomerSchema(Schema):
    """A mirrored contact."""

    uuid = fields.UUID(required=True)
    email = fields.String(required=True)
    firstname = fields.String(required=True, allow_none=True)
    lastname = fields.String(required=True, allow_none=True)
    phone = fields.String(required=True, allow_none=True)
    company = fields.String(required=True, allow_none=True)
    website = fields.String(required=True, allow_none=True)
    lifecyclestage = fields.String(required=True, allow_none=True)
    createdat = Moment(required=True)
    updatedat = Moment(required=True)
    hubspot_id = fields.String(required=True, allow_none=True)
    hubspot_createdat = Moment(required=True, allow_none=True)
    hubspot_updatedat = Moment(required=True, allow_none=True)
    sync_state = fields.String(
        required=True, validate=validate.OneOf(("pending", "synced", "rejected"))
    )
