"""``make expose`` looks at every door; what the running service says stands in test_run.py."""

import stat
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from crm.errors import ConfigError
from crm.operations import exposure
from tests.conftest import free_port

REFUSALS = {
    "/contacts": 401,
    "/api/v1/scan/list": 401,
    "/integrations": 401,
    "/get-token/admin": 404,
    "/login": 401,
}


@pytest.fixture
def answering(app, change_settings, tmp_path):
    """Something at the service's port that answers each path with a status; then ``shut``."""
    servers = []

    def shut(**changes):
        statuses = REFUSALS | {f"/{path.replace('__', '/')}": changes[path] for path in changes}

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(statuses[self.path])
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_POST = do_GET  # noqa: N815 - the library's name

            def log_message(self, *_):
                """Say nothing."""

        servers.append(ThreadingHTTPServer(("localhost", 0), Handler))
        Thread(target=servers[-1].serve_forever, daemon=True).start()
        change_settings(port=servers[-1].server_port)
        exposure.shut(tmp_path / ".env.local")

    yield shut
    for each in servers:
        each.shutdown()
        each.server_close()


def test_a_service_that_refuses_every_door_is_shut(answering, tmp_path):
    answering()

    assert (tmp_path / ".env.local").read_text() == "OPEN_ACCESS=0\n"
    assert stat.S_IMODE((tmp_path / ".env.local").stat().st_mode) == 0o600


@pytest.mark.one_of_many
@pytest.mark.parametrize("status", [200, 302, 429, 500])
@pytest.mark.parametrize("path", REFUSALS)
def test_a_single_door_that_is_not_refused_keeps_the_machine_hidden(answering, path, status):
    with pytest.raises(ConfigError) as caught:
        answering(**{path.strip("/").replace("/", "__"): status})

    [named] = [each for each in caught.value.message.splitlines() if each.startswith("  ")]
    assert f" {path} " in named
    assert f"answered with {status}" in named


def test_a_service_that_does_not_run_must_be_started_first(app, change_settings, tmp_path):
    change_settings(port=free_port())

    with pytest.raises(ConfigError, match=r"nothing answers at .*make run"):
        exposure.shut(tmp_path / ".env.local")
    assert (tmp_path / ".env.local").read_text() == "OPEN_ACCESS=0\n"


def test_settings_that_cannot_be_written_are_named(app, tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(ConfigError, match=r"file/.env.local cannot be written"):
        exposure.shut(tmp_path / "file" / ".env.local")
