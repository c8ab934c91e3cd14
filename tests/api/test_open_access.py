"""Open access: people at this machine try everything out without a credential, and nobody else."""

import json
import socket
from urllib.parse import urlsplit

import psutil
import pytest
import requests

from crm import create_app
from crm.accounts import demo, users
from crm.errors import ConfigError
from crm.logs import configure_logs
from tests.conftest import PASSWORD

from .conftest import serving

HOST = "localhost:4012"
DEMO = {"email": demo.DEMO_EMAIL, "password": demo.DEMO_PASSWORD}

LET_IN = {
    "localhost": {},
    "localhost without a port": {"Host": "localhost"},
    "127.0.0.1": {"Host": "127.0.0.1:4012"},
    "127.0.0.1 without a port": {"Host": "127.0.0.1"},
    "[::1]": {"Host": "[::1]:4012"},
    "[::1] without a port": {"Host": "[::1]"},
    "a front end of CORS_ORIGINS": {"Origin": "http://localhost:3000"},
    "an address typed by hand": {"Sec-Fetch-Site": "none"},
    "a page of our own": {"Sec-Fetch-Site": "same-origin"},
    "a form of our own": {"Sec-Fetch-Site": "same-origin", "Origin": f"http://{HOST}"},
    "a cookie": {"Cookie": "session=x"},
}
KEPT_OUT = {
    "another name of this machine": {"Host": "crm.localhost:4012"},
    "a name that was pointed here": {"Host": "rebound.example.com:4012"},
    "a dot at the end": {"Host": "localhost.:4012"},
    "capitals": {"Host": "LOCALHOST:4012"},
    "a name before an @": {"Host": "localhost:4012@evil.example.com"},
    "a name after an @": {"Host": "evil.example.com@localhost:4012"},
    "a short address": {"Host": "127.1:4012"},
    "another loopback address": {"Host": "127.0.0.2:4012"},
    "an address with a dot": {"Host": "127.0.0.1.:4012"},
    "an address as a number": {"Host": "2130706433"},
    "an address in octal": {"Host": "0177.0.0.1"},
    "all interfaces": {"Host": "0.0.0.0:4012"},
    "IPv6 without brackets": {"Host": "::1"},
    "IPv6 at length": {"Host": "[0:0:0:0:0:0:0:1]:4012"},
    "IPv4 in IPv6": {"Host": "[::ffff:127.0.0.1]:4012"},
    "IPv6 of all": {"Host": "[::]:4012"},
    "a colon and no port": {"Host": "localhost:"},
    "a port that is none": {"Host": "localhost:4012x"},
    "a longer name": {"Host": "localhost.example.com"},
    "two names": {"Host": "localhost, evil.example.com"},
    "a blank in the name": {"Host": "localhost evil"},
    "no name": {"Host": ""},
    "Forwarded": {"Forwarded": "for=127.0.0.1"},
    "an empty Forwarded": {"Forwarded": ""},
    "X-Forwarded-For": {"X-Forwarded-For": "127.0.0.1"},
    "X-Forwarded-Host": {"X-Forwarded-Host": "localhost"},
    "X-Forwarded-Proto": {"x-forwarded-proto": "https"},
    "X-Forwarded-Anything": {"X-Forwarded-Tls-Client-Cert": "x"},
    "X-Real-IP": {"X-Real-IP": "127.0.0.1"},
    "Via": {"Via": "1.1 tunnel"},
    "another origin": {"Origin": "https://evil.example.com"},
    "an origin of null": {"Origin": "null"},
    "an empty origin": {"Origin": ""},
    "two origins": {"Origin": "http://localhost:3000, https://evil.example.com"},
    "a front end's origin with a slash": {"Origin": "http://localhost:3000/"},
    "another port's origin": {"Origin": "http://localhost:3001"},
    "our own origin by itself": {"Origin": f"http://{HOST}"},
    "our own origin by TLS": {"Origin": f"https://{HOST}", "Sec-Fetch-Site": "same-origin"},
    "our own origin on a name of somebody's": {
        "Host": "evil.example.com",
        "Origin": "http://evil.example.com",
        "Sec-Fetch-Site": "same-origin",
    },
    "another site's page": {"Sec-Fetch-Site": "cross-site"},
    "another port's page": {"Sec-Fetch-Site": "same-site"},
    "an unknown kind of page": {"Sec-Fetch-Site": ""},
    "a wrong token": {"Authorization": "Bearer x"},
    "another scheme": {"Authorization": "Basic YTpi"},
    "an empty Authorization": {"Authorization": ""},
    "a wrong key": {"X-API-Key": "crm_x"},
    "an empty key": {"X-API-Key": ""},
}


@pytest.fixture(scope="module")
def served(make_settings, tmp_path_factory):
    """The port of a service as run.py starts it, but on all interfaces."""
    with serving(
        make_settings(),
        tmp_path_factory.mktemp("open"),
        "crm:create_app(open_access=True)",
        BIND="::",
        CORS_ORIGINS="http://localhost:3000",
        RATE_LIMIT="100000 per 1 minute",
    ) as (url, _):
        yield urlsplit(url).port


def ask(port, *lines, target="/companies", peer="127.0.0.1", method="GET"):
    """The status of a request whose header is sent as it stands."""
    text = "\r\n".join([f"{method} {target} HTTP/1.1", *lines, "Connection: close", "", ""])
    with socket.create_connection((peer, port), timeout=30) as connection:
        connection.sendall(text.encode("latin-1"))
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return int(answer.split(b" ", 2)[1])


def lines_of(headers):
    return [f"{name}: {value}" for name, value in ({"Host": HOST} | headers).items()]


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.0.0.9", "::1"])
def test_a_caller_from_this_machine_is_let_in(served, peer):
    # To a socket for both kinds, 127.0.0.1 comes as ::ffff:127.0.0.1.
    assert ask(served, f"Host: {HOST}", peer=peer) == 200


def test_a_caller_from_another_address_is_kept_out(served):
    addresses = [
        each.address
        for name, found in psutil.net_if_addrs().items()
        for each in found
        if each.family == socket.AF_INET and not each.address.startswith("127.")
    ]
    if not addresses:
        pytest.skip("this machine has no other address than the loopback's")

    assert ask(served, f"Host: {HOST}", peer=addresses[0]) == 401


@pytest.mark.parametrize("headers", LET_IN.values(), ids=LET_IN)
def test_a_request_of_somebody_here_is_let_in(served, headers):
    assert ask(served, *lines_of(headers)) == 200


@pytest.mark.parametrize("headers", KEPT_OUT.values(), ids=KEPT_OUT)
def test_a_request_that_somebody_else_may_have_caused_is_kept_out(served, headers):
    # Some are no HTTP, and gunicorn itself refuses them.
    assert ask(served, *lines_of(headers)) in (400, 401)


@pytest.mark.parametrize(
    "lines",
    [
        [f"Host: {HOST}", "Host: evil.example.com"],
        ["Host: evil.example.com", f"Host: {HOST}"],
        [f"Host: {HOST}", f"Host: {HOST}"],
        [f"Host: {HOST}", "Origin: http://localhost:3000", "Origin: https://evil.example.com"],
        [f"Host: {HOST}", "Sec-Fetch-Site: none", "Sec-Fetch-Site: cross-site"],
        [],
    ],
    ids=["two hosts", "ours last", "ours twice", "two origins", "two sites", "no host"],
)
def test_a_header_that_comes_twice_or_not_at_all_lets_nobody_in(served, lines):
    assert ask(served, *lines) in (400, 401)


@pytest.mark.parametrize(
    "target", ["http://evil.example.com/companies", f"http://{HOST}/companies"]
)
def test_a_target_that_names_a_host_as_for_a_proxy_lets_nobody_in(served, target):
    assert ask(served, f"Host: {HOST}", target=target) in (400, 401)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
@pytest.mark.parametrize("sent_by", [{"Origin": "null"}, {"Origin": "https://evil.example.com"}])
def test_a_form_of_another_page_writes_nothing(served, kind, sent_by):
    url = f"http://localhost:{served}"
    body = '{"email": "ada@example.com", "x": "="}'

    headers = sent_by | {"Content-Type": kind}
    answers = [
        requests.request(method, url + path, data=body, timeout=30, headers=headers)
        for method, path in (
            ("POST", "/contacts"),
            ("POST", "/api/v1/scan/start"),
            ("POST", "/api/v1/scan/cancel/x"),
            ("POST", "/integrations/notion/authorize"),
            ("DELETE", "/integrations/notion"),
        )
    ]

    assert {each.status_code for each in answers} == {401}
    page = requests.get(f"{url}/contacts?q=ada", timeout=30).json()
    assert page["data"]["data"]["contacts"] == []


@pytest.mark.parametrize("headers", [LET_IN["localhost"], LET_IN["[::1]"]])
def test_a_token_is_given_to_a_caller_who_is_let_in(served, headers):
    assert ask(served, *lines_of(headers), target="/get-token/admin") == 200


@pytest.mark.parametrize(
    "name",
    ["a name that was pointed here", "X-Forwarded-For", "an origin of null", "another site's page"],
)
def test_no_token_is_given_to_a_caller_who_is_kept_out(served, name):
    assert ask(served, *lines_of(KEPT_OUT[name]), target="/get-token/admin") == 404


def test_a_service_that_run_py_did_not_start_is_closed_whatever_its_environment_says(
    make_settings, tmp_path, capfd
):
    with serving(make_settings(), tmp_path, OPEN_ACCESS="1", LOG_LEVEL="WARNING") as (url, _):
        answers = [
            requests.get(url + path, timeout=30) for path in ("/companies", "/get-token/admin")
        ]
        answers.append(requests.post(f"{url}/login", json=DEMO, timeout=30))

    assert [each.status_code for each in answers] == [401, 404, 401]
    assert "OPEN_ACCESS=1 has no effect here" in capfd.readouterr().err


@pytest.mark.parametrize("changes", [{"OPEN_ACCESS": "0"}, {"FLASK_ENV": "production"}])
def test_a_service_that_must_be_closed_does_not_start_open(make_settings, changes):
    with pytest.raises(ConfigError, match="OPEN_ACCESS must be off here"):
        create_app(make_settings(**changes), open_access=True)


def test_a_caller_who_is_let_in_is_the_default_organizations_admin(
    client, open_access, make_contact
):
    make_contact("ada@example.com", hs_object_id="1")
    users.create_organization("Other")

    page = client.get("/contacts").json["data"]["data"]["contacts"]
    written = client.post("/contacts", json={"email": "grace@example.com"})

    assert [each["email"] for each in page] == ["ada@example.com"]
    assert written.status_code == 201


def test_the_log_says_of_a_request_that_it_came_in_by_open_access(client, open_access, capfd):
    configure_logs(level="INFO", as_json=True)

    client.get("/companies")
    client.get("/health")

    lines = [json.loads(each) for each in capfd.readouterr().err.splitlines()]
    assert [each.get("caller") for each in lines] == ["open access", None]


def test_a_token_of_open_access_ends_with_it(app, client, open_access):
    token = client.get("/get-token/admin").json["token"]
    headers = {"Authorization": f"Bearer {token}"}
    before = client.get("/me", headers=headers).status_code

    app.extensions["crm_open_access"] = False

    assert (before, client.get("/me", headers=headers).status_code) == (200, 401)


def test_a_token_by_dev_tokens_or_by_command_does_not_end_with_open_access(
    client, change_settings, app
):
    change_settings(dev_tokens=True)
    headers = {"Authorization": f"Bearer {client.get('/get-token/admin').json['token']}"}

    demo.close_demo()

    assert client.get("/me", headers=headers).status_code == 200


def test_the_demo_account_signs_in_under_open_access_alone(app, client, open_access):
    assert demo.open_demo()

    inside = client.post("/login", json=DEMO)
    outside = [
        client.post("/login", json=DEMO, headers=headers)
        for headers in ({"Host": "evil.example.com"}, {"Via": "1.1 x"}, {"Origin": "null"})
    ]
    app.extensions["crm_open_access"] = False
    outside.append(client.post("/login", json=DEMO))

    assert inside.status_code == 200
    assert {(each.status_code, each.json["error_code"]) for each in outside} == {
        (401, "INVALID_CREDENTIALS")
    }


def test_the_demo_accounts_tokens_end_with_open_access(app, client, open_access):
    demo.open_demo()
    tokens = client.post("/login", json=DEMO).json["data"]
    app.extensions["crm_open_access"] = False

    answers = [
        client.open(path, method=method, headers={"Authorization": f"Bearer {tokens[name]}"})
        for method, path, name in (
            ("GET", "/me", "access_token"),
            ("POST", "/refresh", "refresh_token"),
        )
    ]

    assert [each.status_code for each in answers] == [401, 401]


def test_sign_ins_that_were_ended_with_open_access_stay_ended_when_it_is_on_again(
    client, open_access
):
    demo.open_demo()
    token = client.post("/login", json=DEMO).json["data"]["access_token"]
    other = client.get("/get-token/user").json["token"]

    demo.close_demo()

    assert {
        client.get("/me", headers={"Authorization": f"Bearer {each}"}).status_code
        for each in (token, other)
    } == {401}


def test_a_demo_account_of_an_earlier_version_is_known_by_its_password(app, client):
    create_demo(demo.DEMO_PASSWORD)
    before = client.post("/login", json=DEMO).status_code
    app.extensions["crm_open_access"] = True
    is_demo, signed_in = demo.open_demo(), client.post("/login", json=DEMO)
    app.extensions["crm_open_access"] = False
    headers = {"Authorization": f"Bearer {signed_in.json['data']['access_token']}"}

    assert (before, is_demo, signed_in.status_code) == (401, True, 200)
    assert client.get("/me", headers=headers).status_code == 401


def test_an_account_whose_password_only_its_owner_knows_is_no_demo_account(client, open_access):
    create_demo(PASSWORD)

    assert not demo.open_demo()
    assert client.post("/login", json=DEMO).status_code == 401
    token = client.post("/login", json=DEMO | {"password": PASSWORD}).json["data"]["access_token"]
    demo.close_demo()
    assert client.get("/me", headers={"Authorization": f"Bearer {token}"}).status_code == 200


def create_demo(password):
    users.create_user(
        email=demo.DEMO_EMAIL, password=password, role="admin", organization="Default"
    )
