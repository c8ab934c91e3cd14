"""The object types and association types of every portal: a new type is one entry here.

Sources: HubSpot docs, using object APIs (type ids, required properties); search the CRM (default
and searchable properties); pipelines guide (stock pipelines); associate records (type ids).
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from decimal import Decimal, DecimalException, localcontext
from typing import Final

from hubspot_sandbox import stock_properties as stock
from hubspot_sandbox.errors import unknown_object_type
from hubspot_sandbox.phones import local_number
from hubspot_sandbox.schema import (
    AssociationType,
    ObjectType,
    Pipeline,
    PipelineRule,
    Stage,
    Values,
)

_MAX_AMOUNT_DIGITS = 34


def _stages(*stages: tuple[str, str, dict[str, str]]) -> tuple[Stage, ...]:
    return tuple(
        Stage(stage_id, label, metadata, order)
        for order, (stage_id, label, metadata) in enumerate(stages)
    )


def _deal(probability: str, closed: str = "false") -> dict[str, str]:
    return {"isClosed": closed, "probability": probability}


def _ticket(state: str) -> dict[str, str]:
    return {"ticketState": state, "isClosed": "true" if state == "CLOSED" else "false"}


SALES_PIPELINE = Pipeline(
    "default",
    "Sales Pipeline",
    _stages(
        ("appointmentscheduled", "Appointment Scheduled", _deal("0.2")),
        ("qualifiedtobuy", "Qualified To Buy", _deal("0.4")),
        ("presentationscheduled", "Presentation Scheduled", _deal("0.6")),
        ("decisionmakerboughtin", "Decision Maker Bought-In", _deal("0.8")),
        ("contractsent", "Contract Sent", _deal("0.9")),
        ("closedwon", "Closed Won", _deal("1.0", "true")),
        ("closedlost", "Closed Lost", _deal("0.0", "true")),
    ),
)
SUPPORT_PIPELINE = Pipeline(
    "0",
    "Support Pipeline",
    _stages(
        ("1", "New", _ticket("OPEN")),
        ("2", "Waiting on contact", _ticket("OPEN")),
        ("3", "Waiting on us", _ticket("OPEN")),
        ("4", "Closed", _ticket("CLOSED")),
    ),
)


def _is_closed(metadata: Values) -> str:
    return metadata.get("isClosed", "false")


def _is_closed_won(metadata: Values) -> str:
    won = _is_closed(metadata) == "true" and metadata.get("probability") == "1.0"
    return "true" if won else "false"


def _probability(metadata: Values) -> str:
    return metadata.get("probability", "0.0")


def _email_domain(values: Values) -> str | None:
    return values.get("email", "").partition("@")[2] or None


def _full_name_or_email(values: Values) -> str | None:
    name = f"{values.get('firstname', '')} {values.get('lastname', '')}".strip()
    return name or values.get("email")


def _net_price(values: Values) -> str | None:
    """Compute price times quantity less the discount; no price, no amount."""
    if "price" not in values:
        return None
    try:
        with localcontext(prec=_MAX_AMOUNT_DIGITS):
            gross = Decimal(values["price"]) * Decimal(values.get("quantity", "1"))
            percentage = Decimal(values.get("hs_discount_percentage", "0"))
            amount = gross - gross * percentage / 100 - Decimal(values.get("discount", "0"))
            return f"{amount.normalize():f}"
    except DecimalException:
        return None


def _searchable(name: str) -> Callable[[Values], str | None]:
    return lambda values: local_number(values.get(name, "")) or None


_PHONE: Final = "hs_searchable_calculated_phone_number"
_SEARCHABLE_PHONES: Final = {
    _PHONE: _searchable("phone"),
    "hs_searchable_calculated_mobile_number": _searchable("mobilephone"),
}


def _lifecycle(pipeline: str) -> dict[str, str]:
    """Return what a new record holds of the lifecycle; public recordings of live answers."""
    return {"lifecyclestage": "lead", "hs_pipeline": pipeline}


CONTACTS: Final = ObjectType(
    name="contacts",
    type_id="0-1",
    singular="contact",
    modified_property="lastmodifieddate",
    properties=stock.in_group("contactinformation", stock.CONTACT),
    default_properties=("email", "firstname", "lastname"),
    searchable=(
        *("email", "firstname", "lastname", "company", "hs_additional_emails"),
        *_SEARCHABLE_PHONES,
    ),
    required_any=("email", "firstname", "lastname"),
    defaults=_lifecycle(stock.CONTACT_LIFECYCLE),
    email="email",
    more_emails="hs_additional_emails",
    forward_only="lifecyclestage",
    computed={
        "hs_email_domain": _email_domain,
        "hs_full_name_or_email": _full_name_or_email,
        **_SEARCHABLE_PHONES,
    },
)
COMPANIES: Final = ObjectType(
    name="companies",
    type_id="0-2",
    singular="company",
    modified_property="hs_lastmodifieddate",
    properties=stock.in_group("companyinformation", stock.COMPANY),
    default_properties=("domain", "name"),
    searchable=("name", "domain", "website", _PHONE),
    required_any=("name", "domain"),
    defaults=_lifecycle(stock.COMPANY_LIFECYCLE),
    forward_only="lifecyclestage",
    computed={_PHONE: _SEARCHABLE_PHONES[_PHONE]},
)
DEALS: Final = ObjectType(
    name="deals",
    type_id="0-3",
    singular="deal",
    modified_property="hs_lastmodifieddate",
    properties=stock.in_group("dealinformation", stock.DEAL),
    default_properties=("amount", "closedate", "dealname", "dealstage", "pipeline"),
    searchable=("dealname", "pipeline", "dealstage", "description", "dealtype"),
    required_all=("dealname", "dealstage"),
    pipeline_rule=PipelineRule(
        "pipeline",
        "dealstage",
        {
            "hs_is_closed": _is_closed,
            "hs_is_closed_won": _is_closed_won,
            "hs_deal_stage_probability": _probability,
        },
    ),
    pipelines=(SALES_PIPELINE,),
)
TICKETS: Final = ObjectType(
    name="tickets",
    type_id="0-5",
    singular="ticket",
    modified_property="hs_lastmodifieddate",
    properties=stock.in_group("ticketinformation", stock.TICKET),
    default_properties=(
        *("content", "hs_pipeline", "hs_pipeline_stage"),
        *("hs_ticket_category", "hs_ticket_priority", "subject"),
    ),
    searchable=("subject", "content", "hs_pipeline_stage", "hs_ticket_category"),
    required_all=("subject", "hs_pipeline_stage"),
    pipeline_rule=PipelineRule("hs_pipeline", "hs_pipeline_stage", {"hs_is_closed": _is_closed}),
    pipelines=(SUPPORT_PIPELINE,),
)
PRODUCTS: Final = ObjectType(
    name="products",
    type_id="0-7",
    singular="product",
    modified_property="hs_lastmodifieddate",
    properties=stock.in_group("productinformation", stock.PRODUCT),
    default_properties=("description", "name", "price"),
    searchable=("name", "description", "price", "hs_sku"),
)
LINE_ITEMS: Final = ObjectType(
    name="line_items",
    type_id="0-8",
    singular="line_item",
    modified_property="hs_lastmodifieddate",
    properties=stock.in_group("lineiteminformation", stock.LINE_ITEM),
    default_properties=("amount", "price", "quantity"),
    searchable=("name", "description", "hs_sku"),
    computed={"amount": _net_price},
    # Inline associations call this type by its label, not by its name.
    association_key="line items",
)

OBJECT_TYPES: Final = {
    declared.name: declared
    for declared in (CONTACTS, COMPANIES, DEALS, TICKETS, PRODUCTS, LINE_ITEMS)
}
_BY_ANY_NAME: Final = {
    name: declared
    for declared in OBJECT_TYPES.values()
    for name in (declared.name, declared.type_id, declared.singular)
}


def get_object_type(name: str) -> ObjectType:
    """Return the type with that name, singular name or type id; raise HubSpot's 400."""
    declared = _BY_ANY_NAME.get(name.lower())
    if declared is None:
        raise unknown_object_type(name)
    return declared


def _pair(
    type_ids: tuple[int, int],
    ends: tuple[ObjectType, ObjectType],
    labels: tuple[str | None, str | None] = (None, None),
    suffix: str = "",
    *,
    exclusive: tuple[bool, bool] = (False, False),
) -> list[AssociationType]:
    """Declare both directions of an association; an exclusive end may have one partner only."""
    primary = labels[0] == "Primary"
    directions = [(0, 1)] if type_ids[0] == type_ids[1] else [(0, 1), (1, 0)]
    return [
        AssociationType(
            type_id=type_ids[here],
            inverse_id=type_ids[there],
            from_type=ends[here].name,
            to_type=ends[there].name,
            name=f"{ends[here].singular}_to_{ends[there].singular}{suffix}",
            label=labels[here],
            primary=primary,
            exclusive=exclusive[here],
        )
        for here, there in directions
    ]


_PRIMARY = ("Primary", "Primary")
_ONE_TO_MANY = (True, False)

ASSOCIATION_TYPES: Final = {
    declared.type_id: declared
    for declared in (
        *_pair((1, 2), (CONTACTS, COMPANIES), _PRIMARY, exclusive=_ONE_TO_MANY),
        *_pair((279, 280), (CONTACTS, COMPANIES), suffix="_unlabeled"),
        *_pair((5, 6), (DEALS, COMPANIES), _PRIMARY, exclusive=_ONE_TO_MANY),
        *_pair((341, 342), (DEALS, COMPANIES), suffix="_unlabeled"),
        *_pair((26, 25), (TICKETS, COMPANIES), _PRIMARY, exclusive=_ONE_TO_MANY),
        *_pair((339, 340), (TICKETS, COMPANIES), suffix="_unlabeled"),
        *_pair((4, 3), (CONTACTS, DEALS)),
        *_pair((15, 16), (CONTACTS, TICKETS)),
        *_pair((27, 28), (DEALS, TICKETS)),
        *_pair((20, 19), (LINE_ITEMS, DEALS), exclusive=_ONE_TO_MANY),
        # Of several parents HubSpot has no notion; that a second is refused is unverified.
        *_pair(
            (13, 14),
            (COMPANIES, COMPANIES),
            ("Child Company", "Parent Company"),
            suffix="_parent",
            exclusive=(False, True),
        ),
        *_pair((449, 449), (CONTACTS, CONTACTS)),
        *_pair((450, 450), (COMPANIES, COMPANIES)),
        *_pair((451, 451), (DEALS, DEALS)),
        *_pair((452, 452), (TICKETS, TICKETS)),
    )
}


def types_between(from_type: ObjectType, to_type: ObjectType) -> Sequence[AssociationType]:
    """Return the association types in that direction, the unlabelled one first."""
    return _BETWEEN.get((from_type.name, to_type.name), [])


def _by_direction() -> dict[tuple[str, str], list[AssociationType]]:
    found: dict[tuple[str, str], list[AssociationType]] = defaultdict(list)
    for declared in sorted(ASSOCIATION_TYPES.values(), key=lambda each: each.label is not None):
        found[declared.from_type, declared.to_type].append(declared)
    return dict(found)


_BETWEEN: Final = _by_direction()
