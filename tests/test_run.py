"""``python run.py`` as a user starts it: whole, over HTTP, and to its end."""

import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import requests
from dotenv import dotenv_values
from playwright.sync_api import expect

from crm.config import NEW_SECRET
from hubspot_sandbox import DEFAULT_PORTAL_ID
from run import DEMO_EMAIL, DEMO_PASSWORD
from tests.browser import CHROMIUM, MISSING, started_browser
from tests.conftest import PASSWORD, free_port, registration, wait_until

ROOT = Path(__file__).resolve().parents[1]
HUBSPOT = {"Authorization": "Bearer pat-na1-sandbox"}
EMAIL = "ada@example.com"
EXPOSE = ("-m", "flask", "--app", "crm", "expose")
LONGEST = 60
SECONDS = 20
"""Without webhooks, changes would be a minute late."""


@dataclass
class Ended:
    """What a command left behind."""

    code: int
    stdout: str
    stderr: str


@dataclass
class Service:
    """A running ``run.py`` with its parts."""

    process: psutil.Popen
    url: str
    hubspot: str
    output: Path

    def get(self, path, token, **query):
        headers = {"Authorization": f"Bearer {token}"}
        return requests.get(self.url + path, params=query, headers=headers, timeout=LONGEST).json()

    def ask(self, path):
        """Ask again for as long as it is a 503: a busy machine's sandbox may be slow at first."""
        until = time.monotonic() + LONGEST
        answer = requests.get(self.url + path, timeout=LONGEST)
        while answer.status_code == 503 and time.monotonic() < until:
            time.sleep(0.5)
            answer = requests.get(self.url + path, timeout=LONGEST)
        assert answer.ok, answer.text
        return answer.json()

    def post(self, path, body):
        answer = requests.post(self.url + path, json=body, timeout=LONGEST)
        assert answer.ok, answer.text
        return answer.json()

    def sign_in(self, email=EMAIL, password=PASSWORD):
        answer = self.post("/login", {"email": email, "password": password})
        return answer["data"]["access_token"]

    def contacts(self, token, **query):
        return self.get("/contacts", token, **query)["data"]["data"]["contacts"]

    def ask_hubspot(self, path, **query):
        answer = requests.get(self.hubspot + path, params=query, headers=HUBSPOT, timeout=LONGEST)
        assert answer.ok, answer.text
        return answer.json()

    def part(self, word):
        """The child process that has a word in its command."""
        [found] = [each for each in self.process.children() if word in each.cmdline()]
        return found

    def parts(self, data):
        """All its processes, with the embedded Postgres, which is nobody's child."""
        postmaster = int((data / "postgres" / "postmaster.pid").read_text().split()[0])
        return [*self.process.children(recursive=True), psutil.Process(postmaster)]

    def wait(self):
        return Ended(self.process.wait(LONGEST), *(read(self.output, each) for each in STREAMS))


STREAMS = ("stdout", "stderr")
ELSEWHERE = {"PUBLIC_URL": "https://crm.example.com/", "LOG_REQUESTS": "1"}
"""For two tests that share one start."""


def read(folder, stream):
    return (folder / stream).read_text()


class Checkout:
    """The project as somebody cloned it, with a data folder and ports of its own."""

    def __init__(self, folder):
        # Without .env.local: what a developer keeps there, such as a real portal's token, is not
        # for tests.
        for name in ("run.py", ".env"):
            shutil.copy2(ROOT / name, folder / name)
        for name in ("crm", "hubspot_sandbox", "migrations"):
            shutil.copytree(ROOT / name, folder / name)
        self.folder = folder
        self.data = folder / "data"
        self.port, self.sandbox_port = free_port(), free_port()
        self._service = None

    def environment(self, **changes):
        ours = {
            "DATA_DIR": str(self.data),
            "PORT": str(self.port),
            "SANDBOX_PORT": str(self.sandbox_port),
            # Several tests sign in to one start.
            "RATE_LIMIT_SIGN_IN": "1000 per 1 minute",
        }
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return kept | ours | changes

    def run(self, *command, **changes):
        done = subprocess.run(
            [sys.executable, *command],
            cwd=self.folder,
            env=self.environment(**changes),
            capture_output=True,
            text=True,
            timeout=LONGEST,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def service(self, **changes):
        """``python run.py`` with settings, once it says it is there; perhaps since another test."""
        if (
            self._service is None
            or self._service.process.poll() is not None
            or self._changes != changes
        ):
            self.stop()
            self._service, self._changes = self._start(**changes), changes
        return self._service

    def stop(self):
        """End what runs, if anything does."""
        if self._service is not None:
            with suppress(psutil.NoSuchProcess):
                self._service.process.terminate()
            self._service.wait()
            self._service = None

    def begin(self, **changes):
        """``python run.py`` as it begins, and the folder of what it says."""
        output = Path(tempfile.mkdtemp(dir=self.folder))
        with (output / "stdout").open("w") as stdout, (output / "stderr").open("w") as stderr:
            process = psutil.Popen(
                [sys.executable, "run.py"],
                cwd=self.folder,
                env=self.environment(**changes),
                stdout=stdout,
                stderr=stderr,
                # Ctrl-C in the terminal of the tests is not for it.
                start_new_session=True,
            )
        return process, output

    def _start(self, **changes):
        process, output = self.begin(**changes)
        try:
            wait_until(
                lambda: "Ctrl-C" in read(output, "stdout") or process.poll() is not None, LONGEST
            )
            assert process.poll() is None, read(output, "stderr")
        except AssertionError:
            process.terminate()
            process.wait(LONGEST)
            raise
        urls = (f"http://localhost:{port}" for port in (self.port, self.sandbox_port))
        return Service(process, *urls, output)

    def taken_ports(self):
        return [port for port in (self.port, self.sandbox_port) if is_taken(port)]


def alive(processes):
    return [each for each in processes if is_alive(each)]


def is_alive(process):
    try:
        # In a container, nobody may bury what has ended.
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def is_taken(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def checkout():
    # Below /tmp and not in a home folder: as root, the embedded Postgres opens the folders above.
    with tempfile.TemporaryDirectory(prefix="crm-run-", dir="/tmp") as folder:
        checkout = Checkout(Path(folder))
        yield checkout
        checkout.stop()


@pytest.fixture
def service(checkout):
    """To be looked at, or ended: whoever needs the next one starts it."""
    return checkout.service()


@pytest.mark.long
@pytest.mark.parametrize("step", ["making the database", "migrating it"])
def test_a_start_that_is_killed_halfway_can_be_repeated(checkout, step):
    process, output = checkout.begin()
    wait_until(lambda: step in read(output, "stdout"), LONGEST)
    wait_until(lambda: list(checkout.data.glob("postgres*/PG_VERSION")), LONGEST)
    process.kill()
    process.wait(LONGEST)

    assert checkout.service().ask("/health")["status"] == "healthy"
    checkout.stop()
    # So that the next one is a first start too.
    shutil.rmtree(checkout.data)


def test_a_person_who_registers_stands_in_hubspot_and_is_still_there_after_a_restart(checkout):
    service = checkout.service()
    assert f"http://localhost:{checkout.port}" in read(service.output, "stdout")
    token = walk(service)
    before = own_contact(service, token)
    read_back(service, before)
    parts = service.parts(checkout.data)
    service.process.send_signal(signal.SIGINT)
    ended = service.wait()

    assert ended.code == 0
    assert "crm: stopped" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(parts) >= 5  # sandbox, worker, gunicorn and its own worker, Postgres
    assert alive(parts) == []
    assert checkout.taken_ports() == []

    service = checkout.service()
    assert own_contact(service, service.sign_in()) == before
    # The token that was given before the restart is still good.
    assert own_contact(service, token) == before
    read_back(service, before)


def own_contact(service, token):
    """The contact that was registered; those that HubSpot has come in beside it."""
    [found] = service.contacts(token, q=EMAIL)
    return found


def walk(service):
    """Ask for pipelines, register, sign in, and wait until HubSpot has it; returns the token."""
    answer = service.ask("/contacts/pipelines")
    assert [
        (pipeline["label"], pipeline["stages"][0]["label"]) for pipeline in answer["data"]["data"]
    ] == [("Support Pipeline", "New")]

    answer = service.post("/register", registration(EMAIL))
    assert answer == {"message": "User registered successfully", "data": {}}

    token = service.sign_in()
    wait_until(lambda: is_in_step(own_contact(service, token)), LONGEST)
    # Associations are the last to be sent, and say nothing of it in the answer.
    contact = own_contact(service, token)
    for kind, one, others in (
        ("contacts", contact, "deals"),
        ("deals", contact["deals"][0], "tickets"),
    ):
        path = f"/crm/objects/2026-09/{kind}/{one['id']}/associations/{others}"
        wait_until(lambda path=path: service.ask_hubspot(path)["results"], LONGEST)
    return token


def is_in_step(contact):
    [deal] = contact["deals"]
    return {each["sync_state"] for each in (contact, deal, *deal["tickets"])} == {"synced"}


def read_back(service, contact):
    """Compare a contact of the mirror with HubSpot's own answers, along the associations."""
    [deal] = contact["deals"]
    [ticket] = deal["tickets"]
    given = registration(EMAIL)
    [given_deal] = given["deals"]
    [given_ticket] = given_deal["tickets"]

    found = service.ask_hubspot(
        f"/crm/objects/2026-09/contacts/{EMAIL}",
        idProperty="email",
        properties="firstname,lastname,phone",
        associations="deals",
    )
    assert found["id"] == contact["id"]
    assert chosen(found, "firstname", "lastname", "phone") == [
        given[name] for name in ("firstname", "lastname", "phone")
    ]
    assert [each["id"] for each in found["associations"]["deals"]["results"]] == [deal["id"]]

    names = ("dealname", "dealstage", "amount", "description")
    found = service.ask_hubspot(
        f"/crm/objects/2026-09/deals/{deal['id']}",
        properties=",".join(names),
        associations="tickets",
    )
    assert chosen(found, *names) == [given_deal[name] for name in names]
    assert [each["id"] for each in found["associations"]["tickets"]["results"]] == [ticket["id"]]

    # The wire's name, and HubSpot's.
    names = {
        "subject": "subject",
        "description": "content",
        "category": "hs_ticket_category",
        "pipeline": "hs_pipeline",
        "hs_pipeline_stage": "hs_pipeline_stage",
        "hs_ticket_priority": "hs_ticket_priority",
    }
    found = service.ask_hubspot(
        f"/crm/objects/2026-09/tickets/{ticket['id']}", properties=",".join(names.values())
    )
    assert chosen(found, *names.values()) == [given_ticket[name] for name in names]
    assert [ticket[name] for name in names] == [given_ticket[name] for name in names]


def chosen(record, *names):
    return [record["properties"][name] for name in names]


def test_a_change_that_a_person_makes_in_the_sandbox_is_seen_here_within_seconds(service):
    contacts = f"{service.hubspot}/_sandbox/portals/{DEFAULT_PORTAL_ID}/objects/contacts"
    made = requests.post(
        contacts, json={"properties": {"email": "mary@example.com"}}, timeout=LONGEST
    )
    token = service.sign_in(DEMO_EMAIL, DEMO_PASSWORD)

    def names():
        return [each["firstname"] for each in service.contacts(token, q="mary@example.com")]

    wait_until(lambda: names() == [None], SECONDS)
    changes = {"properties": {"firstname": "Mary"}}
    requests.patch(f"{contacts}/{made.json()['id']}", json=changes, timeout=LONGEST)

    wait_until(lambda: names() == ["Mary"], SECONDS)


def test_commands_beside_it_reach_the_same_service(checkout, service):
    created = checkout.run(
        *("-m", "flask", "--app", "crm", "users", "create", "grace@example.com"),
        *("--role", "admin", "--password", PASSWORD),
    )
    doctor = checkout.run("-m", "flask", "--app", "crm", "hubspot", "doctor")
    line = next(each for each in read(service.output, "stdout").splitlines() if "sign in" in each)
    demo_email, _, demo_password = line.partition("sign in")[2].strip().partition(" / ")

    assert (created.code, created.stderr) == (0, "")
    assert (doctor.code, doctor.stderr) == (0, "")
    assert "\nok    webhook: http://localhost" in doctor.stdout
    token = service.sign_in("grace@example.com")
    assert service.get("/me", token)["data"]["role"] == "admin"
    # The one that is printed at the start was made in the same way.
    token = service.sign_in(demo_email, demo_password)
    assert service.get("/me", token)["data"]["role"] == "admin"


def test_all_integrations_are_connected_at_once_without_a_setting(checkout, service):
    browser = requests.Session()
    browser.headers["Authorization"] = f"Bearer {service.sign_in(DEMO_EMAIL, DEMO_PASSWORD)}"

    for provider in ("hubspot", "airtable", "notion"):
        path = f"{service.url}/integrations/{provider}"
        url = browser.post(f"{path}/authorize", timeout=LONGEST).json()["authorization_url"]
        page = requests.get(url, timeout=LONGEST).text
        choices = re.findall(r'name="choice" value="([^"]+)"', page)
        form = {"action": "connect", "choice": choices}
        consented = requests.post(url, data=form, allow_redirects=False, timeout=LONGEST)
        assert consented.headers["Location"].startswith(f"{path}/oauth2callback?")
        back = browser.get(consented.headers["Location"], timeout=LONGEST)
        assert "is connected</h1>" in back.text
        assert browser.get(f"{path}/items", timeout=LONGEST).json()["items"]


@pytest.fixture
def console(service):
    """The page of integrations in Chromium, with the demo account signed in; none is connected."""
    if CHROMIUM is None:
        pytest.skip(MISSING)
    headers = {"Authorization": f"Bearer {service.sign_in(DEMO_EMAIL, DEMO_PASSWORD)}"}
    for provider in ("hubspot", "airtable", "notion"):
        url = f"{service.url}/integrations/{provider}"
        assert requests.delete(url, headers=headers, timeout=LONGEST).status_code in (200, 409)
    with started_browser() as browser:
        page = browser.new_context().new_page()
        page.set_default_timeout(SECONDS * 1000)
        page.goto(f"{service.url}/console/sign-in?next=/console/integrations")
        page.get_by_label("E-mail").fill(DEMO_EMAIL)
        page.get_by_label("Password").fill(DEMO_PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        yield page


@pytest.mark.one_of_many
@pytest.mark.parametrize("provider", ["HubSpot", "Airtable", "Notion"])
def test_every_integration_is_connected_looked_at_and_disconnected_by_clicking(console, provider):
    card = console.get_by_role("region", name=provider)
    with console.expect_popup() as consent:
        card.get_by_role("button", name="Connect", exact=False).click()
    consent.value.get_by_role("button", name=re.compile("Connect app|Allow access")).click()
    status = console.get_by_role("status")
    expect(status).to_contain_text(f"{provider} is connected", timeout=SECONDS * 1000)
    card.get_by_role("link", name="Load data").click()
    expect(console.get_by_role("rowheader").first).to_be_visible(timeout=SECONDS * 1000)
    console.get_by_text("Disconnect…").click()
    console.get_by_role("button", name="Yes, disconnect it").click()

    expect(status).to_contain_text(f"{provider} is disconnected")
    expect(card.get_by_role("button", name="Connect")).to_be_visible()


def test_the_mirror_goes_on_when_somebody_has_disconnected_their_hubspot(service):
    token = service.sign_in(DEMO_EMAIL, DEMO_PASSWORD)
    browser = requests.Session()
    browser.headers["Authorization"] = f"Bearer {token}"
    path = f"{service.url}/integrations/hubspot"
    url = browser.post(f"{path}/authorize", timeout=LONGEST).json()["authorization_url"]
    form = {"action": "connect"}
    consented = requests.post(url, data=form, allow_redirects=False, timeout=LONGEST)
    assert browser.get(consented.headers["Location"], timeout=LONGEST).ok
    assert browser.delete(path, timeout=LONGEST).ok
    contacts = f"{service.hubspot}/crm/v3/objects/contacts"
    new = {"properties": {"email": "after@example.com"}}
    assert requests.post(contacts, json=new, headers=HUBSPOT, timeout=LONGEST).ok

    wait_until(lambda: service.contacts(token, q="after@example.com"), SECONDS)


def test_a_second_start_on_the_same_data_is_one_line(checkout, service):
    assert refusal(checkout, DATA_DIR=str(checkout.data)) == (
        f"crm: Another run.py uses the data folder {checkout.data}; "
        "stop it, or set DATA_DIR to another"
    )


@pytest.fixture
def settings_of_this_machine(checkout):
    """What a person has put into ``.env.local``."""
    file = checkout.folder / ".env.local"
    file.touch(mode=0o600)
    file.write_text("# Mine.\nOPEN_ACCESS=1\nLOG_LEVEL=INFO")
    yield file
    file.unlink()


def test_expose_says_nothing_of_a_tunnel_while_the_running_service_lets_people_in(
    checkout, service, settings_of_this_machine
):
    ended = checkout.run(*EXPOSE)

    assert requests.get(f"{service.url}/contacts", timeout=LONGEST).status_code == 200
    assert (ended.code, ended.stdout) == (1, "")
    for path in ("/contacts", "/api/v1/scan/list", "/integrations", "/get-token/admin", "/login"):
        assert f" {path} " in ended.stderr
    assert "Stop the service (Ctrl-C) and start it again" in ended.stderr
    assert not [word for word in ("cloudflared", "ngrok", "PUBLIC_URL") if word in ended.stderr]
    # The next start is as it must be, and nothing else of the file has changed.
    assert settings_of_this_machine.read_text() == "# Mine.\nOPEN_ACCESS=0\nLOG_LEVEL=INFO"
    assert stat.S_IMODE(settings_of_this_machine.stat().st_mode) == 0o600


def test_requests_are_kept_in_a_file_and_the_greeting_stays_readable(checkout, service):
    service.sign_in(DEMO_EMAIL, DEMO_PASSWORD)
    log = checkout.data / "crm.log"

    assert "path=/login" in log.read_text()
    assert f"  requests   {log}\n" in read(service.output, "stdout")
    assert read(service.output, "stdout").endswith("Ctrl-C stops everything.\n\n")
    assert "[info" not in read(service.output, "stderr")


def test_the_log_of_requests_holds_no_secret(checkout, service):
    token = service.sign_in(DEMO_EMAIL, DEMO_PASSWORD)
    service.contacts(token, q="hush")
    kept = dotenv_values(checkout.data / "embedded.env")
    secret = {value for name, value in kept.items() if "SECRET" in name or "KEY" in name}
    log = (checkout.data / "crm.log").read_text()

    assert len(secret) >= 4
    assert [
        each for each in (*secret, token, DEMO_PASSWORD, "hush", "pat-na1") if each in log
    ] == []


def test_a_start_says_what_it_does_and_how_long_it_takes(service):
    steps = re.findall(r"^ *\d+\.\d s  (.+)$", read(service.output, "stdout"), re.MULTILINE)

    assert steps == [
        *("starting", "making the database", "migrating it", "waiting for the local HubSpot"),
        *("starting the worker and the web server", "ready"),
    ]


def test_a_start_after_a_kill_takes_over_what_was_left(checkout, service):
    parts = service.parts(checkout.data)
    service.process.kill()
    service.process.wait(LONGEST)
    assert alive(parts)
    assert checkout.taken_ports()
    service = checkout.service()

    assert alive(parts) == []
    assert "ending what a run.py that was killed has left" in read(service.output, "stdout")
    assert service.sign_in(DEMO_EMAIL, DEMO_PASSWORD)


def test_a_closed_terminal_stops_everything(checkout, service):
    parts = service.parts(checkout.data)
    service.process.send_signal(signal.SIGHUP)
    # Whoever is impatient loses nothing.
    service.process.send_signal(signal.SIGINT)
    ended = service.wait()

    assert (ended.code, ended.stderr) == (0, "crm: stopped\n")
    assert alive(parts) == []


@pytest.mark.one_of_many
@pytest.mark.parametrize(("name", "word"), [("worker", "worker"), ("web", "gunicorn")])
def test_a_part_that_dies_stops_everything_with_the_reason(checkout, service, name, word):
    parts = service.parts(checkout.data)
    service.part(word).kill()
    ended = service.wait()

    assert ended.code == 1
    assert f"crm: The {name} ended with exit code -9, so everything stops" in ended.stderr
    # The processes of a gunicorn that was killed end by themselves, a second later.
    wait_until(lambda: not alive(parts))
    assert checkout.taken_ports() == []


@pytest.mark.long
def test_an_embedded_postgres_that_dies_stops_everything_too(checkout, service):
    *_, postmaster = service.parts(checkout.data)
    postmaster.kill()
    ended = service.wait()

    assert ended.code == 1
    assert "crm: The embedded Postgres is gone, so everything stops" in ended.stderr


def test_people_at_this_machine_try_everything_out_and_the_start_says_so(checkout, service):
    url = service.url

    written = requests.post(f"{url}/contacts", json={"email": "try@example.com"}, timeout=LONGEST)
    answers = {
        path: requests.get(url + path, timeout=LONGEST).status_code
        for path in ("/contacts", "/api/v1/scan/list", "/integrations", "/get-token/admin", "/me")
    }

    assert written.status_code in (201, 202)
    assert answers.pop("/me") == 401
    assert set(answers.values()) == {200}
    [line] = [each for each in read(service.output, "stdout").splitlines() if "OPEN_ACCESS" in each]
    assert "open" in line


def test_the_sandbox_and_an_open_service_listen_to_this_machine_alone(service):
    addresses = {
        each.laddr.ip
        for word in ("hubspot_sandbox", "gunicorn")
        for each in service.part(word).net_connections(kind="inet")
        if each.status == psutil.CONN_LISTEN
    }

    assert addresses == {"127.0.0.1"}


def test_without_open_access_nobody_is_let_in_and_what_it_gave_has_ended(checkout):
    before = checkout.service()
    tokens = [
        before.sign_in(DEMO_EMAIL, DEMO_PASSWORD),
        requests.get(f"{before.url}/get-token/user", timeout=LONGEST).json()["token"],
    ]
    service = checkout.service(OPEN_ACCESS="0", BIND="::1")
    url = f"http://[::1]:{checkout.port}"

    answers = [
        requests.get(url + path, timeout=LONGEST) for path in ("/contacts", "/get-token/user")
    ]
    demo = {"email": DEMO_EMAIL, "password": DEMO_PASSWORD}
    answers.append(requests.post(f"{url}/login", json=demo, timeout=LONGEST))
    for token in tokens:
        headers = {"Authorization": f"Bearer {token}"}
        answers.append(requests.get(f"{url}/me", headers=headers, timeout=LONGEST))

    assert [each.status_code for each in answers] == [401, 404, 401, 401, 401]
    output = read(service.output, "stdout")
    assert DEMO_EMAIL not in output
    assert "OPEN_ACCESS" not in output
    assert not is_taken(checkout.port)  # Of 127.0.0.1: it listens where BIND says, and only there.


@pytest.mark.parametrize(
    ("changes", "lack"),
    [
        ({"DATABASE_URL": "postgresql://127.0.0.1/crm"}, "DATABASE_URL is set"),
        ({"HUBSPOT_PRIVATE_APP_TOKEN": "pat-x"}, "the sandbox gives way to HubSpot"),
        ({"PUBLIC_URL": "https://crm.example.com"}, "PUBLIC_URL is set"),
        ({"TRUSTED_PROXIES": "1"}, "TRUSTED_PROXIES is set"),
        ({"BIND": "0.0.0.0"}, "BIND lets other machines in"),  # noqa: S104
    ],
)
def test_open_access_that_is_asked_for_where_it_cannot_be_is_one_line(checkout, changes, lack):
    assert refusal(checkout, OPEN_ACCESS="1", **changes) == (
        f"crm: OPEN_ACCESS is 1, but {lack}; remove one of the two"
    )


def test_an_address_that_this_machine_does_not_have_is_one_line(checkout):
    # Kept for documentation: nobody has it.
    line = refusal(checkout, BIND="192.0.2.1")

    assert line.startswith("crm: The service cannot listen on 192.0.2.1, port ")


@pytest.mark.parametrize("address", ["::1", "127.0.0.7"])
def test_a_port_in_use_on_the_address_of_bind_is_one_line(checkout, address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as other:
        port = str(other.getsockname()[1])

        assert refusal(checkout, PORT=port, BIND=address) == (
            f"crm: Port {port} is in use; stop what uses it, or set PORT to another one"
        )


def test_the_sandbox_sends_browsers_back_to_the_service_wherever_it_listens(checkout):
    service = checkout.service(**ELSEWHERE)
    [app] = requests.get(f"{service.hubspot}/_sandbox/apps", timeout=LONGEST).json()["results"]

    assert app["redirect_uris"] == [
        f"http://localhost:{checkout.port}/integrations/hubspot/oauth2callback",
        "https://crm.example.com/integrations/hubspot/oauth2callback",
    ]


def test_expose_tells_the_steps_when_the_running_service_lets_nobody_in(
    checkout, settings_of_this_machine
):
    service = checkout.service(**ELSEWHERE)
    ended = checkout.run(*EXPOSE)

    assert (ended.code, ended.stderr) == (0, "")
    assert f"cloudflared tunnel --url {service.url}\n" in ended.stdout
    assert f"ngrok http {checkout.port}\n" in ended.stdout
    assert "/webhooks/hubspot\n" in ended.stdout
    assert "users create" in ended.stdout


def test_the_sandboxs_webhooks_arrive_wherever_the_public_address_leads(checkout):
    service = checkout.service(**ELSEWHERE)
    contacts = f"{service.hubspot}/_sandbox/portals/{DEFAULT_PORTAL_ID}/objects/contacts"
    made = {"properties": {"email": "kay@example.com"}}
    requests.post(contacts, json=made, timeout=LONGEST)

    def latest():
        found = requests.get(f"{service.hubspot}/_sandbox/deliveries", timeout=LONGEST).json()
        return [each["status"] for each in found["recent"][:1]]

    wait_until(lambda: latest() == [204], SECONDS)


def test_requests_are_shown_at_the_terminal_where_somebody_wants_them(checkout):
    service = checkout.service(**ELSEWHERE)

    assert "path=/health" in read(service.output, "stderr")
    assert "requests" not in read(service.output, "stdout")


def test_the_same_port_twice_is_one_line(checkout):
    port = str(free_port())

    assert refusal(checkout, PORT=port, SANDBOX_PORT=port) == (
        "crm: PORT and SANDBOX_PORT are the same; set one to another port"
    )


@pytest.mark.parametrize("name", ["PORT", "SANDBOX_PORT"])
def test_a_port_in_use_is_one_line(checkout, name):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])

        assert refusal(checkout, **{name: port}) == (
            f"crm: Port {port} is in use; stop what uses it, or set {name} to another one"
        )


def test_a_data_folder_that_cannot_be_written_is_one_line(checkout):
    # Below a file: root may write into any folder.
    folder = f"{checkout.folder}/run.py/data"

    assert refusal(checkout, DATA_DIR=folder) == (
        f"crm: The data folder {folder} cannot be written (Not a directory); "
        "set DATA_DIR to one that can"
    )


def test_a_database_that_is_down_is_one_line(checkout):
    line = refusal(checkout, DATABASE_URL=f"postgresql://crm:hush@127.0.0.1:{free_port()}/crm")

    assert line.startswith("crm: The database of DATABASE_URL cannot be reached: ")
    assert "Connection refused" in line
    assert "hush" not in line


def test_a_malformed_database_address_is_one_line_without_it(checkout):
    assert refusal(checkout, DATABASE_URL="postgresql://crm:hush@[bad/crm") == (
        "crm: DATABASE_URL: is malformed; it must be like postgresql://user@host/db"
    )


def test_a_secret_that_production_lacks_is_one_line(checkout):
    line = refusal(
        checkout,
        FLASK_ENV="production",
        DATABASE_URL="postgresql://127.0.0.1/crm",
        SECRET_KEY="s" * 32,
    )

    assert line == f"crm: JWT_SECRET_KEY is not set; {NEW_SECRET}"


def refusal(checkout, **changes):
    """The one line with which it refuses to start, apart from any other that runs."""
    apart = {"PORT": str(free_port()), "SANDBOX_PORT": str(free_port())}
    apart["DATA_DIR"] = str(checkout.folder / "refused")
    ended = checkout.run("run.py", **(apart | changes))

    assert (ended.code, ended.stdout) == (1, "")
    assert ended.stderr.startswith("crm: ")
    assert ended.stderr.count("\n") == 1
    return ended.stderr.strip()
