"""Reading customers."""

from typing import Any

from crm.api.blueprints import APIBlueprint
from crm.api.guards import Guard, current_caller, guarded
from crm.api.schemas.customer_reads import CustomerSchema
from crm.services import customer_reads

bp = APIBlueprint(
    "customer_reads", __name__, url_prefix="/customers", description="Reading customers"
)


@bp.get("/<email>")
@guarded(Guard.MEMBER)
@bp.response(200, CustomerSchema)
@bp.alt_response(404, "NOT_FOUND")
def get_customer(email: str) -> dict[str, Any]:
    """The customer with this e-mail, in whichever case its letters are."""
    caller = current_caller()
    return customer_reads.find_customer(
        caller.portal_id, email, only_contact_id=caller.only_contact_id
    )
