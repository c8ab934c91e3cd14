"""Privacy: a person who was deleted in HubSpot for good leaves nothing behind here."""

from sqlalchemy import text

from crm.db import transaction
from crm.inbox.privacy import purge_contacts
from crm.inbox.receive import store_events
from crm.object_types import CONTACTS
from crm.portals import portals
from crm.pull import apply
from tests.domains import graphs

EMAIL = "ada@personal.example"


def everything():
    """The text of every table of the database."""
    with transaction() as session:
        tables = session.scalars(
            text(
                "SELECT quote_ident(relname) FROM pg_class"
                " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
            )
        ).all()
        rows = [session.scalars(text(f"SELECT t::text FROM {each} t")).all() for each in tables]  # noqa: S608 - our own
    return "\n".join(row for table in rows for row in table)


def test_a_purged_contact_leaves_nothing_behind(portal_id, client, hubspot, send):
    registration = {
        "email": EMAIL,
        "password": "correct horse",
        "firstname": "Ada",
        "lastname": "Okoye",
    }
    assert client.post("/register", json=registration).status_code == 201
    send()
    (contact,) = hubspot.first_page("contacts")
    hub_id = graphs.portal().hub_id
    event = {
        "portalId": hub_id,
        "objectId": int(contact["id"]),
        "subscriptionType": "contact.propertyChange",
        "propertyName": "email",
        "propertyValue": EMAIL,
    }
    store_events([event, event | {"propertyName": "work_email"}])
    assert EMAIL in everything()

    purge_contacts(portal_id, [contact["id"]])

    assert EMAIL not in everything()
    assert "Okoye" not in everything()


def test_a_purged_contact_is_not_taken_in_again(portal_id, hubspot, send, set_up):
    contact = hubspot.create("contacts", email=EMAIL)
    connected = portals.connect(portal_id)
    apply.refresh(connected, portal_id, CONTACTS, [contact["id"]])

    purge_contacts(portal_id, [contact["id"]])
    apply.refresh(connected, portal_id, CONTACTS, [contact["id"]])

    assert EMAIL not in everything()


def test_ids_that_led_to_a_purged_contact_take_in_nothing(portal_id, hubspot, send):
    graphs.write_contact(portal_id, EMAIL)
    other = graphs.write_contact(portal_id, "grace@example.com")
    send()
    old = graphs.row(other).hs_object_id
    (one,) = [each["id"] for each in hubspot.first_page("contacts") if each["id"] != old]
    merged = hubspot.merge("contacts", one, old)
    apply.refresh(portals.connect(portal_id), portal_id, CONTACTS, [old])

    purge_contacts(portal_id, [merged["id"]])

    with transaction() as session:
        leads = session.execute(text("SELECT hs_object_id, record_id FROM record_aliases")).all()
    assert {tuple(each) for each in leads} == {(each, None) for each in (one, old, merged["id"])}
