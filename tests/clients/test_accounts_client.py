"""The client of the first document: accounts, contacts and pipelines at port 4012."""

import pytest
import requests

from tests.clients.conftest import TIMEOUT, check_error, pipelines, wait_for

TICKET = {
    "subject": "Cannot sign in",
    "description": "The page stays empty after the password.",
    "category": "PRODUCT_ISSUE",
    "pipeline": "0",
    "hs_ticket_priority": "HIGH",
    "hs_pipeline_stage": "1",
}
DEAL = {
    "dealname": "New deal",
    "dealstage": "appointmentscheduled",
    "amount": "1000000",
    "description": "The deal of a lifetime.",
    "tickets": [TICKET],
}
PERSON = {
    "email": "john.client@example.com",
    "password": "P@ssw0rd!",
    "firstname": "John",
    "lastname": "Client",
    "phone": "+1 555 010 0199",
    "deals": [DEAL],
}
CONTACT_KEYS = {
    *("id", "hs_object_id", "email", "firstname", "lastname", "createdate", "lastmodifieddate"),
    "deals",
}
DEAL_KEYS = {
    *("id", "hs_object_id", "dealname", "dealstage", "pipeline", "amount", "closedate"),
    *("createdate", "hs_lastmodifieddate", "tickets"),
}
TICKET_KEYS = {
    *("id", "hs_object_id", "subject", "description", "category", "pipeline"),
    *("hs_pipeline_stage", "hs_ticket_priority", "createdate", "hs_lastmodifieddate"),
}


def register(url, **changes):
    return requests.post(f"{url}/register", json=PERSON | changes, timeout=TIMEOUT)


def login(url, email, password):
    body = {"email": email, "password": password}
    return requests.post(f"{url}/login", json=body, timeout=TIMEOUT)


def get(url, path, token, **query):
    headers = {"Authorization": f"Bearer {token}"}
    return requests.get(url + path, params=query, headers=headers, timeout=TIMEOUT)


@pytest.fixture(scope="module")
def registered(url):
    """The answer to a registration."""
    return register(url)


@pytest.fixture(scope="module")
def signed_in(url, registered):
    """The answer to a login."""
    return login(url, PERSON["email"], PERSON["password"])


@pytest.fixture(scope="module")
def token(signed_in):
    return signed_in.json()["data"]["access_token"]


@pytest.fixture(scope="module")
def contact(url, token):
    """The one that was registered, as soon as HubSpot has it and all that hangs on it."""

    def find():
        answer = get(url, "/contacts", token, q=PERSON["email"])
        [contact] = answer.json()["data"]["data"]["contacts"]
        [deal] = contact["deals"]
        nodes = (contact, deal, *deal["tickets"])
        return contact if all(each["id"] for each in nodes) else None

    return wait_for(find)


def test_the_accounts_client_reads_the_pipelines_of_tickets_before_anybody_signs_in(url):
    answer = pipelines(url)
    body = answer.json()

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert (set(body), set(body["data"])) == ({"data", "message"}, {"data"})
    assert body["message"] == "Pipeline tickets retrieve successfully"
    [support] = body["data"]["data"]
    assert (support["id"], support["label"]) == ("0", "Support Pipeline")
    assert support["stages"][0] == {"id": "1", "label": "New", "display_order": 0}
    assert [each["display_order"] for each in support["stages"]] == [0, 1, 2, 3]


def test_the_accounts_client_reads_the_pipelines_of_deals_by_a_parameter(url):
    answer = requests.get(
        f"{url}/contacts/pipelines", params={"object_type": "deals"}, timeout=TIMEOUT
    )

    [sales] = answer.json()["data"]["data"]
    assert sales["id"] == "default"
    assert sales["stages"][0]["id"] == DEAL["dealstage"]


def test_the_accounts_client_registers_a_person_with_deals_and_tickets(registered):
    assert registered.status_code == 201
    assert registered.json() == {"message": "User registered successfully", "data": {}}


def test_the_accounts_client_learns_that_an_address_is_taken_in_whichever_case(url, registered):
    answer = register(url, email=PERSON["email"].upper())

    check_error(answer, 409, "User already exists", "USER_EXISTS")


def test_the_accounts_client_signs_in(signed_in):
    body = signed_in.json()

    assert signed_in.status_code == 200
    assert set(body) == {"message", "data"}
    assert body["message"] == "User authenticated successfully"
    assert {"access_token", "refresh_token", "expires_in"} <= set(body["data"])
    assert isinstance(body["data"]["access_token"], str)
    assert isinstance(body["data"]["expires_in"], int)


@pytest.mark.parametrize("email", [PERSON["email"], "nobody@example.com"])
def test_the_accounts_client_is_refused_alike_with_a_wrong_password_and_a_wrong_address(
    url, registered, email
):
    check_error(
        login(url, email, "wrong password"), 401, "Invalid credentials", "INVALID_CREDENTIALS"
    )


def test_the_accounts_client_learns_which_fields_of_a_registration_are_wrong(url):
    deals = [DEAL | {"tickets": [TICKET | {"hs_pipeline_stage": "99"}]}]
    answer = register(url, email="wrong.stage@example.com", deals=deals)

    body = check_error(answer, 400, "Validation error", "VALIDATION_ERROR")
    [(path, sentence)] = body["errors"].items()
    assert path == "deals.0.tickets.0.hs_pipeline_stage"
    assert all(stage in sentence for stage in ("1", "2", "3", "4"))


def test_the_accounts_client_learns_which_field_is_missing(url):
    answer = requests.post(f"{url}/login", json={"email": PERSON["email"]}, timeout=TIMEOUT)

    body = check_error(answer, 400, "Validation error", "VALIDATION_ERROR")
    assert set(body["errors"]) == {"password"}


def test_the_accounts_client_sees_the_contact_that_it_registered(contact):
    assert set(contact) >= CONTACT_KEYS
    assert [contact[name] for name in ("email", "firstname", "lastname")] == [
        *("john.client@example.com", "John", "Client")
    ]
    assert contact["id"] == contact["hs_object_id"]
    assert contact["id"].isdecimal()
    assert contact["createdate"].endswith("Z")


def test_the_accounts_client_sees_the_deal_within_the_contact(contact):
    [deal] = contact["deals"]

    assert set(deal) >= DEAL_KEYS
    assert [deal[name] for name in ("dealname", "dealstage", "pipeline", "amount")] == [
        *("New deal", "appointmentscheduled", "default", "1000000")
    ]
    assert deal["closedate"] is None


def test_the_accounts_client_sees_the_ticket_within_the_deal_by_its_own_names(contact):
    [deal] = contact["deals"]
    [ticket] = deal["tickets"]

    assert set(ticket) >= TICKET_KEYS
    assert {name: ticket[name] for name in TICKET} == TICKET


@pytest.mark.parametrize("limit", ["0", "101", "ten"])
def test_the_accounts_client_is_refused_a_page_of_another_size(url, token, limit):
    answer = get(url, "/contacts", token, limit=limit)

    body = check_error(answer, 400, "Validation error", "VALIDATION_ERROR")
    assert set(body["errors"]) == {"limit"}


def test_the_accounts_client_is_refused_with_a_token_that_is_none(url):
    answer = get(url, "/contacts", "not-a-token")

    check_error(answer, 401, "Invalid token", "INVALID_TOKEN")


def test_the_accounts_client_reads_its_own_account(url, token, contact):
    answer = get(url, "/me", token)
    account = answer.json()["data"]

    assert answer.status_code == 200
    assert (account["email"], account["role"]) == (PERSON["email"], "user")
    assert account["contact"]["id"] == contact["id"]
    [deal] = account["contact"]["deals"]
    nodes = (account["contact"], deal, *deal["tickets"])
    assert {each["sync_state"] for each in nodes} == {"synced"}


def test_the_accounts_client_renews_its_token_and_signs_out(url, registered):
    tokens = login(url, PERSON["email"], PERSON["password"]).json()["data"]
    headers = {"Authorization": f"Bearer {tokens['refresh_token']}"}
    renewed = requests.post(f"{url}/refresh", headers=headers, timeout=TIMEOUT)
    assert renewed.status_code == 200
    token = renewed.json()["data"]["access_token"]
    assert get(url, "/me", token).status_code == 200

    headers = {"Authorization": f"Bearer {token}"}
    assert requests.post(f"{url}/logout", headers=headers, timeout=TIMEOUT).status_code == 200
    check_error(get(url, "/me", token), 401, "Invalid token", "INVALID_TOKEN")


@pytest.fixture(scope="module")
def mirrored(url, token):
    """Those that HubSpot had before come in a moment after the start."""

    def find():
        return get(url, "/contacts", token, limit=60).json()["data"]["data"]["next_after"]

    wait_for(find)


def test_the_accounts_client_may_leave_parameters_empty(url, token, mirrored):
    answer = get(url, "/contacts", token, limit="", cursor="")

    assert answer.status_code == 200
    assert len(answer.json()["data"]["data"]["contacts"]) == 10


def test_the_accounts_client_pages_through_all_contacts_by_what_it_was_given(
    url, token, contact, mirrored
):
    ids, cursor = [], ""
    while cursor is not None:
        answer = get(url, "/contacts", token, limit=25, **({"cursor": cursor} if cursor else {}))
        body = answer.json()
        assert (set(body), body["message"]) == (
            {"data", "message"},
            "Contacts retrieved successfully",
        )
        page = body["data"]["data"]
        assert set(page) >= {"contacts", "next_after"}
        ids += [each["hs_object_id"] for each in page["contacts"]]
        cursor = page["next_after"]

    assert len(ids) == len(set(ids)) > 50
    assert contact["id"] in ids
