"""The command line: ``python -m hubspot_sandbox`` serves a local HubSpot until it is stopped."""

import argparse
import gc
import logging
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from hubspot_sandbox.access import DEFAULT_APP, DEFAULT_TOKEN
from hubspot_sandbox.access_admin import is_redirect_uri
from hubspot_sandbox.airtable import DEFAULT_AIRTABLE_APP
from hubspot_sandbox.clock import LAST_MOMENT, parse_moment
from hubspot_sandbox.demo import fill_with_demo_data
from hubspot_sandbox.errors import HubSpotError
from hubspot_sandbox.faults import FaultError, parse_fault
from hubspot_sandbox.notion import DEFAULT_NOTION_APP
from hubspot_sandbox.server import SandboxServer
from hubspot_sandbox.state import StateError, StateFile
from hubspot_sandbox.store import DEFAULT_PORTAL_ID, Sandbox, Settings
from hubspot_sandbox.third_party_oauth import ThirdPartyApp

_MAX_PORT = 65_535


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code, 1 when it could not start."""
    logging.basicConfig(format="hubspot_sandbox: %(message)s")
    options = _parser().parse_args(arguments)
    # A large state is millions of objects that stay; by default the collector keeps rereading them.
    gc.set_threshold(100_000, 50, 100)
    sandbox = Sandbox(
        portal_id=options.portal_id,
        seed=options.seed,
        settings=Settings(
            latency_ms=options.latency_ms,
            latency_jitter_ms=options.latency_jitter_ms,
            index_lag_ms=options.index_lag_ms,
        ),
        app=replace(
            DEFAULT_APP,
            client_id=options.client_id,
            client_secret=options.client_secret,
            redirect_uris=tuple(options.redirect_uri or DEFAULT_APP.redirect_uris),
        ),
        airtable_app=_with_redirects(DEFAULT_AIRTABLE_APP, options.airtable_redirect_uri),
        notion_app=_with_redirects(DEFAULT_NOTION_APP, options.notion_redirect_uri),
    )
    sandbox.faults.replace(options.fault)
    if options.freeze:
        sandbox.clock.freeze()
    if options.now is not None:
        sandbox.clock.set_now(options.now)
    try:
        _serve(SandboxServer(host=options.host, port=options.port, sandbox=sandbox), options)
    except (StateError, HubSpotError) as error:
        sys.stderr.write(f"hubspot_sandbox: {error}\n")
        return 1
    except OSError as error:
        where = f"{options.host}:{options.port}"
        sys.stderr.write(f"hubspot_sandbox: cannot listen at {where}: {error.strerror}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m hubspot_sandbox",
        description="A strict local HubSpot. Its state lives in memory, and in a file if asked.",
        epilog=f"Bearer token with every scope: {DEFAULT_TOKEN}. Tools for whoever runs it "
        "(counters, faults, settings, pipelines, reset) answer under /_sandbox/.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=_port, default=4013, help="port to listen on, 0 = any free")
    parser.add_argument(
        "--state", type=Path, metavar="FILE", help="keep the state in this file between runs"
    )
    parser.add_argument("--demo", action="store_true", help="fill an empty portal with demo data")
    parser.add_argument("--latency-ms", type=_milliseconds, default=0, help="delay of every answer")
    parser.add_argument(
        "--latency-jitter-ms", type=_milliseconds, default=0, help="up to so much more, by chance"
    )
    parser.add_argument(
        "--index-lag-ms",
        type=_milliseconds,
        default=Settings.index_lag_ms,
        help="time until a change shows in search",
    )
    parser.add_argument(
        "--portal-id", type=int, default=DEFAULT_PORTAL_ID, help="id of the portal (hub id)"
    )
    parser.add_argument(
        "--client-id", default=DEFAULT_APP.client_id, help="client id of the app, for OAuth"
    )
    parser.add_argument(
        "--client-secret",
        default=DEFAULT_APP.client_secret,
        help="its client secret, which signs webhooks too",
    )
    parser.add_argument(
        "--redirect-uri",
        action="append",
        type=_redirect_uri,
        metavar="URI",
        help="where OAuth may send a browser back to; may be given several times "
        f"(default: {DEFAULT_APP.redirect_uris[0]})",
    )
    for provider, app in (("airtable", DEFAULT_AIRTABLE_APP), ("notion", DEFAULT_NOTION_APP)):
        parser.add_argument(
            f"--{provider}-redirect-uri",
            action="append",
            type=_redirect_uri,
            metavar="URI",
            help=f"the same for {provider.title()} (default: {app.redirect_uris[0]})",
        )
    parser.add_argument(
        "--seed", type=int, help="repeat the same ids and the same disorder of batch results"
    )
    parser.add_argument(
        "--now", type=_moment, metavar="TIME", help="begin at this ISO time instead of the present"
    )
    parser.add_argument(
        "--freeze", action="store_true", help="let time stand still except when it is moved"
    )
    parser.add_argument(
        "--fault",
        action="append",
        type=_fault,
        default=[],
        help="trouble from the start, such as status=503,probability=0.1,seed=7,match=POST or "
        "slow,seconds=2; may be given several times",
    )
    parser.add_argument(
        "--webhook-url", metavar="URL", help="subscribe the app to everything, and send it there"
    )
    parser.add_argument(
        "--webhook-setting",
        type=_setting,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="times and disorder of deliveries, such as duplicates=0.1; may be repeated",
    )
    return parser


def _with_redirects(app: ThirdPartyApp, redirect_uris: Sequence[str] | None) -> ThirdPartyApp:
    return replace(app, redirect_uris=tuple(redirect_uris or app.redirect_uris))


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line, without the usage."""
        self.exit(2, f"hubspot_sandbox: {message}\n")


def _setting(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    return name, float(value) if "." in value else int(value)


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= _MAX_PORT:
        raise ValueError(text)
    return port


def _redirect_uri(text: str) -> str:
    if not is_redirect_uri(text):
        raise ValueError(text)
    return text


def _milliseconds(text: str) -> int:
    milliseconds = int(text)
    if milliseconds < 0:
        raise ValueError(text)
    return milliseconds


def _moment(text: str) -> int:
    moment = parse_moment(text)
    if moment is None or not 0 <= moment <= LAST_MOMENT:
        raise ValueError(text)
    return moment


def _fault(text: str) -> dict[str, Any]:
    try:
        return parse_fault(text)
    except FaultError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from error


def _serve(server: SandboxServer, options: argparse.Namespace) -> None:
    """Load what was kept, fill what is empty, then serve and keep what changes."""
    state = StateFile(options.state, server.sandbox) if options.state else None
    if state:
        state.load()
    server.set_delivery(**dict(options.webhook_setting))
    for portal in server.sandbox.portals.values():
        if options.demo and portal.is_empty():
            fill_with_demo_data(portal)
    # Only now: HubSpot tells nobody of what was there before they asked to be told.
    if options.webhook_url:
        server.set_webhooks(options.webhook_url)
    # The port comes first: a second sandbox by mistake shall not touch the first one's file.
    server.start()
    try:
        if state:
            state.start()
        _wait_for_signal(server)
    finally:
        server.stop()
        if state:
            state.stop()


def _wait_for_signal(server: SandboxServer) -> None:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    sys.stdout.write(f"hubspot_sandbox: serving a local HubSpot at {server.url}\n")
    sys.stdout.flush()
    stop.wait()


if __name__ == "__main__":
    sys.exit(main())
