"""Connecting, items and disconnecting, over real HTTP against the sandbox's three providers."""

import pytest

each_provider = pytest.mark.parametrize("provider", ["hubspot", "airtable", "notion"])


@each_provider
def test_a_person_connects_and_is_told_so(browser, provider):
    page = browser.connect(provider)

    assert page.status_code == 200, page.text
    assert "is connected</h1>" in page.text
    told = browser.get(f"/{provider}/credentials").json
    assert (told["connected"], told["stays_connected"]) == (True, False)
    assert told["account"]
    assert told["until"].endswith("Z")
