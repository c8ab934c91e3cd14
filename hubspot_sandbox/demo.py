"""Demo data: a small company's CRM, the same every time, natural to look at.

It goes through the same rules as a client's writes, so it is valid by construction.
"""

import random
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from hubspot_sandbox.associations import associate
from hubspot_sandbox.clock import DAY_MS, iso
from hubspot_sandbox.object_types import (
    ASSOCIATION_TYPES,
    COMPANIES,
    CONTACTS,
    DEALS,
    LINE_ITEMS,
    TICKETS,
)
from hubspot_sandbox.records import create_record
from hubspot_sandbox.schema import ObjectType, Pipeline
from hubspot_sandbox.store import Portal
from hubspot_sandbox.tables import Record, Ref

_SEED: Final = 2026
_FIRST_DAY: Final = int(datetime(2026, 1, 5, 8, tzinfo=UTC).timestamp() * 1000)
_DAYS: Final = 300
_HOUR_MS: Final = 3_600_000
_DEALS: Final = 80
_TICKETS: Final = 40
_CONTACTS_PER_COMPANY: Final = 3
_PRIMARY_COMPANY: Final = ASSOCIATION_TYPES[1]
_PRIMARY_COMPANY_OF_DEAL: Final = ASSOCIATION_TYPES[5]

_COMPANIES: Final = (
    ("Harbor & Pine Coffee", "harborpine", "FOOD_PRODUCTION", "Portland", "US"),
    ("Lindgren Maskin", "lindgrenmaskin", "MACHINERY", "Göteborg", "SE"),
    ("Castellan Insurance", "castellan", "INSURANCE", "Hartford", "US"),
    ("Oakfield Academy", "oakfieldacademy", "EDUCATION_MANAGEMENT", "Leeds", "GB"),
    ("Brightwell Logistics", "brightwell", "LOGISTICS_AND_SUPPLY_CHAIN", "Rotterdam", "NL"),
    ("Nimbus Data Works", "nimbusdata", "COMPUTER_SOFTWARE", "Austin", "US"),
    ("Ferrari & Conti Studio", "ferrariconti", "DESIGN", "Milano", "IT"),
    ("Solberg Fornybar", "solbergfornybar", "RENEWABLES_ENVIRONMENT", "Bergen", "NO"),
    ("Marigold Hotels", "marigoldhotels", "HOSPITALITY", "Lisboa", "PT"),
    ("Kestrel Medical", "kestrelmedical", "MEDICAL_DEVICES", "Galway", "IE"),
    ("Tamaraw Foods", "tamarawfoods", "CONSUMER_GOODS", "Cebu", "PH"),
    ("Blue Mesa Realty", "bluemesa", "REAL_ESTATE", "Santa Fe", "US"),
    ("Weber Treuhand", "webertreuhand", "ACCOUNTING", "Zürich", "CH"),
    ("Aurora Telecom", "auroratelecom", "TELECOMMUNICATIONS", "Tallinn", "EE"),
    ("Prairie Seed Co-op", "prairieseed", "FARMING", "Saskatoon", "CA"),
    ("Okonkwo Partners", "okonkwopartners", "MANAGEMENT_CONSULTING", "Lagos", "NG"),
    ("Sakura Print", "sakuraprint", "PUBLISHING", "Osaka", "JP"),
    ("Redstone Build", "redstonebuild", "CONSTRUCTION", "Denver", "US"),
    ("Verdant Bank", "verdantbank", "BANKING", "Edinburgh", "GB"),
    ("Petit Marché", "petitmarche", "RETAIL", "Lyon", "FR"),
)
_FIRST_NAMES: Final = (
    *("Amara", "Ben", "Chloé", "Diego", "Elif", "Farah", "Gustav", "Hana", "Imani", "Jakub"),
    *("Kaito", "Leila", "Mateo", "Nadia", "Oscar", "Priya", "Quentin", "Rosa", "Sven", "Tala"),
)
_LAST_NAMES: Final = (
    *("Abe", "Bergström", "Castillo", "Dlamini", "Eriksen", "Fontaine", "Gallagher", "Haddad"),
    *("Ivanova", "Jansen", "Kowalski", "Lombardi", "Mensah", "Novak", "O'Brien", "Park", "Quispe"),
    *("Reyes", "Schmidt", "Tanaka", "Usman", "Varga", "Wójcik"),
)
_JOBS: Final = ("Owner", "Head of Operations", "Buyer", "Finance Manager", "IT Lead", "Assistant")
_STAGES_OF_LIFE: Final = ("subscriber", "lead", "marketingqualifiedlead", "opportunity", "customer")
_PRODUCTS: Final = (
    ("Annual licence", "LIC-12", 1_200),
    ("Onboarding day", "SRV-ONB", 890),
    ("Priority support", "SUP-PRI", 340),
    ("Sensor kit", "HW-SEN4", 149),
    ("Training seat", "SRV-TRN", 95),
)
_DEAL_KINDS: Final = ("renewal", "pilot", "expansion", "new branch", "framework agreement")
_TICKET_SUBJECTS: Final = (
    ("Invoice shows the wrong VAT number", "BILLING_ISSUE"),
    ("Cannot sign in after password change", "PRODUCT_ISSUE"),
    ("Export to Excel stops at 1,000 rows", "PRODUCT_ISSUE"),
    ("Please add a dark theme", "FEATURE_REQUEST"),
    ("How do we add a second location?", "GENERAL_INQUIRY"),
    ("Sensor reports -40 degrees indoors", "PRODUCT_ISSUE"),
    ("Charged twice in the same month", "BILLING_ISSUE"),
    ("Who is our contact for renewals?", "GENERAL_INQUIRY"),
)


def fill_with_demo_data(portal: Portal) -> None:
    """Put 20 companies, 60 contacts, 80 deals with line items and 40 tickets into a portal."""
    with portal.lock, portal.undo_log.transaction():
        own_random = portal.random
        portal.random = random.Random(_SEED)  # noqa: S311 - the same ids every time, no secret
        try:
            _Demo(portal).fill()
        finally:
            portal.random = own_random


class _Demo:
    """One filling of a portal; every choice comes from one seeded generator."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal
        self._dice = random.Random(_SEED)  # noqa: S311 - as above
        self._people: dict[int, list[Record]] = {}

    def fill(self) -> None:
        """Create everything, each type in the order of its creation dates."""
        companies = self._companies()
        for company in companies:
            self._people[company.id] = []
        self._contacts(companies)
        for moment in self._moments(_DEALS, earliest_day=30):
            self._deal(self._dice.choice(companies), moment)
        for moment in self._moments(_TICKETS, earliest_day=60):
            self._ticket(self._dice.choice(companies), moment)

    def _companies(self) -> list[Record]:
        moments = self._moments(len(_COMPANIES), latest_day=25)
        return [
            self._create(
                COMPANIES,
                moment,
                name=name,
                domain=f"{domain}.example",
                website=f"https://www.{domain}.example",
                industry=industry,
                city=city,
                country=country,
                lifecyclestage=self._dice.choice(_STAGES_OF_LIFE),
            )
            for moment, (name, domain, industry, city, country) in zip(
                moments, _COMPANIES, strict=True
            )
        ]

    def _contacts(self, companies: Sequence[Record]) -> None:
        names = [(first, last) for first in _FIRST_NAMES for last in _LAST_NAMES]
        count = len(companies) * _CONTACTS_PER_COMPANY
        chosen = self._dice.sample(names, count)
        for at, moment in enumerate(self._moments(count, earliest_day=26)):
            company, (first, last) = companies[at % len(companies)], chosen[at]
            address = f"{first}.{last}@{company.properties['domain']}"
            contact = self._create(
                CONTACTS,
                moment,
                email=_plain(address),
                firstname=first,
                lastname=last,
                jobtitle=self._dice.choice(_JOBS),
                company=company.properties["name"],
                phone=f"+1 555 01{at:02d}",
                lifecyclestage=self._dice.choice(_STAGES_OF_LIFE),
                hubspot_owner_id=self._owner_id(),
            )
            self._people[company.id].append(contact)
            self._link(CONTACTS, contact, COMPANIES, company)

    def _deal(self, company: Record, moment: int) -> None:
        products = self._dice.sample(_PRODUCTS, self._dice.randint(1, 3))
        items = [
            self._create(
                LINE_ITEMS,
                moment,
                name=name,
                hs_sku=sku,
                price=str(price),
                quantity=str(self._dice.randint(1, 12)),
            )
            for name, sku, price in products
        ]
        pipeline, stage_id = self._stage(DEALS)
        kind = self._dice.choice(_DEAL_KINDS)
        deal = self._create(
            DEALS,
            moment,
            dealname=f"{company.properties['name']}: {kind}",
            pipeline=pipeline.id,
            dealstage=stage_id,
            amount=str(sum(int(item.properties["amount"]) for item in items)),
            closedate=iso(moment + self._dice.randint(10, 90) * DAY_MS),
            dealtype="existingbusiness" if kind == "renewal" else "newbusiness",
            hubspot_owner_id=self._owner_id(),
        )
        self._link(DEALS, deal, COMPANIES, company)
        for item in items:
            self._link(DEALS, deal, LINE_ITEMS, item)
        for contact in self._dice.sample(self._people[company.id], self._dice.randint(1, 2)):
            self._link(DEALS, deal, CONTACTS, contact)

    def _ticket(self, company: Record, moment: int) -> None:
        subject, category = self._dice.choice(_TICKET_SUBJECTS)
        contact = self._dice.choice(self._people[company.id])
        pipeline, stage_id = self._stage(TICKETS)
        ticket = self._create(
            TICKETS,
            moment,
            subject=subject,
            content=f"{contact.properties['firstname']} wrote:\n{subject}.",
            hs_pipeline=pipeline.id,
            hs_pipeline_stage=stage_id,
            hs_ticket_category=category,
            hs_ticket_priority=self._dice.choice(("LOW", "MEDIUM", "HIGH")),
        )
        self._link(TICKETS, ticket, CONTACTS, contact)
        self._link(TICKETS, ticket, COMPANIES, company)
        deals = sorted(self._portal.links.targets(Ref(CONTACTS.name, contact.id), DEALS.name))
        if deals:
            deal = self._portal.table(DEALS).records[self._dice.choice(deals)]
            self._link(DEALS, deal, TICKETS, ticket)

    def _create(self, object_type: ObjectType, moment: int, **values: str) -> Record:
        return create_record(self._portal, object_type, values, moment=moment)

    def _link(self, from_type: ObjectType, one: Record, to_type: ObjectType, other: Record) -> None:
        """Associate two records; companies become the primary one of contacts and deals."""
        primary = {
            (CONTACTS.name, COMPANIES.name): [_PRIMARY_COMPANY],
            (DEALS.name, COMPANIES.name): [_PRIMARY_COMPANY_OF_DEAL],
        }
        types = primary.get((from_type.name, to_type.name), [])
        associate(self._portal, Ref(from_type.name, one.id), Ref(to_type.name, other.id), types)

    def _moments(self, count: int, *, earliest_day: int = 0, latest_day: int = _DAYS) -> list[int]:
        """Return moments in working hours, in their order."""
        days = [self._dice.randint(earliest_day, latest_day) for _ in range(count)]
        return [
            _FIRST_DAY + day * DAY_MS + self._dice.randint(0, 9 * _HOUR_MS) for day in sorted(days)
        ]

    def _stage(self, object_type: ObjectType) -> tuple[Pipeline, str]:
        pipeline = self._dice.choice(self._portal.pipelines[object_type.name])
        return pipeline, self._dice.choice(pipeline.stages).id

    def _owner_id(self) -> str:
        return self._dice.choice([owner.id for owner in self._portal.owners if not owner.archived])


def _plain(address: str) -> str:
    """Return an address without the marks that names have and addresses mostly have not."""
    marks = str.maketrans("éöó", "eoo", "'")
    return address.lower().translate(marks)
