"""What holds for every page: few statements, little weight, no fault by whatever it is asked."""

from itertools import product

import pytest
from sqlalchemy import text

from crm.db import db
from crm.portals import pipelines, property_schemas
from tests.api.conftest import counted_statements
from tests.api.scan_rows import make_scan

PAGES = [
    "/",
    "/console/contacts",
    "/console/contacts/{contact}",
    "/console/contacts/{contact}?edit=1",
    "/console/pipelines/deals",
    "/console/pipelines/tickets",
    "/console/integrations",
    "/console/integrations/hubspot",
    "/console/extractions",
    "/console/extractions/new",
    "/console/extractions/new?like=nightly",
    "/console/extractions/nightly",
    "/console/sync",
    "/console/sync/webhooks",
    "/console/sync/runs",
    "/console/settings",
    "/console/settings/keys",
    "/console/settings/webhooks",
    "/console/settings/doctor",
]
MOST_STATEMENTS = 10
HEAVIEST = 300_000
HOSTILE = ("", "\x00", "\ud800", "%00", "'", "<script>", "a" * 5000, "-1", "../etc", "🦆", "null")
QUESTIONS = {
    "/console/sign-in": ("next",),
    "/console/contacts": ("q", "cursor", "state", "sort", "lifecyclestage"),
    "/console/contacts/{contact}": ("changes", "edit"),
    "/console/pipelines/deals": ("pipeline",),
    "/console/extractions": ("status", "page"),
    "/console/extractions/new": ("like",),
    "/console/extractions/nightly": ("cursor", "pipeline", "dealstage", "owner_id"),
    "/console/extractions/nightly/download": ("format",),
    "/console/sync": ("cursor",),
    "/console/integrations/hubspot": ("type", "cursor"),
    "/console/sync/webhooks": ("state",),
}
"""What the pages take from their addresses."""


@pytest.fixture
def contact(register, run_jobs):
    """HubSpot's id of a contact, with data behind every page."""
    person = register()
    run_jobs()
    property_schemas.refresh_stale_schemas()
    pipelines.refresh_stale_pipelines()
    make_scan(deals=30)
    return person.get("/me").json["data"]["contact"]["id"]


def test_no_page_makes_more_statements_than_it_may(session, contact):
    counted = {}
    for path in (each.format(contact=contact) for each in PAGES):
        session.get(path)
        with counted_statements() as statements:
            assert session.get(path).status_code == 200
        counted[path] = len(statements)

    assert {path: each for path, each in counted.items() if each > MOST_STATEMENTS} == {}


def test_no_page_weighs_much_on_first_load(admin, open_browser):
    visitor = open_browser(is_new=True)
    page = visitor.sign_in()
    browser = page.context.new_cdp_session(page)
    browser.send("Network.enable")
    browser.send("Network.setCacheDisabled", {"cacheDisabled": True})
    for path in ("/", "/console/contacts", "/console/pipelines/deals", "/console/settings"):
        visitor.go(path)
        bytes_of_each = page.evaluate(
            "performance.getEntriesByType('resource')"
            ".concat(performance.getEntriesByType('navigation')).map(each => each.transferSize)"
        )

        assert len(bytes_of_each) >= 5
        assert all(bytes_of_each)
        assert sum(bytes_of_each) < HEAVIEST


def test_no_question_breaks_a_page(session, contact):
    for path, names in QUESTIONS.items():
        for name, value in product(names, HOSTILE):
            question = {name: value.encode("utf-8", "surrogatepass")}
            answer = session.get(path.format(contact=contact), **question)

            assert answer.status_code in (200, 302, 400, 404), (path, name, value)


def test_no_name_in_an_address_breaks_a_page(session):
    for value in HOSTILE:
        name = value.encode("utf-8", "replace").decode()
        for path in (f"contacts/{name}", f"extractions/{name}", f"extractions/{name}/events"):
            answer = session.get(f"/console/{path}")

            assert answer.status_code in (200, 308, 404), value


def test_no_value_in_a_form_breaks_a_page(session, contact):
    deal = db.session.scalar(text("SELECT uuid FROM records WHERE object_type = 'deals'"))
    forms = {
        f"/console/contacts/{contact}": ("email", "version", "was-phone", "lifecyclestage"),
        f"/console/pipelines/deals/{deal}": ("stage", "pipeline", "from", "version"),
        f"/console/sync/rejected/{deal}": ("property-amount", "property-\x00"),
        "/console/extractions/new": ("name", "associations", "properties", "stage", "since"),
        "/console/settings/users": ("email", "password", "role"),
        "/console/settings/keys": ("name",),
    }
    token = session.token
    for path, names in forms.items():
        for name, value in product(names, HOSTILE):
            form = {name: value.encode("utf-8", "replace").decode(), "csrf_token": token}
            answer = session.post(path, **form)

            assert answer.status_code in (201, 303, 400, 409, 412), (path, name, value)
