"""Bodies and path values that the service takes as they are, on the sandbox's demo data."""

from typing import Any

PATH_VALUES = {
    "email": "jane.doe@example.com",
    "provider": "hubspot",
    "role": "admin",
    "scan_id": "first-scan",
}
"""By the parameter's name; what has no known value stays empty."""

_ADA = {"email": "ada@example.com", "password": "brass and steam"}
_JANE = {
    "email": "jane.doe@example.com",
    "firstname": "Jane",
    "lastname": "Doe",
    "phone": "+1 555 123 4567",
    "company": "Example Inc.",
    "website": "https://example.com",
    "lifecyclestage": "lead",
}
_JANES = {"to_type": "contacts", "to": "jane.doe@example.com"}

BODIES: dict[str, Any] = {
    "RegistrationInput": {
        **_ADA,
        "firstname": "Ada",
        "lastname": "Lovelace",
        "phone": "+44 20 7946 0000",
        "deals": [
            {
                "dealname": "A new engine",
                "dealstage": "qualifiedtobuy",
                "amount": "1000000",
                "description": "With brass fittings.",
                "tickets": [
                    {
                        "subject": "The engine stutters",
                        "description": "Only on Mondays.",
                        "category": "PRODUCT_ISSUE",
                        "pipeline": "0",
                        "hs_ticket_priority": "HIGH",
                        "hs_pipeline_stage": "1",
                    }
                ],
            }
        ],
    },
    "LoginInput": _ADA,
    "PropertiesInput": _JANE,
    "ContactUpsert": _JANE,
    "ContactChanges": {"phone": "+1 555 765 4321"},
    "CompanyUpsert": {"domain": "example.com", "name": "Example Inc."},
    "CompanyChanges": {"name": "Example Corporation"},
    "DealUpsert": {
        "external_id": "order-1001",
        "dealname": "Order 1001",
        "pipeline": "default",
        "dealstage": "appointmentscheduled",
        "amount": "1500.00",
        "associations": [_JANES],
    },
    "DealChanges": {"amount": "1750.00"},
    "TicketUpsert": {
        "external_id": "case-1001",
        "subject": "The parcel is late",
        "hs_pipeline": "0",
        "hs_pipeline_stage": "1",
        "associations": [_JANES],
    },
    "TicketChanges": {"hs_ticket_priority": "HIGH"},
    "LineItemUpsert": {
        "external_id": "order-1001-1",
        "name": "Support, one year",
        "quantity": "1",
        "price": "1500.00",
    },
    "LineItemChanges": {"quantity": "2"},
    "StartInput": {
        "config": {
            "scanId": "first-scan",
            "type": ["hubspot_deals"],
            "auth": {"hubspot_access_token": "pat-na1-sandbox"},
            "includeAssociations": True,
            "associationTypes": ["contacts", "companies", "line_items"],
            "batchSize": 100,
        }
    },
}
"""By the name of the schema."""
