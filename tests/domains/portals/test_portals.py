"""Portals: connecting to one leaves nothing open."""

import pytest
from sqlalchemy import text

from crm.db import db, transaction
from crm.hubspot.errors import HubSpotUnavailableError
from crm.portals import portals
from crm.portals.rate_budget import BACKFILL, SCAN


def test_a_client_is_given_with_no_transaction_left_open(portal_id):
    db.session.rollback()

    portals.connect(portal_id)

    assert not db.session().in_transaction()


def test_a_person_is_not_kept_waiting_as_long_as_a_job(portal_id):
    patient, hurried = portals.connect(portal_id), portals.connect(portal_id, someone_waits=True)

    assert hurried.timeouts.read < patient.timeouts.read
    assert hurried.timeouts.connect < patient.timeouts.connect


def test_a_portal_without_a_token_says_which_setting_is_missing(change_settings, portal_id):
    change_settings(hubspot_private_app_token="")

    with pytest.raises(HubSpotUnavailableError, match="HUBSPOT_PRIVATE_APP_TOKEN"):
        portals.connect(portal_id)


def test_somebodys_token_draws_on_the_budget_of_the_portal_it_opens(portal_id):
    with transaction() as session:
        session.execute(text("UPDATE portals SET hub_id = 44"))

    mirrored = portals.connect_with("token", 44).budget
    other = portals.connect_with("token", 45).budget
    unknown = portals.connect_with("token").budget

    # In the mirror's portal, people and push go first.
    assert (mirrored.portal_id, mirrored.lane) == (portal_id, BACKFILL)
    assert (other.portal_id, other.lane) == (-45, SCAN)
    assert unknown is None
