"""Every declared object type and association goes the whole way that can be walked today."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from crm.db import transaction
from crm.hubspot.pipelines import list_pipelines
from crm.mirror import rows
from crm.mirror.reads.contact_tree import FILTERS
from crm.mirror.rows import NewRecord
from crm.models import SYNCED, Association, Record
from crm.object_types import ASSOCIATIONS, CRM_UID, OBJECT_TYPES
from crm.portals import portals
from crm.push import job
from tests.sandbox.client import HubSpot

# HubSpot's documentation, "Using object APIs": name, singular, objectTypeId.
PUBLISHED_TYPES = {
    ("contacts", "contact", "0-1"),
    ("companies", "company", "0-2"),
    ("deals", "deal", "0-3"),
    ("tickets", "ticket", "0-5"),
    ("products", "product", "0-7"),
    ("line_items", "line_item", "0-8"),
}
# The same, "Associate records": the unlabelled type of each direction.
PUBLISHED_ASSOCIATIONS = {
    ("contacts", "companies"): 279,
    ("companies", "contacts"): 280,
    ("deals", "companies"): 341,
    ("companies", "deals"): 342,
    ("tickets", "companies"): 339,
    ("companies", "tickets"): 340,
    ("contacts", "deals"): 4,
    ("deals", "contacts"): 3,
    ("contacts", "tickets"): 15,
    ("tickets", "contacts"): 16,
    ("deals", "tickets"): 27,
    ("tickets", "deals"): 28,
    ("deals", "line_items"): 19,
    ("line_items", "deals"): 20,
}

each_type = pytest.mark.parametrize("object_type", OBJECT_TYPES.values(), ids=OBJECT_TYPES)
each_association = pytest.mark.parametrize(
    "association",
    ASSOCIATIONS.values(),
    ids=lambda each: f"{each.from_type.name}-{each.to_type.name}",
)


@pytest.fixture
def hubspot(sandbox):
    return HubSpot(sandbox.url)


@pytest.fixture
def defined(hubspot):
    """The properties that HubSpot defines for an object type, by name."""

    def of(object_type):
        answer = hubspot.get(f"/crm/properties/2026-09/{object_type.name}")
        return {each["name"]: each for each in answer.json()["results"]}

    return of


@pytest.fixture
def example(portal_id, defined):
    """Properties of a record, made from the declaration: every answered one that can be written."""

    def of(object_type):
        definitions = defined(object_type)
        found = {}
        for wire_name in object_type.answer:
            definition = definitions[object_type.property_for(wire_name)]
            if not is_read_only(definition):
                found[definition["name"]] = value_for(definition)
        if object_type.stage_property:
            pipeline = list_pipelines(portals.connect(portal_id), object_type.name)[0]
            found[object_type.pipeline_property] = pipeline["id"]
            found[object_type.stage_property] = pipeline["stages"][0]["id"]
        return found

    return of


def is_read_only(definition):
    return definition["calculated"] or definition["modificationMetadata"]["readOnlyValue"]


def value_for(definition):
    if definition["name"] == "email":
        return "ada@example.com"
    if definition["options"]:
        return definition["options"][0]["value"]
    if definition["type"] == "number":
        return "12"
    if definition["type"] == "datetime":
        return datetime(2026, 11, 21, tzinfo=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"An example of {definition['name']}"


@each_type
def test_a_type_is_called_as_hubspot_calls_it(object_type):
    assert (object_type.name, object_type.singular, object_type.type_id) in PUBLISHED_TYPES


@each_association
def test_an_association_has_the_id_that_hubspot_published(association):
    ends = association.from_type.name, association.to_type.name

    assert association.type_id == PUBLISHED_ASSOCIATIONS[ends]


@each_association
def test_both_ends_of_an_association_are_sent_before_it(association):
    # Push sends the declared types, all of them, and then the associations.
    assert association.from_type in OBJECT_TYPES.values()
    assert association.to_type in OBJECT_TYPES.values()


def test_a_pair_of_types_is_kept_in_one_direction():
    pairs = [frozenset((each.from_type.name, each.to_type.name)) for each in ASSOCIATIONS.values()]

    assert len(set(pairs)) == len(pairs)


@each_type
def test_wire_names_and_properties_answer_each_other_one_to_one(object_type):
    answered = [object_type.property_for(name) for name in object_type.answer]

    assert len(set(object_type.answer)) == len(object_type.answer)
    assert len(set(answered)) == len(answered)
    assert set(object_type.wire_names) <= {*object_type.answer, *object_type.filters}
    # `id` and `hs_object_id` are HubSpot's id; the others say how a record stands here.
    assert not {"id", "hs_object_id", "sync_state"} & set(object_type.answer)


@each_type
def test_hubspot_has_the_type_by_its_name_and_by_its_id(object_type, hubspot):
    by_name, by_id = (
        hubspot.get(f"/crm/objects/2026-09/{name}")
        for name in (object_type.name, object_type.type_id)
    )

    assert (by_name.status_code, by_id.status_code) == (200, 200)


@each_type
def test_hubspot_defines_every_property_that_the_declaration_names(object_type, defined):
    named = {object_type.property_for(name) for name in object_type.answer + object_type.filters}
    named |= {object_type.modified_property, object_type.stage_property}
    named |= {object_type.pipeline_property, object_type.id_property}

    # The last is made by push in a portal that it meets for the first time.
    assert named - {None} - set(defined(object_type)) - {CRM_UID} == set()


@each_type
def test_a_type_says_when_a_record_was_modified(object_type, hubspot, example):
    made = hubspot.create(object_type.name, **example(object_type))

    assert made["properties"][object_type.modified_property]


@each_type
def test_a_stage_never_comes_without_a_pipeline(object_type):
    assert bool(object_type.stage_property) == bool(object_type.pipeline_property)


@each_type
def test_hubspot_can_upsert_by_the_id_property_once_the_portal_is_set_up(
    object_type, portal_id, defined
):
    portals.set_up(portals.connect(portal_id), portal_id)
    definition = defined(object_type)[object_type.id_property]

    # An e-mail is unique in HubSpot by its own rules, and not called so.
    assert definition["hasUniqueValue"] or definition["name"] == "email"


def test_a_filter_of_the_contact_list_has_one_meaning():
    assert {
        name: object_type.name
        for name, object_type in FILTERS.items()
        if name not in object_type.filters
    } == {}


@each_type
def test_a_record_of_the_type_reaches_hubspot_and_comes_back(
    object_type, portal_id, example, run_jobs, hubspot
):
    properties = example(object_type)
    new = NewRecord(object_type, properties)
    with transaction():
        rows.create_records(portal_id, [new])
        job.enqueue_push(portal_id)
    run_jobs()

    with transaction() as session:
        row = session.execute(select(Record).where(Record.uuid == new.uuid)).scalar_one()
        kept = dict(row.properties)
        assert (row.state, row.rejection, row.unsent) == (SYNCED, None, [])
        there = hubspot.get(
            f"/crm/objects/2026-09/{object_type.name}/{row.hs_object_id}",
            properties=",".join(properties),
        ).json()["properties"]
    assert {name: there[name] for name in properties} == properties
    assert {name: kept[name] for name in properties} == properties
    assert kept[object_type.modified_property] == there[object_type.modified_property]


@each_association
def test_an_association_of_the_type_reaches_hubspot(
    association, portal_id, example, run_jobs, hubspot
):
    ends = [NewRecord(each, example(each)) for each in (association.from_type, association.to_type)]
    with transaction():
        ids = rows.create_records(portal_id, ends)
        pair = (association, *(ids[end.uuid] for end in ends))
        rows.associate(portal_id, [pair])
        job.enqueue_push(portal_id)
    run_jobs()

    with transaction() as session:
        assert session.scalars(select(Association.state)).all() == [SYNCED]
        from_id, to_id = session.scalars(
            select(Record.hs_object_id).where(Record.id.in_(ids.values())).order_by(Record.id)
        )
    answer = hubspot.get(
        f"/crm/objects/2026-09/{association.from_type.name}/{from_id}"
        f"/associations/{association.to_type.name}"
    ).json()
    assert [
        (str(each["toObjectId"]), association.type_id in type_ids(each))
        for each in answer["results"]
    ] == [(to_id, True)]


def type_ids(associated):
    return {each["typeId"] for each in associated["associationTypes"]}
