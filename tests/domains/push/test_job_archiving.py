"""Push: what is archived here is archived in HubSpot."""

import pytest
from sqlalchemy import text

from crm.db import transaction
from crm.push.job import enqueue_push
from tests.domains import graphs


@pytest.fixture
def archive(portal_id):
    def archive(*row_ids):
        with transaction() as session:
            session.execute(
                text(
                    "UPDATE records SET archived_at = now(), state = 'pending', unsent = '{}',"
                    " drafts = '{}', revision = revision + 1 WHERE id = ANY(:ids)"
                ),
                {"ids": list(row_ids)},
            )
            enqueue_push(portal_id)

    return archive


@pytest.fixture
def contact_id(portal_id, send, set_up):
    """A contact that both sides have."""
    row_id = graphs.write_contact(portal_id, "ada@example.com")
    send()
    return row_id


def test_a_record_that_is_archived_here_is_archived_in_hubspot(archive, send, hubspot, contact_id):
    archive(contact_id)

    send()

    assert hubspot.first_page("contacts") == []
    row = graphs.row(contact_id)
    assert row.state == "synced"
    assert row.archived_at


def test_a_record_that_was_never_sent_is_not_sent_to_be_archived(
    archive, send, hubspot, portal_id, set_up
):
    row_id = graphs.write_contact(portal_id, "ada@example.com")
    archive(row_id)

    send()

    assert hubspot.first_page("contacts") == []
    assert (graphs.row(row_id).state, graphs.row(row_id).hs_object_id) == ("synced", None)


def test_a_record_that_was_sent_while_the_answer_was_lost_is_archived_in_hubspot(
    archive, send, hubspot, sandbox, portal_id, set_up
):
    row_id = graphs.write_contact(portal_id, "ada@example.com")
    sandbox.set_faults([{"kind": "reset_after", "match": "contacts/batch/upsert"}])
    send()
    sandbox.set_faults([])
    assert len(hubspot.first_page("contacts")) == 1
    archive(row_id)
    graphs.end_pause()

    send()

    assert hubspot.first_page("contacts") == []
    assert graphs.row(row_id).hs_object_id


def test_an_archived_contacts_email_is_free_for_another_contact(
    archive, send, hubspot, contact_id, portal_id
):
    old = graphs.row(contact_id).hs_object_id
    archive(contact_id)
    other_id = graphs.write_contact(portal_id, "ada@example.com")

    send()

    (contact,) = hubspot.first_page("contacts")
    assert contact["id"] == graphs.row(other_id).hs_object_id != old


def test_archiving_a_record_that_is_gone_already_is_no_failure(archive, send, hubspot, contact_id):
    hubspot.archive("contacts", graphs.row(contact_id).hs_object_id)
    archive(contact_id)

    send()

    assert graphs.row(contact_id).state == "synced"
