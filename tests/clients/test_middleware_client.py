"""The client of the second document: other applications write, and send no credentials."""

import pytest
import requests

from tests.clients.conftest import TIMEOUT, check_error, wait_for

CONTACT = {
    "email": "test@example.com",
    "firstname": "Test",
    "lastname": "User",
    "phone": "1234567890",
    "company": "Example Inc.",
    "website": "https://example.com",
    "lifecyclestage": "lead",
}
ANSWER = {"status", "message", "hubspot_contact_id", "action"}
WRITTEN = "Contact created/updated successfully"
OTHERS = [
    ("companies", "company", "Company", {"domain": "middleware.example", "name": "Middleware"}),
    (
        "deals",
        "deal",
        "Deal",
        {
            "external_id": "PO-1",
            "dealname": "Order 1",
            "pipeline": "default",
            "dealstage": "qualifiedtobuy",
            "amount": "99.50",
        },
    ),
    (
        "tickets",
        "ticket",
        "Ticket",
        {
            "external_id": "T-1",
            "subject": "Late",
            "hs_pipeline": "0",
            "hs_pipeline_stage": "1",
        },
    ),
    (
        "line_items",
        "line_item",
        "Line item",
        {"external_id": "L-1", "name": "Bolt", "quantity": "2", "price": "3.50"},
    ),
]
each_type = pytest.mark.parametrize(("kind", "word", "title", "body"), OTHERS)


def post(url, path, body, **headers):
    return requests.post(url + path, json=body, headers=headers, timeout=TIMEOUT)


def get(url, path, **query):
    return requests.get(url + path, params=query, timeout=TIMEOUT)


def of_hubspot(hubspot, path, **query):
    headers = {"Authorization": "Bearer pat-na1-sandbox"}
    answer = requests.get(hubspot + path, params=query, headers=headers, timeout=TIMEOUT)
    return answer.json()["properties"]


@pytest.fixture(scope="module")
def created(url):
    """The answer to the first write."""
    return post(url, "/contacts", CONTACT)


@pytest.fixture(scope="module")
def contact_id(created):
    return created.json()["hubspot_contact_id"]


def test_the_middleware_client_creates_a_contact(created):
    body = created.json()

    assert created.status_code == 201
    assert set(body) >= ANSWER
    assert (body["status"], body["message"]) == ("success", WRITTEN)
    assert body["action"] == "created"
    assert isinstance(body["hubspot_contact_id"], str)
    assert body["hubspot_contact_id"].isdecimal()


def test_the_middleware_clients_contact_is_in_hubspot_once_it_is_answered(hubspot, contact_id):
    found = of_hubspot(
        hubspot, f"/crm/objects/2026-09/contacts/{contact_id}", properties=",".join(CONTACT)
    )

    assert {name: found[name] for name in CONTACT} == CONTACT


def test_the_middleware_client_updates_the_contact_of_the_same_address(url, contact_id):
    answer = post(url, "/contacts", {"email": "Test@Example.com", "firstname": "Tested"})

    assert answer.status_code == 200
    body = answer.json()
    assert {name: body[name] for name in ANSWER} == {
        "status": "success",
        "message": WRITTEN,
        "hubspot_contact_id": contact_id,
        "action": "updated",
    }


def test_the_middleware_client_may_spell_names_with_underscores(url, hubspot):
    answer = post(
        url, "/contacts", {"email": "snake@example.com", "first_name": "Sam", "last_name": "Snake"}
    )

    assert answer.status_code == 201
    path = f"/crm/objects/2026-09/contacts/{answer.json()['hubspot_contact_id']}"
    found = of_hubspot(hubspot, path, properties="firstname,lastname")
    assert (found["firstname"], found["lastname"]) == ("Sam", "Snake")


def test_the_middleware_client_may_send_properties_as_an_object(url, hubspot):
    answer = post(
        url,
        "/contacts",
        {"email": "object@example.com", "properties": {"jobtitle": "Engineer"}},
    )

    assert answer.status_code == 201
    path = f"/crm/objects/2026-09/contacts/{answer.json()['hubspot_contact_id']}"
    assert of_hubspot(hubspot, path, properties="jobtitle")["jobtitle"] == "Engineer"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"email": "no address"}, "email"),
        ({"lifecyclestage": "nonesuch"}, "lifecyclestage"),
        ({"nonesuch": "1"}, "nonesuch"),
    ],
)
def test_the_middleware_client_learns_which_field_of_a_contact_is_wrong(url, changes, field):
    answer = post(url, "/contacts", CONTACT | changes)

    body = check_error(answer, 400, "Validation error", "VALIDATION_ERROR")
    assert set(body["errors"]) == {field}


def test_the_middleware_client_learns_that_a_contact_needs_an_address(url):
    answer = post(url, "/contacts", {"firstname": "Test"})

    body = check_error(answer, 400, "Validation error", "VALIDATION_ERROR")
    assert set(body["errors"]) == {"email"}


def test_the_middleware_client_learns_that_its_body_is_no_json(url):
    headers = {"Content-Type": "application/json"}
    answer = requests.post(f"{url}/contacts", data="{", headers=headers, timeout=TIMEOUT)

    check_error(answer, 400, "Validation error", "VALIDATION_ERROR")


@pytest.mark.parametrize(
    "headers", [{"Authorization": "Bearer not-a-token"}, {"X-API-Key": "not-a-key"}]
)
def test_the_middleware_client_is_refused_with_a_credential_that_is_wrong(url, headers):
    answer = post(url, "/contacts", CONTACT, **headers)

    check_error(answer, 401, "Invalid token", "INVALID_TOKEN")


@each_type
def test_the_middleware_client_creates_and_updates_every_other_type(url, kind, word, title, body):
    created = post(url, f"/{kind}", body)
    updated = post(url, f"/{kind}", body)

    assert [created.status_code, updated.status_code] == [201, 200]
    for answer, action in ((created, "created"), (updated, "updated")):
        shown = answer.json()
        assert (shown["status"], shown["action"]) == ("success", action)
        assert shown["message"] == f"{title} created/updated successfully"
        assert shown[f"hubspot_{word}_id"] == created.json()[f"hubspot_{word}_id"]


def test_the_middleware_client_associates_a_deal_with_a_contact_by_its_address(url, contact_id):
    body = OTHERS[1][3] | {
        "external_id": "PO-2",
        "associations": [{"to_type": "contacts", "to": CONTACT["email"]}],
    }
    deal_id = post(url, "/deals", body).json()["hubspot_deal_id"]

    def find():
        return deal_id in [each["id"] for each in own_contact(url)["deals"]]

    assert wait_for(find)


def own_contact(url):
    [contact] = get(url, "/contacts", email=CONTACT["email"]).json()["data"]["data"]["contacts"]
    return contact


def test_the_middleware_client_reads_changes_and_archives_a_record(url):
    body = {"domain": "short-lived.example", "name": "Short"}
    path = f"/companies/{post(url, '/companies', body).json()['hubspot_company_id']}"

    assert get(url, path).status_code == 200
    changed = requests.patch(url + path, json={"name": "Shorter"}, timeout=TIMEOUT)
    archived = requests.delete(url + path, timeout=TIMEOUT)
    assert (changed.status_code, changed.json()["action"]) == (200, "updated")
    assert (archived.status_code, archived.json()["action"]) == (200, "archived")
    check_error(get(url, path), 404, "Resource not found", "NOT_FOUND")


def test_the_middleware_client_writes_a_batch_and_learns_of_each_in_order(url):
    inputs = [{"email": "b1@example.com"}, {"email": "bad"}, {"email": "b2@example.com"}]
    answer = post(url, "/contacts/batch", {"inputs": inputs})

    body = answer.json()
    assert (answer.status_code, body["status"]) == (200, "success")
    assert [each["status"] for each in body["results"]] == ["success", "error", "success"]
    assert [each["action"] for each in body["results"]] == ["created", None, "created"]
    assert body["results"][1]["error_code"] == "VALIDATION_ERROR"


@pytest.mark.parametrize("kind", ["companies", "deals", "tickets", "line_items"])
def test_the_middleware_client_reads_a_page_of_every_type(url, kind):
    def find():
        page = get(url, f"/{kind}", limit=2).json()["data"]["data"]
        return page if page["next_after"] else None

    page = wait_for(find)
    assert len(page[kind]) == 2
    following = get(url, f"/{kind}", limit=2, cursor=page["next_after"]).json()["data"]["data"]
    assert {each["id"] for each in following[kind]}.isdisjoint(each["id"] for each in page[kind])


@pytest.fixture
def hubspot_is_away(hubspot):
    faults = f"{hubspot}/_sandbox/faults"
    fault = {"kind": "status", "status": 503, "match": "^(POST|PATCH) .*/contacts"}
    requests.put(faults, json={"faults": [fault]}, timeout=TIMEOUT)
    yield
    requests.delete(faults, timeout=TIMEOUT)


def test_the_middleware_clients_contact_is_queued_while_hubspot_is_away(url, hubspot_is_away):
    answer = post(url, "/contacts", CONTACT | {"email": "later@example.com"})

    body = answer.json()
    assert answer.status_code == 202
    assert (body["status"], body["action"]) == ("success", "queued")
    assert body["hubspot_contact_id"] is None
