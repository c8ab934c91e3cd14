"""HubSpot's own Python client against the sandbox, unchanged: nothing but its host is set."""

from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from hubspot import HubSpot as Official
from hubspot.crm.associations import BatchInputPublicObjectId, PublicObjectId
from hubspot.crm.associations.v4 import AssociationSpec
from hubspot.crm.contacts import (
    ApiException,
    BatchInputSimplePublicObjectBatchInput,
    BatchInputSimplePublicObjectBatchInputForCreate,
    BatchInputSimplePublicObjectBatchInputUpsert,
    BatchInputSimplePublicObjectId,
    BatchReadInputSimplePublicObjectId,
    Filter,
    FilterGroup,
    PublicGdprDeleteInput,
    PublicMergeInput,
    PublicObjectSearchRequest,
    SimplePublicObjectBatchInput,
    SimplePublicObjectBatchInputForCreate,
    SimplePublicObjectBatchInputUpsert,
    SimplePublicObjectId,
    SimplePublicObjectInput,
    SimplePublicObjectInputForCreate,
)
from hubspot.crm.pipelines import PipelineInput, PipelineStageInput, PipelineStagePatchInput
from hubspot.crm.properties import PropertyCreate, PropertyUpdate
from hubspot.oauth import ApiException as OAuthException
from hubspot.utils.oauth import get_auth_url
from urllib3.util.retry import Retry

from hubspot_sandbox import DEFAULT_TOKEN
from hubspot_sandbox.access import DEFAULT_APP

REDIRECT = DEFAULT_APP.redirect_uris[0]
SCOPES = ("oauth", "crm.objects.contacts.read", "crm.objects.contacts.write")


@pytest.fixture
def official(sandbox):
    return Official(access_token=DEFAULT_TOKEN, host=sandbox.url)


@pytest.fixture
def create(official):
    def do(object_type="contacts", **properties):
        api = getattr(official.crm, object_type).basic_api
        return api.create(SimplePublicObjectInputForCreate(properties=properties)).id

    return do


def test_it_creates_reads_updates_and_archives_a_contact(official, create):
    api = official.crm.contacts.basic_api
    contact_id = create(email="Ada@Example.com", firstname="Ada")

    api.update(contact_id, SimplePublicObjectInput(properties={"lastname": "Lovelace"}))
    by_id = api.get_by_id(contact_id, properties=["email", "lastname", "phone"])
    by_email = api.get_by_id("ada@example.com", id_property="email")
    api.archive(contact_id)

    assert by_id.properties["email"] == "ada@example.com"
    assert (by_id.properties["lastname"], by_id.properties["phone"]) == ("Lovelace", None)
    assert by_id.created_at <= by_id.updated_at
    assert by_email.id == contact_id
    with pytest.raises(ApiException) as refused:
        api.get_by_id(contact_id)
    assert refused.value.status == 404
    assert api.get_by_id(contact_id, archived=True).archived


@pytest.mark.parametrize("object_type", ["companies", "deals", "tickets", "line_items", "products"])
def test_it_creates_and_lists_every_object_type(official, create, object_type):
    properties = {
        "companies": {"name": "Harbor & Pine"},
        "deals": {"dealname": "Pilot", "dealstage": "qualifiedtobuy"},
        "tickets": {"subject": "It stutters", "hs_pipeline_stage": "1"},
        "line_items": {"name": "Licence", "price": "10", "quantity": "2"},
        "products": {"name": "Licence", "price": "10"},
    }[object_type]
    record_id = create(object_type, **properties)

    page = getattr(official.crm, object_type).basic_api.get_page(limit=100)

    assert [each.id for each in page.results] == [record_id]


def test_it_fetches_all_pages(official):
    official.crm.contacts.batch_api.create(
        BatchInputSimplePublicObjectBatchInputForCreate(
            inputs=[
                SimplePublicObjectBatchInputForCreate(properties={"email": f"p{n}@example.com"})
                for n in range(100)
            ]
        )
    )
    official.crm.contacts.basic_api.create(
        SimplePublicObjectInputForCreate(properties={"email": "last@example.com"})
    )

    everybody = official.crm.contacts.get_all(properties=["email"])

    assert len({each.properties["email"] for each in everybody}) == 101


def test_it_writes_and_reads_batches(official):
    api = official.crm.contacts.batch_api
    names = ("ada", "grace", "edith")
    created = api.create(
        BatchInputSimplePublicObjectBatchInputForCreate(
            inputs=[
                SimplePublicObjectBatchInputForCreate(properties={"email": f"{name}@example.com"})
                for name in names
            ]
        )
    )
    ids = {each.properties["email"]: each.id for each in created.results}

    updated = api.update(
        BatchInputSimplePublicObjectBatchInput(
            inputs=[
                SimplePublicObjectBatchInput(id=each, properties={"city": "London"})
                for each in ids.values()
            ]
        )
    )
    read = api.read(
        BatchReadInputSimplePublicObjectId(
            inputs=[SimplePublicObjectId(id=f"{name}@example.com") for name in names],
            id_property="email",
            properties=["city"],
            properties_with_history=[],
        )
    )
    api.archive(
        BatchInputSimplePublicObjectId(inputs=[SimplePublicObjectId(id=ids["ada@example.com"])])
    )

    assert {each.id for each in updated.results} == set(ids.values())
    assert {each.properties["city"] for each in read.results} == {"London"}
    assert len(official.crm.contacts.get_all()) == 2


def test_it_upserts_by_email_and_is_told_which_are_new(official, create):
    create(email="ada@example.com")

    answer = official.crm.contacts.batch_api.upsert(
        BatchInputSimplePublicObjectBatchInputUpsert(
            inputs=[
                SimplePublicObjectBatchInputUpsert(
                    id=f"{name}@example.com", id_property="email", properties={"city": "London"}
                )
                for name in ("ada", "grace")
            ]
        )
    )

    assert {each.properties["email"]: each.new for each in answer.results} == {
        "ada@example.com": False,
        "grace@example.com": True,
    }


def test_a_batch_read_tells_what_it_could_not_find(official, create):
    contact_id = create(email="ada@example.com")

    answer = official.crm.contacts.batch_api.read(
        BatchReadInputSimplePublicObjectId(
            inputs=[SimplePublicObjectId(id=contact_id), SimplePublicObjectId(id="404")],
            properties=["email"],
            properties_with_history=[],
        )
    )

    assert [each.id for each in answer.results] == [contact_id]
    assert answer.num_errors == 1
    assert answer.errors[0].category == "OBJECT_NOT_FOUND"


def test_it_searches(official, create):
    create(email="ada@example.com", firstname="Ada")
    found_id = create(email="grace@example.com", firstname="Grace")
    name_is_grace = Filter(property_name="firstname", operator="EQ", value="grace")

    answer = official.crm.contacts.search_api.do_search(
        PublicObjectSearchRequest(
            filter_groups=[FilterGroup(filters=[name_is_grace])],
            properties=["email"],
            sorts=["createdate"],
            limit=10,
            after="0",
        )
    )

    assert answer.total == 1
    assert [each.id for each in answer.results] == [found_id]


def test_it_merges_and_purges_contacts(official, create):
    api = official.crm.contacts.basic_api
    kept, gone = create(email="ada@example.com"), create(email="ada.l@example.com")

    merged = api.merge(PublicMergeInput(primary_object_id=kept, object_id_to_merge=gone))
    answer = api.get_by_id(gone, properties=["hs_additional_emails", "hs_merged_object_ids"])
    api.purge(PublicGdprDeleteInput(object_id=merged.id))

    assert answer.id == merged.id
    assert answer.properties["hs_additional_emails"] == "ada.l@example.com"
    assert gone in answer.properties["hs_merged_object_ids"].split(";")
    assert official.crm.contacts.get_all() == []


def test_it_associates_in_both_directions(official, create):
    contact = create(email="ada@example.com")
    deal = create("deals", dealname="Pilot", dealstage="qualifiedtobuy")
    api = official.crm.associations.v4.basic_api
    contact_to_deal = AssociationSpec(association_category="HUBSPOT_DEFINED", association_type_id=4)

    api.create("contacts", contact, "deals", deal, [contact_to_deal])
    from_deal = api.get_page("deals", deal, "contacts")
    api.archive("contacts", contact, "deals", deal)

    assert [str(each.to_object_id) for each in from_deal.results] == [contact]
    assert [each.type_id for each in from_deal.results[0].association_types] == [3]
    assert api.get_page("contacts", contact, "deals").results == []


def test_it_reads_associations_with_v4_and_v3_batches(official, create):
    contact = create(email="ada@example.com")
    deal = create("deals", dealname="Pilot", dealstage="qualifiedtobuy")
    official.crm.associations.v4.basic_api.create_default("contacts", contact, "deals", deal)

    newer = official.crm.associations.v4.batch_api.get_page(
        "contacts", "deals", {"inputs": [{"id": contact}]}
    )
    older = official.crm.associations.batch_api.read(
        "contacts",
        "deals",
        BatchInputPublicObjectId(inputs=[PublicObjectId(id=contact)]),
    )

    assert [str(each.to_object_id) for each in newer.results[0].to] == [deal]
    assert [each.id for each in older.results[0].to] == [deal]


def test_it_makes_changes_and_removes_pipelines(official):
    api, stages = official.crm.pipelines.pipelines_api, official.crm.pipelines.pipeline_stages_api
    won = PipelineStageInput(label="Won", display_order=0, metadata={"probability": "1.0"})

    made = api.create("deals", PipelineInput(label="Partners", display_order=1, stages=[won]))
    stages.update(
        "deals", made.id, made.stages[0].id, PipelineStagePatchInput(label="Signed", metadata={})
    )
    read = api.get_by_id("deals", made.id)
    api.archive("deals", made.id)

    assert [each.label for each in read.stages] == ["Signed"]
    assert [each.id for each in api.get_all("deals").results] == ["default"]


def test_it_makes_changes_and_archives_properties(official):
    api = official.crm.properties.core_api
    api.create(
        "contacts",
        PropertyCreate(
            name="shoe_size",
            label="Shoe size",
            type="number",
            field_type="number",
            group_name="contactinformation",
        ),
    )

    api.update("contacts", "shoe_size", PropertyUpdate(label="Size of shoes"))
    read = api.get_by_name("contacts", "shoe_size")
    api.archive("contacts", "shoe_size")

    assert read.label == "Size of shoes"
    assert "shoe_size" not in {each.name for each in api.get_all("contacts").results}


def test_it_reads_owners(official):
    api = official.crm.owners.owners_api
    owners = api.get_page(limit=100).results

    assert owners
    assert api.get_by_id(int(owners[0].id)).email == owners[0].email


def test_it_connects_by_oauth_refreshes_and_revokes(sandbox):
    app = {"client_id": DEFAULT_APP.client_id, "client_secret": DEFAULT_APP.client_secret}
    anonymous = Official(host=sandbox.url)
    address = get_auth_url(DEFAULT_APP.client_id, REDIRECT, scope=SCOPES, state="s1")
    consent = sandbox.url + address.removeprefix("https://app.hubspot.com")

    answer = requests.post(consent, allow_redirects=False, timeout=5)
    back = parse_qs(urlsplit(answer.headers["Location"]).query)
    tokens = anonymous.oauth.tokens_api.create(
        grant_type="authorization_code", redirect_uri=REDIRECT, code=back["code"][0], **app
    )
    official = Official(access_token=tokens.access_token, host=sandbox.url)
    official.crm.contacts.basic_api.get_page()
    told = anonymous.oauth.access_tokens_api.get(tokens.access_token)
    renewed = anonymous.oauth.tokens_api.create(
        grant_type="refresh_token", refresh_token=tokens.refresh_token, **app
    )
    anonymous.oauth.refresh_tokens_api.archive(renewed.refresh_token)
    with pytest.raises(OAuthException) as refused:
        anonymous.oauth.tokens_api.create(
            grant_type="refresh_token", refresh_token=renewed.refresh_token, **app
        )

    assert back["state"] == ["s1"]
    assert set(told.scopes) == set(SCOPES)
    assert tokens.expires_in == 1800
    assert renewed.access_token != tokens.access_token
    assert refused.value.status == 400
    assert "BAD_REFRESH_TOKEN" in refused.value.body


def test_it_is_told_of_a_missing_scope(sandbox, official, create):
    answer = requests.post(
        f"{sandbox.url}/_sandbox/tokens",
        json={
            "portal_id": sandbox.sandbox.tokens[DEFAULT_TOKEN].portal_id,
            "scopes": ["crm.objects.contacts.read"],
        },
        timeout=5,
    )
    limited = Official(access_token=answer.json()["token"], host=sandbox.url)

    limited.crm.contacts.basic_api.get_page()
    with pytest.raises(Exception, match="MISSING_SCOPES") as refused:
        limited.crm.deals.basic_api.get_page()
    assert refused.value.status == 403


def test_it_is_told_of_a_wrong_value(create):
    with pytest.raises(ApiException) as refused:
        create(email="nobody", lifecyclestage="king")

    assert refused.value.status == 400
    assert "INVALID_EMAIL" in refused.value.body
    assert "INVALID_OPTION" in refused.value.body
    assert refused.value.headers["x-hubspot-correlation-id"]


def test_it_is_told_of_a_conflict(create):
    contact_id = create(email="ada@example.com")

    with pytest.raises(ApiException) as refused:
        create(email="ADA@example.com")

    assert refused.value.status == 409
    assert f"Existing ID: {contact_id}" in refused.value.body


def test_its_own_retries_work(sandbox):
    sandbox.set_faults([{"kind": "status", "status": 500, "count": 2}])

    patient = Official(
        access_token=DEFAULT_TOKEN,
        host=sandbox.url,
        retry=Retry(total=3, status_forcelist=(500,), backoff_factor=0.01),
    )

    assert patient.crm.contacts.basic_api.get_page().results == []
