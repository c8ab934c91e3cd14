"""What holds for every page: few statements, little weight, no fault by whatever it is asked."""

from itertools import product

import pytest
from sqlalchemy import text

from crm.extensions import db
from crm.services import pipelines, schemas
from tests.api.conftest import counted_statements
from tests.api.scan_rows import make_scan

PAGES = [
    "/",
    "/console/contacts",
    "/console/contacts/{contact}",
    "/console/contacts/{contact}?edit=1",
    "/console/pipelines/deals",
    "/console/pipelines/tickets",
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
HOSTILE = [
    "",
    "\x00",
    "\ud800",
    "%00",
    "'",
    "<script>",
    "a" * 5000,
    "-1",
    "../../etc",
    "🦆",
    "null",
]
QUESTIONS = (
    "q",
    "cursor",
    "state",
    "sort",
    "lifecyclestage",
    "changes",
    "edit",
    "next",
    "pipeline",
    "dealstage",
    "owner_id",
    "status",
    "page",
    "like",
)


@pytest.fixture
def paths(session, register, run_jobs):
    """Every page's address, with data behind it."""
    person = register()
    run_jobs()
    schemas.refresh_stale_schemas()
    pipelines.refresh_stale_pipelines()
    make_scan(deals=30)
    contact = person.get("/me").json["data"]["contact"]["id"]
    return [each.format(contact=contact) for each in PAGES]


@pytest.fixture
def deal(paths):
    return db.session.scalar(text("SELECT uuid FROM records WHERE object_type = 'deals'"))


def test_no_page_makes_more_statements_than_it_may(session, paths):
    counted = {}
    for path in paths:
        session.get(path)
        with counted_statements() as statements:
            assert session.get(path).status_code == 200
        counted[path] = len(statements)

    assert {path: each for path, each in counted.items() if each > MOST_STATEMENTS} == {}


def test_no_page_weighs_much_on_first_load(admin, open_browser):
    visitor = open_browser()
    page = visitor.sign_in()
    browser = page.context.new_cdp_session(page)
    for path in ("/", "/console/contacts", "/console/pipelines/deals", "/console/settings"):
        browser.send("Network.clearBrowserCache")
        visitor.go(path)
        bytes_of_each = page.evaluate(
            "performance.getEntriesByType('resource')"
            ".concat(performance.getEntriesByType('navigation')).map(each => each.transferSize)"
        )

        assert len(bytes_of_each) >= 5
        assert sum(bytes_of_each) < HEAVIEST


def test_no_question_breaks_a_page(session, paths):
    for path, name, value in product(paths, QUESTIONS, HOSTILE):
        question = {name: value.encode("utf-8", "surrogatepass")}
        answer = session.get(path.partition("?")[0], **question)

        assert answer.status_code in (200, 400, 404), (path, name, value)


def test_no_name_in_an_address_breaks_a_page(session):
    for value in HOSTILE:
        name = value.encode("utf-8", "replace").decode()
        for path in (f"contacts/{name}", f"extractions/{name}", f"extractions/{name}/events"):
            answer = session.get(f"/console/{path}")

            assert answer.status_code in (200, 308, 404), value


def test_no_value_in_a_form_breaks_a_page(session, paths, deal):
    fields = ("firstname", "email", "version", "was-phone", "lifecyclestage")
    token = session.token
    for name, value in product(fields, HOSTILE):
        form = {name: value.encode("utf-8", "replace").decode(), "csrf_token": token}
        answer = session.post(paths[2], **form)

        assert answer.status_code in (303, 400, 409, 412), (name, value)
    for name, value in product(("stage", "pipeline", "from", "version"), HOSTILE):
        form = {name: value.encode("utf-8", "replace").decode(), "csrf_token": token}
        answer = session.post(f"/console/pipelines/deals/{deal}", **form)

        assert answer.status_code == 303, (name, value)
    choices = ("name", "token", "associations", "properties", "stage", "date_property", "since")
    for name, value in product(choices, HOSTILE):
        # Without one that is valid, none is started.
        form = {"until": "never", name: value.encode("utf-8", "replace").decode()}
        answer = session.post("/console/extractions/new", **form, csrf_token=token)

        assert answer.status_code == 400, (name, value)
