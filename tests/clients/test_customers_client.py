"""The client of the third document: customers at the root, its tokens, and HubSpot's webhooks."""

import base64
import hashlib
import hmac
import json
import time
from uuid import UUID

import pytest
import requests

from hubspot_sandbox import DEFAULT_APP, DEFAULT_PORTAL_ID
from tests.clients.conftest import TIMEOUT, check_error, wait_for

CUSTOMER = {
    "email": "customer@hubspot.com",
    "firstname": "Kai",
    "lastname": "Customer",
    "phone": "+1 555 010 0123",
    "company": "HubSpot",
    "website": "hubspot.com",
    "lifecyclestage": "marketingqualifiedlead",
}
KEYS = {"uuid", *CUSTOMER, "createdat", "updatedat"}
ALSO = {"hubspot_id", "hubspot_createdat", "hubspot_updatedat", "sync_state"}
BASES = ["", "/customers"]
each_base = pytest.mark.parametrize("base", BASES, ids=["root", "customers"])


class Client:
    """Calls as one role."""

    def __init__(self, url, role):
        self.url = url
        self.token = requests.get(f"{url}/get-token/{role}", timeout=TIMEOUT).json()["token"]

    def call(self, method, path, body=None):
        headers = {"Authorization": f"Bearer {self.token}"}
        return requests.request(
            method, self.url + path, json=body, headers=headers, timeout=TIMEOUT
        )


@pytest.fixture(scope="module")
def admin(url):
    return Client(url, "admin")


@pytest.fixture(scope="module")
def user(url):
    return Client(url, "user")


@pytest.fixture(scope="module")
def created(admin):
    """The answer to ``POST /``."""
    return admin.call("POST", "/", CUSTOMER)


def create(admin, base, email, **more):
    body = {"email": email, "firstname": "Some", "lastname": "Body"} | more
    return admin.call("POST", base or "/", body)


@pytest.mark.parametrize("role", ["admin", "user"])
def test_the_customers_client_is_given_a_token_for_a_role(url, role):
    answer = requests.get(f"{url}/get-token/{role}", timeout=TIMEOUT)

    assert answer.status_code == 200
    assert set(answer.json()) == {"token"}
    assert isinstance(answer.json()["token"], str)


def test_the_customers_client_is_given_no_token_for_a_role_that_is_none(url):
    answer = requests.get(f"{url}/get-token/owner", timeout=TIMEOUT)

    check_error(answer, 404, "Resource not found", "NOT_FOUND")


def test_the_customers_client_creates_a_customer(created):
    body = created.json()

    assert created.status_code == 201
    assert set(body) == KEYS | ALSO
    assert {name: body[name] for name in CUSTOMER} == CUSTOMER
    assert str(UUID(body["uuid"])) == body["uuid"]
    assert body["createdat"].endswith("Z")
    assert body["updatedat"].endswith("Z")
    assert body["hubspot_id"].isdecimal()


@each_base
def test_the_customers_client_learns_of_the_customer_that_is_there_already(admin, created, base):
    answer = create(admin, base, CUSTOMER["email"])

    hubspot_id = created.json()["hubspot_id"]
    message = f"HubSpot API Error (409): Contact already exists. Existing ID: {hubspot_id}"
    check_error(answer, 409, message, "CONFLICT")


@each_base
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"firstname": "Kai", "lastname": "Customer"}, "email"),
        ({"email": "no address", "firstname": "Kai", "lastname": "Customer"}, "email"),
        ({"email": "kai@example.com", "lastname": "Customer"}, "firstname"),
        ({"email": "kai@example.com", "firstname": "Kai", "lastname": ""}, "lastname"),
    ],
    ids=["no address", "a bad address", "no first name", "an empty last name"],
)
def test_the_customers_client_learns_that_a_body_is_invalid(admin, base, body, field):
    answer = admin.call("POST", base or "/", body)

    assert field in check_error(answer, 400, "Invalid body", "VALIDATION_ERROR")["errors"]


@each_base
@pytest.mark.parametrize("role", ["admin", "user"])
def test_the_customers_client_reads_a_customer_in_either_role(request, role, created, base):
    answer = request.getfixturevalue(role).call("GET", f"{base}/{CUSTOMER['email']}")

    assert answer.status_code == 200
    assert set(answer.json()) == KEYS | ALSO
    assert answer.json()["uuid"] == created.json()["uuid"]


@each_base
def test_the_customers_client_learns_that_there_is_no_such_customer(admin, base):
    message = "Customer with email kai@hubspot.com not found"
    path = f"{base}/kai@hubspot.com"

    check_error(admin.call("GET", path), 404, message, "NOT_FOUND")
    check_error(admin.call("PUT", path, {"company": "HubSpot"}), 404, message, "NOT_FOUND")


@each_base
def test_the_customers_client_changes_a_customer_and_gets_an_empty_answer(admin, base):
    email = f"changed.{base.strip('/') or 'root'}@example.com"
    create(admin, base, email)

    answer = admin.call("PUT", f"{base}/{email}", {"company": "Changed"})
    assert (answer.status_code, answer.content) == (200, b"")
    assert admin.call("GET", f"{base}/{email}").json()["company"] == "Changed"


@each_base
def test_the_customers_client_learns_that_a_change_changes_nothing(admin, created, base):
    answer = admin.call("PUT", f"{base}/{CUSTOMER['email']}", {})

    message = "HubSpot API Error (400): No properties found to update, please provide at least one."
    check_error(answer, 400, message, "VALIDATION_ERROR")


@each_base
def test_the_customers_client_may_not_write_as_a_user(user, base):
    made = create(user, base, "forbidden@example.com")
    changed = user.call("PUT", f"{base}/{CUSTOMER['email']}", {"company": "Forbidden"})

    assert [made.status_code, changed.status_code] == [403, 403]
    assert {made.json()["error_code"], changed.json()["error_code"]} == {"FORBIDDEN"}


@each_base
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_the_customers_client_is_refused_with_a_token_that_is_none(url, base, method):
    headers = {"Authorization": "Bearer not-a-token"}
    path = f"{url}{base}/{CUSTOMER['email']}"
    answer = requests.request(method, path, json={"company": "x"}, headers=headers, timeout=TIMEOUT)

    check_error(answer, 401, "Invalid token", "INVALID_TOKEN")


def test_the_customers_client_needs_a_token_for_customers(url):
    answer = requests.get(f"{url}/{CUSTOMER['email']}", timeout=TIMEOUT)

    assert answer.status_code == 401
    assert answer.json()["message"] == "Invalid token"


def test_the_customers_client_writes_customers_in_a_batch(admin):
    inputs = [{"email": f"batch{number}@example.com"} for number in (1, 2)]
    answer = admin.call("POST", "/customers/batch", {"inputs": inputs})

    assert answer.status_code == 200
    assert [each["action"] for each in answer.json()["results"]] == ["created", "created"]


@pytest.fixture
def hubspot_fails(hubspot):
    faults = f"{hubspot}/_sandbox/faults"
    fault = {"kind": "status", "status": 500, "match": "^(POST|PATCH) .*/contacts"}
    requests.put(faults, json={"faults": [fault]}, timeout=TIMEOUT)
    yield
    requests.delete(faults, timeout=TIMEOUT)


def test_the_customers_client_learns_that_hubspot_failed_and_nothing_is_kept(
    request, admin, created
):
    request.getfixturevalue("hubspot_fails")
    made = create(admin, "", "half@example.com")
    changed = admin.call("PUT", f"/{CUSTOMER['email']}", {"company": "Half"})

    for answer, message in ((made, "creating"), (changed, "updating")):
        assert answer.status_code in (500, 502, 503)
        assert answer.json()["message"] == f"Error {message} customer"
    assert admin.call("GET", "/half@example.com").status_code == 404
    assert admin.call("GET", f"/{CUSTOMER['email']}").json()["company"] == CUSTOMER["company"]


def sign(uri, body, at):
    """As HubSpot's page says: an HMAC over method, address, body and time."""
    source = b"POST" + uri.encode() + body + str(at).encode()
    digest = hmac.new(DEFAULT_APP.client_secret.encode(), source, hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def deliver(url, body, at=None, signature=None):
    uri = f"{url}/webhooks/hubspot"
    at = at or int(time.time() * 1000)
    headers = {
        "Content-Type": "application/json",
        "X-HubSpot-Signature-v3": signature or sign(uri, body, at),
        "X-HubSpot-Request-Timestamp": str(at),
    }
    return requests.post(uri, data=body, headers=headers, timeout=TIMEOUT)


EVENT = {
    "eventId": 100,
    "subscriptionId": 200,
    "portalId": DEFAULT_PORTAL_ID,
    "appId": DEFAULT_APP.id,
    "occurredAt": 1_790_000_000_000,
    "subscriptionType": "contact.propertyChange",
    "attemptNumber": 0,
    "objectId": 1246965,
    "propertyName": "lifecyclestage",
    "propertyValue": "subscriber",
    "changeSource": "ACADEMY",
}


def test_hubspots_signed_webhook_is_taken_with_an_empty_answer(url):
    answer = deliver(url, json.dumps([EVENT]).encode())

    assert (answer.status_code, answer.content) == (204, b"")


def test_hubspots_webhook_is_refused_with_a_wrong_or_stale_signature_or_none(url):
    body = json.dumps([EVENT]).encode()
    wrong = deliver(url, body, signature="bm90IHRoZSByaWdodCBvbmU=")
    stale = deliver(url, body, at=int(time.time() * 1000) - 301_000)
    none = requests.post(f"{url}/webhooks/hubspot", json=[EVENT], timeout=TIMEOUT)

    assert [each.status_code for each in (wrong, stale, none)] == [401, 401, 401]


def test_hubspots_webhook_of_more_than_a_mebibyte_is_refused(url):
    answer = deliver(url, b"[" + b" " * 1024 * 1024 + b"]")

    assert (answer.status_code, answer.json()["error_code"]) == (413, "PAYLOAD_TOO_LARGE")


def test_a_change_in_hubspot_reaches_the_customers_client(hubspot, admin):
    made = create(admin, "", "followed@example.com").json()
    contacts = f"{hubspot}/_sandbox/portals/{DEFAULT_PORTAL_ID}/objects/contacts"
    changes = {"properties": {"company": "Changed there"}}
    requests.patch(f"{contacts}/{made['hubspot_id']}", json=changes, timeout=TIMEOUT)

    def find():
        return admin.call("GET", "/followed@example.com").json()["company"] == "Changed there"

    assert wait_for(find)
