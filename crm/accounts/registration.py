"""Make a user together with the contact, deals and tickets that HubSpot shall get."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from flask import current_app
from sqlalchemy import exists, select

from crm.accounts import users
from crm.db import db, transaction
from crm.errors import ForbiddenError, UserExistsError
from crm.mirror import rows
from crm.mirror.rows import NewRecord, Properties
from crm.models import User
from crm.object_types import CONTACT_TO_DEAL, DEAL_TO_TICKET, DEALS, TICKETS
from crm.portals import pipelines
from crm.portals.portals import DEFAULT_ORGANIZATION
from crm.push.job import enqueue_push


@dataclass(frozen=True)
class NewDeal:
    """A deal of a registration with its tickets, by HubSpot's property names."""

    properties: Properties
    tickets: Sequence[Properties] = field(default_factory=tuple)


def register(
    *, email: str, password: str, contact: Properties, deals: Sequence[NewDeal] = ()
) -> None:
    """Make a user of the default organization, and write the graph that HubSpot shall get.

    User, contact, deals, tickets, associations and the job that sends them are committed together
    or not at all. HubSpot is asked only about a stage that is unknown, so it can neither fail nor
    slow this.

    Args:
        email: in lower case; also the contact's.
        password: as typed.
        contact: properties beside the e-mail.
        deals: with their tickets.

    Raises:
        ForbiddenError: registration is closed.
        UserExistsError: the e-mail is taken.
        InvalidInputError: a pipeline or stage that the portal does not have.
    """
    if current_app.extensions["crm_settings"].registration == "closed":
        raise ForbiddenError("Registration is closed; ask an administrator for an account")
    organization_id, portal_id = users.find_organization(DEFAULT_ORGANIZATION)
    if db.session.scalar(select(exists().where(User.email == email))):
        raise UserExistsError
    _check_stages(portal_id, deals)
    # No transaction waits for the hash.
    db.session.rollback()
    password_hash = users.hash_password(password)
    with transaction():
        contact_id = rows.write_contact(portal_id, {"email": email, **contact})
        users.insert_user(
            organization_id=organization_id,
            email=email,
            password_hash=password_hash,
            contact_id=contact_id,
        )
        _write_graph(portal_id, contact_id, deals)
        enqueue_push(portal_id)


def _check_stages(portal_id: int, deals: Sequence[NewDeal]) -> None:
    problems = _find_wrong_stages(portal_id, deals)
    if problems:
        # Somebody may have made them in HubSpot a moment ago.
        kinds = {TICKETS.name if ".tickets." in path else DEALS.name for path in problems}
        pipelines.refetch(portal_id, sorted(kinds))
        problems = _find_wrong_stages(portal_id, deals)
    pipelines.refuse_wrong_stages(problems)


def _find_wrong_stages(portal_id: int, deals: Sequence[NewDeal]) -> dict[str, str]:
    deal_pipelines = pipelines.find_pipelines(portal_id, DEALS.name)
    ticket_pipelines = pipelines.find_pipelines(portal_id, TICKETS.name)
    problems: dict[str, str] = {}
    for index, deal in enumerate(deals):
        path = f"deals.{index}"
        problems |= pipelines.check_stage(deal_pipelines, DEALS, deal.properties, path)
        for number, ticket in enumerate(deal.tickets):
            problems |= pipelines.check_stage(
                ticket_pipelines, TICKETS, ticket, f"{path}.tickets.{number}"
            )
    return problems


def _write_graph(portal_id: int, contact_id: int, deals: Sequence[NewDeal]) -> None:
    new_deals = [(NewRecord(DEALS, deal.properties), deal.tickets) for deal in deals]
    new_tickets = [
        (deal, NewRecord(TICKETS, ticket)) for deal, tickets in new_deals for ticket in tickets
    ]
    ids = rows.create_records(
        portal_id, [deal for deal, _ in new_deals] + [ticket for _, ticket in new_tickets]
    )
    rows.associate(
        portal_id,
        [(CONTACT_TO_DEAL, contact_id, ids[deal.uuid]) for deal, _ in new_deals]
        + [(DEAL_TO_TICKET, ids[deal.uuid], ids[ticket.uuid]) for deal, ticket in new_tickets],
    )
