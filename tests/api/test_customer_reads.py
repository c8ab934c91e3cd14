"""GET /customers/{email}."""

from datetime import UTC, datetime

import pytest

FIELDS = ["uuid", "email", "firstname", "lastname", "phone", "company", "website"]
FIELDS += ["lifecyclestage", "createdat", "updatedat"]
MORE = ["hubspot_id", "hubspot_createdat", "hubspot_updatedat", "sync_state"]


@pytest.fixture
def ask(client, make_key):
    headers = make_key()
    return lambda email: client.get(f"/customers/{email}", headers=headers)


def test_a_customer_is_a_mirrored_contact(ask, make_contact):
    make_contact(
        "kai@hubspot.com",
        firstname="Kai",
        website="https://example.com",
        hs_object_id="5",
        hs_created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )

    customer = ask("kai@hubspot.com").json

    assert sorted(customer) == sorted(FIELDS + MORE)
    assert customer["email"] == "kai@hubspot.com"
    assert (customer["firstname"], customer["lastname"]) == ("Kai", None)
    assert (customer["website"], customer["sync_state"]) == ("https://example.com", "synced")
    assert (customer["hubspot_id"], customer["hubspot_updatedat"]) == ("5", None)
    assert customer["hubspot_createdat"] == "2026-01-01T00:00:00.000Z"
    assert customer["createdat"].endswith("Z")


@pytest.mark.parametrize("email", ["KAI@HubSpot.com", "%20kai@hubspot.com", "kai%40hubspot.com"])
def test_the_case_of_the_letters_does_not_matter(ask, make_contact, email):
    make_contact("Kai@hubspot.COM")

    assert ask(email).status_code == 200


def test_a_customer_who_is_not_there_is_named(ask, make_contact):
    make_contact("kai@hubspot.com", archived_at=datetime.now(UTC))

    answer = ask("kai@hubspot.com")

    assert (answer.status_code, answer.json["error_code"]) == (404, "NOT_FOUND")
    assert answer.json["message"] == "Customer with email kai@hubspot.com not found"


@pytest.mark.parametrize("email", ["%00", "a%00@b.ch", "x" * 3000, "%ff", "'", "%0a", "batch", "%"])
def test_an_email_that_is_none_is_not_found(ask, email):
    answer = ask(email)

    assert answer.status_code == 404
    assert len(answer.data) < 2000


def test_with_own_visibility_a_user_finds_only_themselves(make_app, app, make_contact):
    make_contact("kai@hubspot.com")
    client = make_app(CONTACTS_VISIBLE_TO_USERS="own").test_client()
    body = {"email": "ada@example.com", "password": "a good password"}
    client.post("/register", json=body | {"firstname": "Ada", "lastname": "L."})
    token = client.post("/login", json=body).json["data"]["access_token"]
    headers = {"Authorization": f"Bearer {token}"}

    assert client.get("/customers/ada@example.com", headers=headers).status_code == 200
    assert client.get("/customers/kai@hubspot.com", headers=headers).status_code == 404
