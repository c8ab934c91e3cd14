"""Views for analysts, and indexes for what HubSpot refused."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# A value that is not of its type gives NULL: one bad row must not fail an analyst's whole query.
_FUNCTIONS = {
    "mirror_number": """
        CREATE FUNCTION mirror_number(value text) RETURNS numeric LANGUAGE sql STABLE
        RETURN CASE WHEN value ~ '^[-+]?[0-9]+([.][0-9]*)?([eE][-+]?[0-9]+)?$'
            AND pg_input_is_valid(value, 'numeric') THEN value::numeric END
    """,
    # A date alone is midnight in UTC, whichever time zone the session has.
    "mirror_time": """
        CREATE FUNCTION mirror_time(value text) RETURNS timestamptz LANGUAGE sql STABLE
        RETURN CASE
            WHEN value ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$'
                AND pg_input_is_valid(value || 'T00:00:00Z', 'timestamptz')
            THEN (value || 'T00:00:00Z')::timestamptz
            WHEN value ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(Z|[-+][0-9]{2}:?[0-9]{2})$'
                AND pg_input_is_valid(value, 'timestamptz')
            THEN value::timestamptz END
    """,
    "mirror_boolean": """
        CREATE FUNCTION mirror_boolean(value text) RETURNS boolean LANGUAGE sql IMMUTABLE
        RETURN CASE lower(value) WHEN 'true' THEN true WHEN 'false' THEN false END
    """,
}

_TEXT, _NUMBER, _TIME, _BOOLEAN = "", "mirror_number", "mirror_time", "mirror_boolean"

_VIEWS = {
    "contacts": {
        "email": _TEXT,
        "firstname": _TEXT,
        "lastname": _TEXT,
        "phone": _TEXT,
        "company": _TEXT,
        "website": _TEXT,
        "lifecyclestage": _TEXT,
        "hubspot_owner_id": _TEXT,
        "createdate": _TIME,
        "lastmodifieddate": _TIME,
    },
    "companies": {
        "name": _TEXT,
        "domain": _TEXT,
        "hubspot_owner_id": _TEXT,
        "createdate": _TIME,
        "hs_lastmodifieddate": _TIME,
    },
    "deals": {
        "dealname": _TEXT,
        "dealstage": _TEXT,
        "pipeline": _TEXT,
        "amount": _NUMBER,
        "closedate": _TIME,
        "hs_is_closed": _BOOLEAN,
        "hs_is_closed_won": _BOOLEAN,
        "hubspot_owner_id": _TEXT,
        "createdate": _TIME,
        "hs_lastmodifieddate": _TIME,
    },
    "tickets": {
        "subject": _TEXT,
        "content": _TEXT,
        "hs_ticket_category": _TEXT,
        "hs_pipeline": _TEXT,
        "hs_pipeline_stage": _TEXT,
        "hs_ticket_priority": _TEXT,
        "hubspot_owner_id": _TEXT,
        "createdate": _TIME,
        "hs_lastmodifieddate": _TIME,
    },
    "line_items": {
        "name": _TEXT,
        "quantity": _NUMBER,
        "price": _NUMBER,
        "amount": _NUMBER,
        "createdate": _TIME,
        "hs_lastmodifieddate": _TIME,
    },
}

_ASSOCIATIONS = """
    CREATE VIEW mirror_associations AS
    SELECT organizations.name::text AS organization,
        from_record.object_type::text AS from_type, from_record.hs_object_id::text AS from_id,
        from_record.uuid AS from_uuid,
        to_record.object_type::text AS to_type, to_record.hs_object_id::text AS to_id,
        to_record.uuid AS to_uuid, associations.state::text AS sync_state
    FROM associations
    JOIN records AS from_record ON from_record.id = from_id AND from_record.archived_at IS NULL
    JOIN records AS to_record ON to_record.id = to_id AND to_record.archived_at IS NULL
    JOIN portals ON portals.id = associations.portal_id
    JOIN organizations ON organizations.id = portals.organization_id
"""


def _create_view(object_type: str, properties: dict[str, str]) -> str:
    columns = [
        f"{convert}(properties ->> '{name}') AS {name}" for name, convert in properties.items()
    ]
    return f"""
        CREATE VIEW mirror_{object_type} AS
        SELECT hs_object_id::text AS id, uuid, organizations.name::text AS organization,
            {", ".join(columns)}, state::text AS sync_state, properties
        FROM records
        JOIN portals ON portals.id = portal_id
        JOIN organizations ON organizations.id = portals.organization_id
        WHERE object_type = '{object_type}' AND archived_at IS NULL
    """  # noqa: S608 - names from above


def upgrade() -> None:
    for statement in _FUNCTIONS.values():
        op.execute(statement)
    for object_type, properties in _VIEWS.items():
        op.execute(_create_view(object_type, properties))
    op.execute(_ASSOCIATIONS)
    for table in ("records", "associations"):
        op.create_index(
            f"ix_{table}_rejected",
            table,
            ["portal_id", "id"],
            postgresql_where=sa.text("state = 'rejected'"),
        )


def downgrade() -> None:
    for table in ("associations", "records"):
        op.drop_index(f"ix_{table}_rejected", table)
    for name in ("associations", *_VIEWS):
        op.execute(f"DROP VIEW mirror_{name}")
    for name in _FUNCTIONS:
        op.execute(f"DROP FUNCTION {name}")
