"""``flask hubspot doctor``: every failure is a sentence, and says what to do."""

import base64
import re
import threading
from contextvars import Context
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from sqlalchemy import text
from werkzeug.serving import make_server

from crm.db import db
from crm.object_types import OBJECT_TYPES
from crm.portals import portals
from hubspot_sandbox import DEFAULT_APP, DEFAULT_PORTAL_ID
from hubspot_sandbox.access import Grant
from tests.conftest import free_port
from tests.hubspot.relay import Answer, Call, Relay

SECRET = "the app's secret"
LINES = re.compile(r"^(ok  |warn|FAIL)  ([^:]+): (.*)\n(?:      → (.*)\n)?", re.MULTILINE)
UNIQUE = [name for name, each in OBJECT_TYPES.items() if each.id_property == "crm_uid"]


@pytest.fixture
def examine(app, make_settings):
    """Runs the doctor with settings; returns exit code and (level, finding, advice) by name."""

    def do(service=app, **settings):
        service.extensions["crm_settings"] = make_settings(**settings)
        runner = service.test_cli_runner()
        # In a context of its own, else it would examine the test's app.
        result = Context().run(runner.invoke, args=["hubspot", "doctor"])
        assert result.exception is None or isinstance(result.exception, SystemExit)
        assert "Traceback" not in result.output
        findings = LINES.findall(result.output)
        assert len(findings) == len(re.findall(r"^\S", result.output, re.MULTILINE))
        return result.exit_code, {
            name: (level.strip(), found, advice) for level, name, found, advice in findings
        }

    return do


@pytest.fixture
def relay(sandbox):
    with Relay(sandbox.url) as relay:
        yield relay


@pytest.fixture
def serve(make_app):
    """Serves the service on a port of its own; returns its public address."""
    servers = []

    def do(**settings):
        url = f"http://localhost:{free_port()}"
        given = {"PUBLIC_URL": url, "HUBSPOT_CLIENT_SECRET": SECRET} | settings
        server = make_server("localhost", int(url.rpartition(":")[2]), make_app(**given), True)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return url

    yield do
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def set_up(app, portal_id):
    portals.set_up(portals.connect(portal_id), portal_id)


@pytest.fixture
def oauth(sandbox):
    """Settings of an OAuth connection that was granted these scopes."""

    def grant(*scopes):
        given = Grant(DEFAULT_PORTAL_ID, DEFAULT_APP.id, 60318841, frozenset(scopes))
        return {
            "HUBSPOT_PRIVATE_APP_TOKEN": "",
            "HUBSPOT_CLIENT_ID": DEFAULT_APP.client_id,
            "HUBSPOT_CLIENT_SECRET": DEFAULT_APP.client_secret,
            "HUBSPOT_REFRESH_TOKEN": sandbox.sandbox.registry.add_grant(given),
            "ENCRYPTION_KEYS": base64.urlsafe_b64encode(b"k" * 32).decode(),
        }

    return grant


def failed(findings):
    return {name for name, (level, _, _) in findings.items() if level == "FAIL"}


def test_a_service_in_good_health_fails_nowhere(examine, serve, set_up):
    url = serve()

    code, findings = examine(PUBLIC_URL=url, HUBSPOT_CLIENT_SECRET=SECRET)

    assert code == 0, findings
    assert {level for level, _, _ in findings.values()} == {"ok"}
    assert list(findings) == [
        *("address", "clock", "token", "portal", "version", "limits", "scopes"),
        *(f"crm_uid of {name}" for name in UNIQUE),
        "webhook",
    ]
    assert not any(advice for _, _, advice in findings.values())


def test_it_changes_nothing_in_hubspot(examine, sandbox):
    before = sandbox.sandbox.portals.copy()
    examine()
    routes = sandbox.requests()["by_route"]

    assert before == sandbox.sandbox.portals
    # Everything else is a read; these write nothing, or of nothing.
    assert {each.split("/")[-1] for each in routes if each.startswith("POST")} == {
        "update",
        *UNIQUE,
    }
    assert not any(each.startswith(("PUT", "PATCH", "DELETE")) for each in routes)


def test_without_a_network_every_failure_is_a_sentence_with_advice(examine):
    nowhere = f"http://127.0.0.1:{free_port()}"

    code, findings = examine(
        HUBSPOT_API_URL=nowhere, PUBLIC_URL=nowhere, HUBSPOT_CLIENT_SECRET=SECRET
    )

    assert code == 1
    assert failed(findings) == {"address", "token", "webhook"}
    assert f"{nowhere} cannot be reached (not connected)" in findings["address"][1]
    assert all(advice for _, _, advice in findings.values())


def test_without_a_database_it_says_so_and_goes_on(examine, make_app):
    address = f"postgresql://crm:hunter2@127.0.0.1:{free_port()}/crm"

    code, findings = examine(make_app(DATABASE_URL=address), DATABASE_URL=address)

    assert code == 1
    assert failed(findings) == {"database"}
    assert "Connection refused" in findings["database"][1]
    assert "hunter2" not in str(findings)
    assert "webhook" in findings


def test_without_a_portal_it_says_what_to_set(examine):
    code, findings = examine(HUBSPOT_PRIVATE_APP_TOKEN="")

    assert code == 1
    assert "HUBSPOT_PRIVATE_APP_TOKEN" in findings["token"][2]


def test_a_token_that_hubspot_refuses_fails_with_hubspots_words(examine):
    code, findings = examine(HUBSPOT_PRIVATE_APP_TOKEN="pat-na1-wrong")

    assert code == 1
    assert failed(findings) == {"token"}
    assert "HubSpot refuses it: Authentication credentials not found" in findings["token"][1]
    assert "pat-na1-wrong" not in str(findings)


def test_a_mangled_token_fails(examine):
    _, findings = examine(HUBSPOT_PRIVATE_APP_TOKEN="pat-na1 sandbox")

    assert "characters that no token has" in findings["token"][1]


def test_a_token_of_another_portal_than_the_mirrors_fails(examine, app):
    db.session.execute(text("UPDATE portals SET hub_id = 7"))
    db.session.commit()

    code, findings = examine()

    assert code == 1
    assert re.fullmatch(
        r"the token is of portal \d+, the mirror of portal 7", findings["portal"][1]
    )
    assert "portal 7" in findings["portal"][2]


def test_a_version_that_hubspot_has_not_fails(examine):
    code, findings = examine(HUBSPOT_API_VERSION="2024-03")

    assert code == 1
    assert failed(findings) == {"version"}


def test_a_version_that_hubspot_gives_up_is_warned_of(examine):
    code, findings = examine(HUBSPOT_API_VERSION="v3")

    assert code == 0
    assert findings["version"][0] == "warn"
    assert "v3" in findings["version"][1]


@pytest.mark.parametrize(
    ("seconds", "level", "side"),
    [
        (0, "ok", ""),
        (55, "ok", "behind"),
        (65, "warn", "behind"),
        (-65, "warn", "ahead of"),
        (235, "warn", "behind"),
        (245, "FAIL", "behind"),
        (-245, "FAIL", "ahead of"),
    ],
)
def test_a_clock_that_is_off_shows_before_signatures_go_stale(examine, relay, seconds, level, side):
    moment = datetime.now(UTC) + timedelta(seconds=seconds)
    relay.answer(404, {}, headers={"Date": format_datetime(moment, usegmt=True)})

    _, findings = examine(HUBSPOT_API_URL=relay.url)

    assert findings["clock"][0] == level
    assert side in findings["clock"][1]


@pytest.mark.parametrize("date", ["", "soon", "Sat, 99 Nov 2026 12:00:00 GMT", "9" * 400])
def test_an_address_that_tells_no_time_is_warned_of(examine, relay, date):
    relay.answer(404, {}, headers={"Date": date})

    _, findings = examine(HUBSPOT_API_URL=relay.url)

    assert findings["clock"][0] == "warn"


@pytest.mark.parametrize(
    ("headers", "level", "found"),
    [
        ({}, "ok", "HubSpot tells none"),
        ({"Max": "190", "Remaining": "0"}, "ok", "0 of 190 calls for the 10 seconds are left"),
        ({"Daily": "250000", "Daily-Remaining": "100000"}, "ok", "100000 of 250000"),
        ({"Daily": "250000", "Daily-Remaining": "20000"}, "warn", "20000 of 250000"),
        ({"Daily": "250000", "Daily-Remaining": "0"}, "FAIL", "0 of 250000 calls for the day"),
        ({"Daily": "many", "Daily-Remaining": "-1"}, "ok", "HubSpot tells none"),
        ({"Daily": "9" * 5000, "Daily-Remaining": "1"}, "ok", "HubSpot tells none"),
    ],
    ids=lambda each: str(each)[:60],
)
def test_limits_that_run_out_show(examine, relay, headers, level, found):
    def handler(call: Call) -> Answer:
        answer = call.pass_on()
        # Only where they are read: who is told everywhere that nothing is left, waits each time.
        if "account-info" in call.path:
            told = {f"X-HubSpot-RateLimit-{name}": each for name, each in headers.items()}
            answer.headers |= told
        return answer

    relay.handler = handler

    _, findings = examine(HUBSPOT_API_URL=relay.url)

    assert findings["limits"][0] == level
    assert found in findings["limits"][1]


MISSING_SCOPES = {
    "status": "error",
    "category": "MISSING_SCOPES",
    "message": "This app hasn't been granted all required scopes to make this call.",
}


def test_of_an_oauth_token_it_tells_its_portal_its_time_and_what_it_lacks(examine, oauth):
    code, findings = examine(**oauth("crm.objects.contacts.read", "crm.objects.deals.write"))

    found = f"OAuth of portal {DEFAULT_PORTAL_ID}; good for 29 minutes, then refreshed"
    assert (code, findings["token"][:2]) == (1, ("ok", found))
    lacking = set(findings["scopes"][1].removeprefix("the token lacks ").split(", "))
    assert {"crm.objects.contacts.write", "crm.objects.deals.read", "tickets"} < lacking
    assert lacking.isdisjoint({"crm.objects.contacts.read", "crm.objects.deals.write"})
    assert "connect the portal again" in findings["scopes"][2]
    assert findings["crm_uid of deals"][0] == "warn"


def test_a_revoked_connection_says_how_to_come_back(examine, oauth, sandbox):
    settings = oauth("crm.objects.contacts.read")
    sandbox.sandbox.registry.revoke(settings["HUBSPOT_REFRESH_TOKEN"])

    code, findings = examine(**settings)

    assert code == 1
    assert failed(findings) == {"token"}
    assert "expired or revoked" in findings["token"][1]
    assert "set the HUBSPOT_REFRESH_TOKEN" in findings["token"][2]


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        ({"HUBSPOT_CLIENT_SECRET": "wrong"}, "check HUBSPOT_CLIENT_SECRET"),
        ({"ENCRYPTION_KEYS": ""}, "ENCRYPTION_KEYS is not set"),
    ],
    ids=str,
)
def test_an_app_that_is_configured_wrongly_says_what_to_mend(examine, oauth, change, advice):
    code, findings = examine(**oauth("crm.objects.contacts.read") | change)

    assert code == 1
    assert advice in findings["token"][1]
    assert "Mend the setting" in findings["token"][2]


@pytest.mark.parametrize(
    ("method", "ending", "scope"),
    [
        ("GET", "/contacts", "crm.objects.contacts.read"),
        ("POST", "/deals/batch/update", "crm.objects.deals.write"),
        ("GET", "/line_items/crm_uid", "crm.schemas.line_items.read"),
        ("POST", "2026-09/companies", "crm.schemas.companies.write"),
        ("POST", "/tickets/batch/update", "tickets"),
    ],
)
def test_a_missing_scope_is_named(examine, relay, method, ending, scope):
    def handler(call: Call) -> Answer:
        if call.method == method and call.is_for(ending):
            return Answer(403, MISSING_SCOPES)
        return call.pass_on()

    relay.handler = handler

    code, findings = examine(HUBSPOT_API_URL=relay.url)

    assert code == 1
    assert findings["scopes"][:2] == ("FAIL", f"the token lacks {scope}")


def test_hubspot_failing_half_way_is_a_finding(examine, relay):
    relay.handler = lambda call: (
        call.pass_on() if "account-info" in call.path else Answer(502, raw=b"<html>")
    )

    code, findings = examine(HUBSPOT_API_URL=relay.url)

    assert code == 1
    assert "did not answer all questions: HTTP 502" in findings["scopes"][1]


@pytest.mark.parametrize(
    "answer",
    [
        Answer(500, raw=b"<html>"),
        Answer(200, raw=b"<html>"),
        Answer(200, []),
        Answer(302, raw=b"", headers={"Location": "https://example.com"}),
    ],
    ids=lambda answer: f"{answer.status} {answer.raw!r}",
)
def test_whatever_answers_instead_of_hubspot_is_a_finding(examine, relay, answer):
    relay.handler = lambda call: answer

    code, findings = examine(HUBSPOT_API_URL=relay.url)

    assert code == 1
    assert failed(findings) == {"token"}


def test_a_new_portal_lacks_the_property_that_a_worker_makes(examine):
    code, findings = examine()

    assert code == 0
    assert [findings[f"crm_uid of {name}"][0] for name in UNIQUE] == ["warn"] * len(UNIQUE)
    assert "Start a worker" in findings["crm_uid of deals"][2]


def test_a_property_whose_values_are_not_unique_fails(examine, set_up, relay):
    def handler(call: Call) -> Answer:
        answer = call.pass_on()
        if call.method == "GET" and call.is_for("2026-09/deals"):
            for each in answer.body["results"]:
                each["hasUniqueValue"] = False
        return answer

    relay.handler = handler

    code, findings = examine(HUBSPOT_API_URL=relay.url)

    assert code == 1
    assert failed(findings) == {"crm_uid of deals"}


def test_without_a_public_address_there_are_no_webhooks(examine):
    code, findings = examine(PUBLIC_URL="", HUBSPOT_CLIENT_SECRET=SECRET)

    assert code == 0
    assert findings["webhook"][0] == "warn"
    assert "Set PUBLIC_URL" in findings["webhook"][2]


def test_without_a_secret_every_webhook_would_be_refused(examine):
    code, findings = examine(PUBLIC_URL="http://localhost:1", HUBSPOT_CLIENT_SECRET="")

    assert code == 1
    assert "Set HUBSPOT_CLIENT_SECRET" in findings["webhook"][2]


def test_hubspot_calls_https_only(examine):
    code, findings = examine(PUBLIC_URL="http://crm.invalid", HUBSPOT_CLIENT_SECRET="")

    assert code == 1
    assert failed(findings) == {"webhook"}


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"HUBSPOT_CLIENT_SECRET": "another"}, "refuses what we sign: The signature does not"),
        ({"HUBSPOT_CLIENT_SECRET": ""}, "refuses what we sign: There is no secret"),
        ({"PUBLIC_URL": "https://crm.example.com"}, "refuses what we sign: The signature does not"),
    ],
    ids=str,
)
def test_a_service_that_was_started_with_other_settings_shows(examine, serve, settings, sentence):
    url = serve(**settings)

    code, findings = examine(PUBLIC_URL=url, HUBSPOT_CLIENT_SECRET=SECRET)

    assert code == 1
    assert sentence in findings["webhook"][1]


@pytest.mark.parametrize(("status", "sentence"), [(404, "HTTP 404"), (204, "a stale delivery")])
def test_something_else_that_answers_there_shows(examine, relay, status, sentence):
    relay.answer(status)

    code, findings = examine(PUBLIC_URL=relay.url, HUBSPOT_CLIENT_SECRET=SECRET)

    assert code == 1
    assert sentence in findings["webhook"][1]
