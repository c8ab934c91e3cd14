"""Nothing is open by omission: every route names one guard, and all of them stand here."""

import ast

import pytest

from crm.api.guards import Guard, guarded
from crm.console.guards import Guard as PageGuard
from tests.contracts.source import functions, modules

# (method, path, guard): a new route, or a wider guard, needs a line here that somebody reads.
ROUTES = {
    ("POST", "/register", Guard.PUBLIC),
    ("POST", "/login", Guard.PUBLIC),
    ("POST", "/refresh", Guard.REFRESH),
    ("POST", "/logout", Guard.PERSON),
    ("GET", "/me", Guard.PERSON),
    ("GET", "/contacts", Guard.MEMBER),
    ("GET", "/contacts/pipelines", Guard.PUBLIC),
    ("GET", "/contacts/<record_id>", Guard.MEMBER),
    ("GET", "/contacts/<record_id>/history", Guard.ADMIN),
    ("GET", "/companies", Guard.MEMBER),
    ("GET", "/companies/<record_id>", Guard.MEMBER),
    ("GET", "/companies/<record_id>/history", Guard.ADMIN),
    ("GET", "/deals", Guard.MEMBER),
    ("GET", "/deals/<record_id>", Guard.MEMBER),
    ("GET", "/deals/<record_id>/history", Guard.ADMIN),
    ("GET", "/tickets", Guard.MEMBER),
    ("GET", "/tickets/<record_id>", Guard.MEMBER),
    ("GET", "/tickets/<record_id>/history", Guard.ADMIN),
    ("GET", "/line_items", Guard.MEMBER),
    ("GET", "/line_items/<record_id>", Guard.MEMBER),
    ("GET", "/line_items/<record_id>/history", Guard.ADMIN),
    ("GET", "/customers/<email_path:email>", Guard.MEMBER),
    ("GET", "/<email_segment:email>", Guard.MEMBER),
    ("PUT", "/<email_segment:email>", Guard.ADMIN),
    ("POST", "/", Guard.ADMIN),
    ("GET", "/sync/rejected", Guard.ADMIN),
    ("POST", "/sync/rejected/resend", Guard.ADMIN),
    ("POST", "/sync/rejected/<rejected_id>/resend", Guard.ADMIN),
    ("DELETE", "/sync/rejected/<rejected_id>", Guard.ADMIN),
    ("GET", "/get-token/<role>", Guard.PUBLIC),
    ("GET", "/integrations", Guard.PERSON),
    ("POST", "/integrations/<provider>/authorize", Guard.PERSON),
    ("GET", "/integrations/<provider>/oauth2callback", Guard.PUBLIC),
    ("GET", "/integrations/<provider>/credentials", Guard.PERSON),
    ("GET", "/integrations/<provider>/items", Guard.PERSON),
    ("DELETE", "/integrations/<provider>", Guard.PERSON),
    ("GET", "/integrations/static/<path:filename>", Guard.PUBLIC),
    *(
        (method, f"/{name}{rest}", Guard.ADMIN)
        for name in ("contacts", "companies", "deals", "tickets", "line_items")
        for method, rest in (
            ("POST", ""),
            ("POST", "/batch"),
            ("PATCH", "/<record_id>"),
            ("DELETE", "/<record_id>"),
        )
    ),
    ("POST", "/customers", Guard.ADMIN),
    ("POST", "/customers/batch", Guard.ADMIN),
    ("PUT", "/customers/<email_path:email>", Guard.ADMIN),
    ("POST", "/webhooks/hubspot", Guard.HUBSPOT),
    ("GET", "/health", Guard.PUBLIC),
    ("GET", "/metrics", Guard.OPERATOR),
    ("GET", "/api/v1/health", Guard.PUBLIC),
    ("GET", "/api/v1/stats", Guard.ADMIN),
    ("GET", "/stats", Guard.ADMIN),
    ("POST", "/api/v1/scan/start", Guard.ADMIN),
    ("POST", "/api/v1/scan/cancel/<scan_id>", Guard.ADMIN),
    ("GET", "/api/v1/scan/status/<scan_id>", Guard.ADMIN),
    ("GET", "/api/v1/scan/results/<scan_id>", Guard.ADMIN),
    ("GET", "/api/v1/scan/results/<scan_id>/export", Guard.ADMIN),
    ("GET", "/api/v1/scan/events/<scan_id>", Guard.ADMIN),
    ("GET", "/api/v1/scan/list", Guard.ADMIN),
    ("GET", "/docs/", Guard.PUBLIC),
    ("GET", "/docs/<path:path>", Guard.PUBLIC),
    ("GET", "/openapi.json", Guard.PUBLIC),
    ("GET", "/static/<path:filename>", Guard.PUBLIC),
    ("GET", "/bootstrap/static/<path:filename>", Guard.PUBLIC),
    ("GET", "/console/static/<path:filename>", Guard.PUBLIC),
    ("GET", "/", PageGuard.PERSON),
    ("GET", "/console/sign-in", PageGuard.ANYONE),
    ("POST", "/console/sign-in", PageGuard.ANYONE),
    ("GET", "/console/sign-up", PageGuard.ANYONE),
    ("POST", "/console/sign-up", PageGuard.ANYONE),
    ("POST", "/console/sign-out", PageGuard.ANYONE),
    ("GET", "/console/contacts", PageGuard.PERSON),
    ("GET", "/console/contacts/<record_id>", PageGuard.PERSON),
    ("POST", "/console/contacts/<record_id>", PageGuard.ADMIN),
    ("GET", "/console/pipelines", PageGuard.PERSON),
    ("GET", "/console/pipelines/<object_type>", PageGuard.PERSON),
    ("POST", "/console/pipelines/<object_type>/<record_id>", PageGuard.ADMIN),
    ("GET", "/console/integrations", PageGuard.PERSON),
    ("GET", "/console/integrations/<provider>", PageGuard.PERSON),
    ("POST", "/console/integrations/<provider>/connect", PageGuard.PERSON),
    ("POST", "/console/integrations/<provider>/disconnect", PageGuard.PERSON),
    ("GET", "/console/extractions", PageGuard.ADMIN),
    ("GET", "/console/extractions/new", PageGuard.ADMIN),
    ("POST", "/console/extractions/new", PageGuard.ADMIN),
    ("GET", "/console/extractions/<scan_id>", PageGuard.ADMIN),
    ("GET", "/console/extractions/<scan_id>/events", PageGuard.ADMIN),
    ("POST", "/console/extractions/<scan_id>/cancel", PageGuard.ADMIN),
    ("GET", "/console/extractions/<scan_id>/download", PageGuard.ADMIN),
    ("GET", "/console/sync", PageGuard.ADMIN),
    ("POST", "/console/sync/rejected", PageGuard.ADMIN),
    ("POST", "/console/sync/rejected/<rejected_id>", PageGuard.ADMIN),
    ("POST", "/console/sync/rejected/<rejected_id>/drop", PageGuard.ADMIN),
    ("GET", "/console/sync/webhooks", PageGuard.ADMIN),
    ("GET", "/console/sync/runs", PageGuard.ADMIN),
    ("POST", "/console/sync/runs", PageGuard.ADMIN),
    ("GET", "/console/settings", PageGuard.ADMIN),
    ("POST", "/console/settings/users", PageGuard.ADMIN),
    ("POST", "/console/settings/users/<int:user_id>/role", PageGuard.ADMIN),
    ("GET", "/console/settings/keys", PageGuard.ADMIN),
    ("POST", "/console/settings/keys", PageGuard.ADMIN),
    ("POST", "/console/settings/keys/<prefix>/revoke", PageGuard.ADMIN),
    ("GET", "/console/settings/webhooks", PageGuard.ADMIN),
    ("GET", "/console/settings/webhooks-hsmeta.json", PageGuard.ADMIN),
    ("GET", "/console/settings/doctor", PageGuard.ADMIN),
    ("POST", "/console/settings/doctor", PageGuard.ADMIN),
}
# Flask answers these by itself, from the guarded GET or without the view.
ANSWERED_BY_FLASK = {"HEAD", "OPTIONS"}
# Open to all in development, where no token is set; tests/api/test_metrics.py has the rest.
OPEN_HERE = {Guard.PUBLIC, Guard.OPERATOR}
CLOSED = sorted(
    (method, path.replace("<email_segment:email>", "a@b.ch"))
    for method, path, guard in ROUTES
    if isinstance(guard, Guard) and guard not in OPEN_HERE
)
PAGES = sorted(
    (method, path.replace("<int:user_id>", "1"))
    for method, path, guard in ROUTES
    if guard in (PageGuard.PERSON, PageGuard.ADMIN)
)


def views_of(tree):
    """The functions of a module that are routes of its blueprint."""
    for function in functions(tree):
        decorators = [ast.unparse(each) for each in function.decorator_list]
        if any(each.startswith("bp.") and each.split("(")[0] in VERBS for each in decorators):
            yield function.name, decorators


# What people who try the service out may call without a credential: sections 2, 4 and 5 of the
# contract. A new route in one of their blueprints needs a line here that somebody reads.
TRIED = {
    ("GET", "/stats"),
    *(
        (method, f"/{name}{rest}")
        for name in ("contacts", "companies", "deals", "tickets", "line_items")
        for method, rest in (
            ("GET", ""),
            ("GET", "/<record_id>"),
            ("GET", "/<record_id>/history"),
            ("POST", ""),
            ("POST", "/batch"),
            ("PATCH", "/<record_id>"),
            ("DELETE", "/<record_id>"),
        )
    ),
    ("GET", "/integrations"),
    ("POST", "/integrations/<provider>/authorize"),
    ("GET", "/integrations/<provider>/credentials"),
    ("GET", "/integrations/<provider>/items"),
    ("DELETE", "/integrations/<provider>"),
    ("GET", "/api/v1/stats"),
    ("POST", "/api/v1/scan/start"),
    ("POST", "/api/v1/scan/cancel/<scan_id>"),
    ("GET", "/api/v1/scan/status/<scan_id>"),
    ("GET", "/api/v1/scan/results/<scan_id>"),
    ("GET", "/api/v1/scan/results/<scan_id>/export"),
    ("GET", "/api/v1/scan/events/<scan_id>"),
    ("GET", "/api/v1/scan/list"),
}
VERBS = {f"bp.{each}" for each in ("get", "post", "put", "patch", "delete", "route")}


def test_every_route_and_its_guard_stand_in_the_table(app):
    assert {
        (method, rule.rule, getattr(app.view_functions[rule.endpoint], "guard", None))
        for rule in app.url_map.iter_rules()
        for method in rule.methods - ANSWERED_BY_FLASK
    } == ROUTES


def test_every_view_names_exactly_one_guard():
    views = {
        (name, view): [each for each in decorators if each.startswith("guarded(")]
        for name, tree in modules().items()
        if name.startswith(("crm.api", "crm.console"))
        for view, decorators in views_of(tree)
    }

    assert views
    assert {view: guards for view, guards in views.items() if len(guards) != 1} == {}


@pytest.mark.parametrize(("method", "path"), CLOSED)
def test_a_route_that_is_not_public_refuses_whoever_shows_nothing(client, method, path):
    answer = client.open(path, method=method)

    # A signature is no token, and the log says what is wrong with it.
    code = "INVALID_TOKEN" if path == "/webhooks/hubspot" else "MISSING_TOKEN"
    assert (answer.status_code, answer.json["error_code"]) == (401, code)
    assert path == "/webhooks/hubspot" or answer.json["message"] == "Invalid token"


@pytest.mark.parametrize(("method", "path"), CLOSED)
def test_a_route_that_is_not_public_refuses_a_forged_token(client, method, path):
    answer = client.open(path, method=method, headers={"Authorization": "Bearer e30.e30.e30"})

    assert (answer.status_code, answer.json["error_code"]) == (401, "INVALID_TOKEN")


@pytest.mark.parametrize(("method", "path"), CLOSED)
def test_open_access_lets_into_what_may_be_tried_and_into_nothing_else(
    client, open_access, method, path
):
    status = client.open(path, method=method).status_code

    assert (status not in (401, 403)) is ((method, path) in TRIED), status


@pytest.mark.parametrize(("method", "path"), CLOSED)
def test_open_access_lets_nobody_in_who_shows_a_wrong_credential(client, open_access, method, path):
    wrong = ({"Authorization": "Bearer e30.e30.e30"}, {"X-API-Key": ""})

    answers = [client.open(path, method=method, headers=headers) for headers in wrong]

    assert [each.json["error_code"] for each in answers] == ["INVALID_TOKEN"] * 2


@pytest.mark.parametrize(("method", "path"), PAGES)
def test_a_page_of_the_console_asks_for_a_sign_in_under_open_access_too(
    client, open_access, method, path
):
    assert client.open(path, method=method).status_code == (303 if method == "GET" else 400)


@pytest.mark.parametrize(("method", "path"), PAGES)
def test_a_page_of_the_console_opens_to_nobody_who_is_not_signed_in_there(
    client, register, method, path
):
    answer = client.open(path, method=method, headers=register().headers)

    # Without a session there is no token that a form could have brought.
    assert answer.status_code == (303 if method == "GET" else 400)


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "OPTIONS"])
def test_a_route_without_a_guard_is_refused_to_all(make_app, register, method):
    person, app = register(), make_app()
    app.add_url_rule("/forgotten", view_func=lambda: "secret", methods=["GET", "POST"])

    answer = app.test_client().open("/forgotten", method=method, headers=person.headers)

    assert answer.status_code == 403
    assert b"secret" not in answer.data


def test_a_guard_that_is_named_lets_pass(make_app):
    app = make_app()
    app.add_url_rule("/remembered", view_func=guarded(Guard.PUBLIC)(lambda: "open"))

    assert app.test_client().get("/remembered").data == b"open"
