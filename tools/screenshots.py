"""``make screenshots``: every page of the console with demo data, as a picture for the README.

At a desk and light, and on a phone and dark.
"""

import sys
from dataclasses import replace
from typing import Any

import requests
from flask import Flask
from playwright.sync_api import Browser, Page

from crm.accounts import api_keys, users
from crm.config import PROJECT
from crm.db import db, transaction
from crm.mirror.rows import NewRecord, create_records
from crm.models import Record
from crm.object_types import DEALS
from crm.portals import pipelines, portals, property_schemas
from crm.pull import runner
from crm.push.job import enqueue_push
from hubspot_sandbox import DEFAULT_TOKEN, SandboxServer
from tests.api.scan_rows import make_scan
from tests.browser import CHROMIUM, DESKTOP, MISSING, PHONE, started_browser
from tests.conftest import wait_until
from tests.integrations.conftest import settings_of
from tools.stage import Stage, stage

IMAGES = PROJECT / "docs" / "images"
EMAIL, PASSWORD = "demo@example.com", "demo-password"

PAGES = {
    "overview": "/",
    "contacts": "/console/contacts?sort=-lastmodifieddate",
    "contact": "/console/contacts/{contact}",
    "contact-edit": "/console/contacts/{contact}?edit=1",
    "deals": "/console/pipelines/deals",
    "tickets": "/console/pipelines/tickets",
    "integrations": "/console/integrations",
    "items": "/console/integrations/hubspot",
    "extractions": "/console/extractions",
    "extraction": "/console/extractions/all-deals",
    "extraction-at-work": "/console/extractions/archive",
    "extraction-failed": "/console/extractions/partner-portal",
    "extraction-start": "/console/extractions/new",
    "refused": "/console/sync",
    "webhooks": "/console/sync/webhooks",
    "comparing": "/console/sync/runs",
    "people": "/console/settings",
    "keys": "/console/settings/keys",
    "webhook-setup": "/console/settings/webhooks",
    "doctor": "/console/settings/doctor",
}
"""Name of the picture to address."""


def main() -> None:
    """Take the pictures."""
    if CHROMIUM is None:
        sys.exit(MISSING)
    IMAGES.mkdir(exist_ok=True)
    with stage() as place, started_browser() as browser:
        address, contact = _prepare(place)
        _connect_notion(place, browser, address)
        _take_all(browser, address, contact, screen=DESKTOP, scheme="light")
        _take_all(browser, address, contact, screen=PHONE, scheme="dark")


def _prepare(place: Stage) -> tuple[str, str]:
    """Serve the demo data, with something of everything; returns the address and a contact."""
    place.sandbox.reset(demo=True)
    app = place.create_service("screenshots")
    with app.app_context():
        for email, role in ((EMAIL, "admin"), ("kai@example.com", "user")):
            users.create_user(
                email=email, password=PASSWORD, role=role, organization=portals.DEFAULT_ORGANIZATION
            )
        key = api_keys.create_key(name="Web shop", organization=portals.DEFAULT_ORGANIZATION)
        for kind in ("backfill", "reconcile"):
            for _ in runner.follow(kind):
                pass
        property_schemas.refresh_stale_schemas()
        pipelines.refresh_stale_pipelines()
    providers = {name.upper(): value for name, value in settings_of(place.sandbox).items()}
    address = place.serve("crm:create_app()", providers | place.environment("screenshots"))
    place.start_worker("screenshots", ENCRYPTION_KEYS=providers["ENCRYPTION_KEYS"])
    place.sandbox.set_webhooks(f"{address}/webhooks/hubspot")
    contact = _change_in_hubspot(place.sandbox)
    _be_refused(app)
    _extract(app, address, key)
    return address, contact


def _change_in_hubspot(sandbox: SandboxServer) -> str:
    """Have HubSpot tell of something; returns the contact that was changed."""
    headers = {"Authorization": f"Bearer {DEFAULT_TOKEN}"}
    path = f"{sandbox.url}/crm/v3/objects/contacts"
    answer = requests.get(path, params={"limit": 4}, headers=headers, timeout=10).json()
    ids = [str(each["id"]) for each in answer["results"]]
    for contact in ids:
        body = {"properties": {"phone": "+44 20 7946 0000", "jobtitle": "Managing Director"}}
        requests.patch(f"{path}/{contact}", json=body, headers=headers, timeout=10)
    sandbox.flush_webhooks()
    return ids[0]


def _be_refused(app: Flask) -> None:
    deal = {"dealname": "Kestrel Medical: second lab", "amount": "about 12,000"}
    stage_of_deal = {"dealstage": "qualifiedtobuy", "pipeline": "default"}
    with app.app_context():
        portal_id = portals.get_default_portal_id()
        with transaction():
            create_records(portal_id, [NewRecord(DEALS, deal | stage_of_deal)])
            enqueue_push(portal_id)

        def is_refused() -> bool:
            with transaction() as session:
                return session.query(Record).filter_by(state="rejected").count() == 1

        wait_until(is_refused)
        db.session.remove()


def _connect_notion(place: Stage, browser: Browser, address: str) -> None:
    # As the service calls itself where nobody says otherwise.
    address = address.replace("127.0.0.1", "localhost")
    notion = place.sandbox.sandbox.notion
    way_back = f"{address}/integrations/notion/oauth2callback"
    notion.app = replace(notion.app, redirect_uris=(way_back,))
    context = browser.new_context()
    page = context.new_page()
    _sign_in(page, address)
    page.goto(f"{address}/console/integrations")
    with page.expect_popup() as consent:
        page.get_by_role("button", name="Connect Notion").click()
    consent.value.get_by_role("button", name="Allow access").click()
    page.get_by_text("Notion is connected.").wait_for()
    context.close()


def _sign_in(page: Page, address: str) -> None:
    page.goto(f"{address}/console/sign-in")
    page.get_by_label("E-mail").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{address}/")


def _extract(app: Flask, address: str, key: str) -> None:
    """Extract all deals, and fail to; and pretend to have done so for two weeks."""

    def call(path: str, **options: Any) -> Any:
        url = f"{address}/api/v1/scan/{path}"
        return requests.request(url=url, headers={"X-API-Key": key}, timeout=10, **options).json()

    for name, token in (("all-deals", DEFAULT_TOKEN), ("partner-portal", "pat-na1-withdrawn")):
        config = {
            "scanId": name,
            "type": ["hubspot_deals"],
            "auth": {"hubspot_access_token": token},
            "includeAssociations": True,
        }
        call("start", method="POST", json={"config": config})
        wait_until(lambda name=name: call(f"status/{name}", method="GET")["completed_at"])
    with app.app_context():
        for day in range(1, 14):
            deals = 9000 + 1700 * (day * 5 % 7) if day % 6 else 0
            make_scan(f"nightly-{day}", processed_items=deals, ago=day * 86_400, took=deals / 640)
        make_scan("archive", status="running", total_items=48_200, processed_items=31_900, ago=52)
        db.session.remove()


def _take_all(
    browser: Browser, address: str, contact: str, *, screen: dict[str, int], scheme: str
) -> None:
    suffix = "-phone" if screen is PHONE else ""
    context = browser.new_context(viewport=screen, color_scheme=scheme)
    page = context.new_page()
    page.goto(f"{address}/console/sign-in")
    _take(page, f"sign-in{suffix}")
    _sign_in(page, address)
    for each, path in PAGES.items():
        page.goto(address + path.format(contact=contact))
        if each == "doctor":
            page.get_by_role("button", name="Examine now").click()
            page.get_by_role("button", name="Examine again").wait_for()
        _take(page, f"{each}{suffix}")
    context.close()


def _take(page: Page, name: str) -> None:
    page.screenshot(path=IMAGES / f"{name}.png")


if __name__ == "__main__":
    main()
