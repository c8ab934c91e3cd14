"""The fifth document's client, which shows no credential, connects everything by open access."""

import pytest

from tests.conftest import Person
from tests.integrations.conftest import Browser


@pytest.fixture
def stranger(app, open_access):
    """A browser in which nobody has signed in."""
    return Browser(app.test_client(), Person(app.test_client(), "", {}))


@pytest.fixture(autouse=True)
def _no_credential(monkeypatch):
    monkeypatch.setattr(Person, "headers", {})


@pytest.mark.parametrize("provider", ["hubspot", "airtable", "notion"])
def test_a_provider_is_connected_read_and_disconnected_without_a_credential(stranger, provider):
    listed = [each["provider"] for each in stranger.get("").json["integrations"]]
    page = stranger.connect(provider)
    connected = stranger.is_connected(provider)
    items = stranger.get(f"/{provider}/items")
    ended = stranger.disconnect(provider)

    assert provider in listed
    assert "is connected</h1>" in page.text
    assert connected
    assert items.status_code == 200
    assert ended.status_code == 200
    assert not stranger.is_connected(provider)


def test_what_is_connected_by_open_access_is_nobodys_who_signs_in(
    stranger, open_browser, monkeypatch
):
    stranger.connect("notion")
    monkeypatch.undo()

    assert not open_browser().is_connected("notion")


def test_another_browser_cannot_finish_what_was_begun_by_open_access(app, stranger):
    back = stranger.consent(stranger.begin("notion"))

    assert app.test_client().get(back).status_code == 400
    assert not stranger.is_connected("notion")


def test_what_was_begun_by_open_access_cannot_be_finished_when_that_is_off(app, stranger):
    back = stranger.consent(stranger.begin("notion"))
    app.extensions["crm_open_access"] = False

    assert stranger.client.get(back).status_code == 400
