"""What the console refuses, and what it tells browsers to refuse."""

import re
from urllib.parse import quote

import pytest

from crm.accounts import sessions
from tests.conftest import PASSWORD, Person


def token_in(answer):
    return re.search(r'name="csrf_token"[^>]*value="([^"]+)"', answer.text)[1]


@pytest.fixture
def sign_in(client, admin):
    """Signs in as a browser does; returns the client, which keeps the cookie."""

    def do(email=admin, password=PASSWORD, query=""):
        path = f"/console/sign-in{query}"
        form = {"email": email, "password": password, "csrf_token": token_in(client.get(path))}
        return client.post(path, data=form)

    return do


def test_a_form_without_its_token_changes_nothing(client, sign_in):
    sign_in()

    answer = client.post("/console/sign-out")

    assert answer.status_code == 400
    assert client.get("/").status_code == 200


def test_a_token_of_another_session_is_refused(app, client, sign_in):
    sign_in()
    stranger = app.test_client()

    answer = stranger.post("/console/sign-out", data={"csrf_token": token_in(client.get("/"))})

    assert answer.status_code == 400


def test_signing_out_ends_the_session_wherever_its_cookie_still_is(app, client, sign_in):
    sign_in()
    cookie = client.get_cookie("session").value

    client.post("/console/sign-out", data={"csrf_token": token_in(client.get("/"))})
    thief = app.test_client()
    thief.set_cookie("session", cookie)

    assert thief.get("/").status_code == 303


def test_a_sign_in_that_was_ended_elsewhere_opens_no_page(app, client, sign_in):
    sign_in()
    with client.session_transaction() as session:
        sign_in_id = session["sign_in"]

    sessions.logout(sign_in_id)

    assert client.get("/").status_code == 303


def test_the_sessions_cookie_opens_nothing_of_the_api(client, sign_in):
    sign_in()

    assert client.get("/contacts").status_code == 401


def test_an_api_token_opens_no_page(client, register):
    person: Person = register()

    assert client.get("/", headers=person.headers).status_code == 303


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "\\/evil.example",
        "https:evil.example",
        "///evil.example",
        "/\t/evil.example",
        "javascript:alert(1)",
        "/contacts",
        "/console/nowhere",
        "http://[",
    ],
)
def test_the_sign_in_leads_to_no_page_but_our_own(sign_in, target):
    answer = sign_in(query=f"?next={quote(target)}")

    assert (answer.status_code, answer.headers["Location"]) == (303, "/")


@pytest.mark.parametrize(
    ("email", "password"),
    [
        ("a\x00@example.com", PASSWORD),
        ("admin@example.com", "a\x00password"),
        ("a" * 300 + "@example.com", PASSWORD),
        ("admin@example.com", "p" * 10_000),
        ("", ""),
    ],
)
def test_what_no_account_could_have_is_refused_kindly(sign_in, email, password):
    answer = sign_in(email, password)

    assert answer.status_code == 400
    assert "<h1>Sign in</h1>" in answer.text


def test_the_cookie_is_for_the_server_alone(sign_in):
    cookie = sign_in().headers["Set-Cookie"]

    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))


def test_the_cookie_never_leaves_https_where_the_service_has_it(make_app):
    client = make_app(PUBLIC_URL="https://crm.example.com").test_client()

    cookie = client.get("/console/sign-in").headers["Set-Cookie"]

    assert cookie.startswith("__Host-session=")
    assert "Secure" in cookie


def test_over_https_a_form_must_come_from_a_page_of_ours(make_app, admin):
    client = make_app(PUBLIC_URL="https://crm.example.com").test_client()
    https = {"base_url": "https://crm.example.com"}
    token = token_in(client.get("/console/sign-in", **https))
    form = {"email": admin, "password": PASSWORD, "csrf_token": token}

    def sign_in(**headers):
        return client.post("/console/sign-in", data=form, headers=headers, **https).status_code

    assert sign_in() == 400
    assert sign_in(Referer="https://evil.example/") == 400
    assert sign_in(Referer="https://crm.example.com/console/sign-in") == 303


def test_a_page_lets_the_browser_run_and_keep_nothing_of_others(client, sign_in):
    sign_in()
    headers = client.get("/").headers
    policy = headers["Content-Security-Policy"]

    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Frame-Options"] == "DENY"


def test_a_page_about_what_is_nowhere_is_as_strict(client):
    answer = client.get("/nowhere", headers={"Accept": "text/html"})

    assert answer.status_code == 404
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("path", ["/", "/console/sign-in", "/console/sign-up"])
def test_a_page_holds_no_script_and_no_style_of_its_own(client, sign_in, path):
    sign_in()
    page = client.get(path).text

    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:", page)


def test_private_pages_are_never_compressed_and_static_files_are(client, sign_in):
    accept = {"Accept-Encoding": "gzip, br"}
    sign_in()

    page = client.get("/", headers=accept)
    with client.get("/console/static/console.css", headers=accept) as sheet:
        assert sheet.headers["Content-Encoding"] == "br"

    assert "Content-Encoding" not in page.headers


def test_a_browser_keeps_the_files_of_pages_until_there_are_others(client, sign_in):
    sign_in()
    page = client.get("/").text
    files = re.findall(r'"(/(?:console|bootstrap)/static/[^"]+)"', page)

    assert len(files) >= 5
    for each in files:
        assert re.search(r"\?v=[0-9a-f]{12}$", each)
        with client.get(each) as answer:
            assert answer.headers["Cache-Control"] == "max-age=2592000"
    with client.get("/console/static/console.css") as unnamed:
        assert unnamed.headers["Cache-Control"] == "no-cache"


def test_programs_get_an_answer_about_what_is_nowhere_as_before(client):
    for accept in ("*/*", "application/json", "application/json, text/html;q=0.5"):
        answer = client.get("/nowhere", headers={"Accept": accept})

        assert (answer.status_code, answer.json["error_code"]) == (404, "NOT_FOUND")


def test_a_fault_of_ours_is_a_page_without_a_word_of_its_cause(client, sign_in):
    sign_in()
    with client.session_transaction() as session:
        session["sign_in"] = "no uuid"

    answer = client.get("/")

    assert answer.status_code == 500
    assert "Traceback" not in answer.text
    assert "uuid" not in answer.text
    assert answer.headers["X-Request-ID"] in answer.text


def test_a_closed_registration_says_whom_to_ask(make_app):
    answer = make_app(REGISTRATION="closed").test_client().get("/console/sign-up")

    assert answer.status_code == 403
    assert "Ask an administrator" in answer.text


SUBMIT = """([target, method, enctype]) => {
    const form = document.createElement("form");
    Object.assign(form, {action: target, method, enctype});
    const field = Object.assign(document.createElement("input"), {
        name: '{"email": "ada@example.com", "firstname": "', value: '"}'});
    form.append(field);
    document.body.append(form);
    form.submit();
}"""


@pytest.mark.parametrize("origin", ["http://localhost:9", "http://evil.localhost:9"])
def test_a_form_on_a_page_of_another_origin_gets_nowhere_by_open_access(
    browser, address, open_access, origin
):
    statuses = {}
    with browser.new_context() as context:
        page = context.new_page()
        page.route(
            f"{origin}/", lambda route: route.fulfill(body="<body/>", content_type="text/html")
        )
        for method, enctype, path in (
            ("post", "text/plain", "/contacts"),
            ("post", "application/x-www-form-urlencoded", "/integrations/notion/authorize"),
            ("post", "multipart/form-data", "/api/v1/scan/cancel/x"),
            ("get", "", "/get-token/admin"),
        ):
            page.goto(f"{origin}/")
            with page.expect_navigation(url=f"{address}/**") as led_to:
                page.evaluate(SUBMIT, [address + path, method, enctype])
            statuses[path] = led_to.value.status

    assert statuses == {
        "/contacts": 401,
        "/integrations/notion/authorize": 401,
        "/api/v1/scan/cancel/x": 401,
        "/get-token/admin": 404,
    }


def test_a_browser_that_is_signed_in_cannot_make_or_see_customers_at_the_root(session):
    customer = {"email": "a@example.com", "firstname": "A", "lastname": "B"}

    assert session.post("/", **customer).status_code == 401
    assert session.client.post("/", json=customer).status_code == 401
    assert session.client.put("/a@example.com", json=customer).status_code == 401
    assert session.get("/a@example.com").status_code == 401
