"""The flask commands, as somebody at a terminal runs them."""

import os
import re
import subprocess
import sys

import pytest
from sqlalchemy import select, text

from crm.config import NEW_SECRET, PROJECT
from crm.db import transaction
from crm.models import Record
from tests.conftest import PASSWORD
from tests.sandbox.client import HubSpot

NO_DATABASE = "postgresql://crm:hunter2@127.0.0.1:1/crm"


@pytest.fixture
def run(app):
    """Runs a command; returns exit code, standard output and standard error."""
    runner = app.test_cli_runner()

    def do(*arguments, answers=None):
        result = runner.invoke(args=arguments, input=answers)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result.exit_code, result.stdout, result.stderr

    return do


def test_a_made_user_may_sign_in(run, client):
    code, out, _ = run("users", "create", "Ada@Example.com", "--password", PASSWORD)

    answer = client.post("/login", json={"email": "ada@example.com", "password": PASSWORD})
    assert (code, out) == (0, "Ada@Example.com may sign in as user.\n")
    assert answer.status_code == 200


def test_a_password_is_asked_for_and_not_shown(run, client):
    code, out, _ = run("users", "create", "ada@example.com", answers=f"{PASSWORD}\n{PASSWORD}\n")

    assert code == 0
    assert PASSWORD not in out
    answer = client.post("/login", json={"email": "ada@example.com", "password": PASSWORD})
    assert answer.status_code == 200


def test_a_made_admin_and_a_promoted_user_are_admins(run, client):
    run("users", "create", "ada@example.com", "--password", PASSWORD, "--role", "admin")
    run("users", "create", "bob@example.com", "--password", PASSWORD)
    run("users", "promote", "BOB@example.com")

    assert [_me(client, name)["role"] for name in ("ada", "bob")] == ["admin", "admin"]


def test_a_user_is_made_in_the_organization_that_is_named(run, client):
    run("organizations", "create", "Other")
    run("users", "create", "ada@example.com", "--password", PASSWORD, "--organization", "Other")

    assert _me(client, "ada")["organization"] == "Other"


def identifiers():
    with transaction() as session:
        return {
            tuple(row)
            for row in session.execute(text("SELECT name, identifier FROM organizations"))
        }


def test_an_organization_is_made_with_an_identifier_or_gets_one_later(run):
    made, *_ = run("organizations", "create", "Other", "--identifier", "org_123456")
    set_later, out, _ = run("organizations", "identify", "Default", "org_7")
    changed, *_ = run("organizations", "identify", "Other", "acme")

    assert (made, set_later, changed) == (0, 0, 0)
    assert out == "Applications may call Default org_7.\n"
    assert identifiers() == {("Default", "org_7"), ("Other", "acme")}


def test_an_identifier_is_one_organizations_alone(run):
    run("organizations", "identify", "Default", "org_7")

    problems = [
        run("organizations", "create", "Other", "--identifier", "org_7"),
        run("organizations", "create", "Third"),
        run("organizations", "identify", "Third", "org_7"),
    ]

    assert [code for code, *_ in problems] == [1, 0, 1]
    assert [err for *_, err in problems] == [
        *("Error: There is an organization org_7 already\n", ""),
        "Error: There is an organization org_7 already\n",
    ]
    assert identifiers() == {("Default", "org_7"), ("Third", None)}


@pytest.mark.parametrize(
    "identifier", ["", " ", "7", "_a", "Org", "a-b", "a b", "a\n", "ä", "a" * 56, "a;DROP"]
)
def test_an_identifier_is_of_small_letters_digits_and_underscores(run, identifier):
    problems = [
        run("organizations", "create", "Other", "--identifier", identifier),
        run("organizations", "identify", "Default", identifier),
    ]

    for code, _, err in problems:
        assert (code, "An identifier is a small letter" in err) == (1, True)
    assert identifiers() == {("Default", None)}


def test_an_identifier_is_as_long_as_the_name_of_its_schema_may_be(run):
    code, *_ = run("organizations", "identify", "Default", "a" * 55)

    assert (code, len(f"hubspot_{'a' * 55}")) == (0, 63)


def test_a_made_key_works_until_it_is_revoked(run, client):
    _, out, _ = run("keys", "create", "billing")
    headers = {"X-API-Key": out.strip()}
    before = client.get("/contacts", headers=headers).status_code

    code, _, _ = run("keys", "revoke", out.strip()[:12])

    assert code == 0
    assert [before, client.get("/contacts", headers=headers).status_code] == [200, 401]


def test_keys_are_listed_by_how_they_begin_and_never_whole(run):
    run("organizations", "create", "Other")
    first, second = (
        run("keys", "create", name, "--organization", organization)[1].strip()
        for name, organization in (("billing", "Default"), ("shop", "Other"))
    )
    run("keys", "revoke", second)

    _, out, _ = run("keys", "list")

    lines = out.splitlines()
    assert lines[0] == f"{first[:12]}…  Default  billing  in force"
    assert lines[1].startswith(f"{second[:12]}…  Other  shop  revoked 20")
    assert first not in out


@pytest.mark.parametrize("role", ["admin", "user"])
def test_a_printed_token_is_of_the_role_and_the_organization(run, client, role):
    run("organizations", "create", "Other")

    for organization in ("Default", "Other"):
        code, out, _ = run("tokens", "create", "--role", role, "--organization", organization)
        headers = {"Authorization": f"Bearer {out.strip()}"}
        me = client.get("/me", headers=headers).json["data"]
        assert (code, me["role"], me["organization"]) == (0, role, organization)


def test_refused_changes_are_listed_corrected_sent_again_and_dropped(run, portal_id):
    first, second = (refuse(portal_id, f"{name}@example.com") for name in ("ada", "eve"))

    _, listed, _ = run("sync", "rejected", "list")
    _, corrected, _ = run("sync", "rejected", "resend", first, "--set", "phone=5")
    _, dropped, _ = run("sync", "rejected", "drop", second)
    _, left, _ = run("sync", "rejected", "list")

    assert f"{first}  contacts  Not valid\n      phone = 'x': No phone" in listed
    assert listed.count("Not valid") == 2
    assert (corrected, dropped, left) == ("1 will be sent again.\n", "1 dropped.\n", "")
    with transaction() as session:
        rows = session.scalars(select(Record)).all()
        assert [(row.state, row.properties["phone"]) for row in rows] == [("pending", "5")]


def test_all_refused_changes_of_a_type_are_sent_again(run, portal_id):
    for name in ("ada", "eve"):
        refuse(portal_id, f"{name}@example.com")

    outs = [
        run("sync", "rejected", "resend", "--all", "--type", name)[1]
        for name in ("deals", "contacts")
    ]

    assert outs == ["0 will be sent again.\n", "2 will be sent again.\n"]


@pytest.mark.parametrize(
    "arguments", [(), ("x", "--all"), ("x", "y", "--set", "a=b"), ("x", "--set", "a")]
)
def test_what_to_send_again_must_be_said_clearly(run, arguments):
    assert run("sync", "rejected", "resend", *arguments)[0] == 2


def refuse(portal_id, email):
    with transaction() as session:
        record = Record(
            portal_id=portal_id,
            object_type="contacts",
            properties={"email": email, "phone": "x"},
            unsent=["email", "phone"],
            state="rejected",
            rejection={"message": "Not valid", "errors": {"phone": "No phone"}},
        )
        session.add(record)
        session.flush()
        return str(record.uuid)


def test_health_says_what_is_up_and_fails_without_a_worker(run):
    code, out, _ = run("health")

    assert out.splitlines() == [
        "database: healthy",
        "hubspot_api: healthy",
        "redis_cache: healthy",
        "worker: unhealthy",
    ]
    assert code == 1


PROBLEMS = [
    (("users", "promote", "nobody@example.com"), "No user has the e-mail nobody@example.com"),
    (
        ("users", "create", "a@example.com", "--password", PASSWORD, "--organization", "None"),
        "There is no organization None",
    ),
    (("users", "create", "nonsense", "--password", PASSWORD), "Not a valid email address"),
    (("users", "create", "a@example.com", "--password", "short"), "Length must be between"),
    (("users", "create", "a@example.com", "--password", "x" * 129), "Length must be between"),
    (("users", "create", "there@example.com", "--password", PASSWORD), "User already exists"),
    (("users", "create", "THERE@Example.com", "--password", PASSWORD), "User already exists"),
    (("organizations", "create", "Default"), "There is an organization Default already"),
    (("organizations", "create", " "), "An organization needs a name"),
    (("organizations", "identify", "None", "org_7"), "There is no organization None"),
    (("keys", "create", "x", "--organization", "None"), "There is no organization None"),
    (("keys", "revoke", "crm_12345678"), "No key in force begins with crm_12345678"),
    (("tokens", "create", "--role", "user", "--organization", "None"), "There is no organization"),
    (("sync", "rejected", "drop", "x"), "No refused change is called 'x'"),
    (("sync", "rejected", "list", "--organization", "None"), "There is no organization None"),
    (("keys", "revoke", ""), "No key in force begins with"),
]


@pytest.mark.parametrize(
    ("arguments", "sentence"), PROBLEMS, ids=[" ".join(a)[:50] for a, _ in PROBLEMS]
)
def test_a_problem_is_one_line_and_exit_code_1(run, arguments, sentence):
    run("users", "create", "there@example.com", "--password", PASSWORD)

    code, out, err = run(*arguments)

    assert code == 1
    assert out == ""
    assert err.startswith("Error: ")
    assert sentence in err
    assert err.count("\n") == 1


def test_a_key_cannot_be_revoked_twice(run):
    _, key, _ = run("keys", "create", "billing")
    run("keys", "revoke", key.strip())

    assert run("keys", "revoke", key.strip())[0] == 1


def test_a_backfill_tells_what_it_took_in(run, sandbox):
    HubSpot(sandbox.url).create("contacts", email="ada@example.com")

    code, out, _ = run("sync", "backfill")

    assert code == 0
    assert "contacts: 1 records, 1 differences\n" in out
    assert "line_items: 0 records, 0 differences\n" in out


def test_only_the_types_that_are_named_are_reconciled(run, sandbox):
    HubSpot(sandbox.url).create("companies", name="Bright Harbor")

    code, out, _ = run("sync", "reconcile", "--type", "companies")

    assert code == 0
    assert "companies: 1 records, 1 differences\n" in out
    assert "contacts" not in out


def test_without_a_portal_there_is_nothing_to_take_in(make_app):
    runner = make_app(HUBSPOT_PRIVATE_APP_TOKEN="").test_cli_runner()

    result = runner.invoke(args=["sync", "backfill"])

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: No HubSpot portal is connected")


def test_the_status_tells_how_far_each_run_has_got(run, sandbox):
    HubSpot(sandbox.url).create("contacts", email="ada@example.com")
    run("sync", "backfill")
    sandbox.set_faults([{"kind": "status", "status": 503}])
    code, _, err = run("sync", "reconcile", "--type", "contacts")

    _, out, _ = run("sync", "status")

    assert code == 1
    assert err.startswith("Error: ")
    lines = [re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "…", each) for each in out.splitlines()]
    assert "backfill     contacts    completed  1 of 1 records, 1 differences; completed …" in lines
    assert "reconcile    contacts    running    0 of 1 records, 0 differences; got on …" in lines
    assert "503" in lines[-1] or "unavailable" in lines[-1].lower()


def test_a_database_that_is_down_is_one_line_and_exit_code_1(make_app):
    runner = make_app(DATABASE_URL=NO_DATABASE).test_cli_runner()
    made = runner.invoke(args=["users", "create", "ada@example.com", "--password", PASSWORD])
    listed = runner.invoke(args=["keys", "list"])

    for code, said in (
        (made.exit_code, made.stderr),
        (listed.exit_code, listed.stderr),
        started_in_earnest("worker", DATABASE_URL=NO_DATABASE),
    ):
        assert code == 1
        assert "The database cannot be used: " in said
        assert "Connection refused" in said
        assert "Traceback" not in said
        assert "hunter2" not in said


def test_health_without_a_database_says_so_and_fails(make_app):
    app = make_app(DATABASE_URL=NO_DATABASE)
    with app.app_context():
        result = app.test_cli_runner().invoke(args=["health"])

    assert result.exit_code == 1
    assert "database: unhealthy" in result.stdout
    assert "Traceback" not in result.output


def test_unusable_settings_are_one_line_and_exit_code_1():
    assert started_in_earnest(
        "keys", "list", FLASK_ENV="production", DATABASE_URL="postgresql://crm@db/crm"
    ) == (1, f"Error: SECRET_KEY is not set; {NEW_SECRET}\n")


def started_in_earnest(*arguments, **environ):
    """Run a command in a process of its own; returns exit code and standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "crm", *arguments],
        cwd=PROJECT,
        env={"PATH": os.environ["PATH"], "HUBSPOT_PRIVATE_APP_TOKEN": "x", **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


def _me(client, name):
    answer = client.post("/login", json={"email": f"{name}@example.com", "password": PASSWORD})
    headers = {"Authorization": f"Bearer {answer.json['data']['access_token']}"}
    return client.get("/me", headers=headers).json["data"]
