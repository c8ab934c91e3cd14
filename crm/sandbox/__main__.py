"""The command line: ``python -m crm.sandbox`` serves a local HubSpot until it is told to stop."""

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from crm.sandbox.access import DEFAULT_TOKEN
from crm.sandbox.demo import fill_with_demo_data
from crm.sandbox.errors import HubSpotError
from crm.sandbox.server import SandboxServer
from crm.sandbox.state import StateError, StateFile
from crm.sandbox.store import DEFAULT_PORTAL_ID, Sandbox, Settings

_MAX_PORT = 65_535


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code, 1 when it could not start."""
    logging.basicConfig(format="crm.sandbox: %(message)s")
    options = _parser().parse_args(arguments)
    sandbox = Sandbox(
        portal_id=options.portal_id,
        seed=options.seed,
        settings=Settings(latency_ms=options.latency_ms, index_lag_ms=options.index_lag_ms),
    )
    try:
        _serve(SandboxServer(host=options.host, port=options.port, sandbox=sandbox), options)
    except (StateError, HubSpotError) as error:
        sys.stderr.write(f"crm.sandbox: {error}\n")
        return 1
    except OSError as error:
        where = f"{options.host}:{options.port}"
        sys.stderr.write(f"crm.sandbox: cannot listen at {where}: {error.strerror}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m crm.sandbox",
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
        "--index-lag-ms",
        type=_milliseconds,
        default=Settings.index_lag_ms,
        help="time until a change shows in search",
    )
    parser.add_argument(
        "--portal-id", type=int, default=DEFAULT_PORTAL_ID, help="id of the portal (hub id)"
    )
    parser.add_argument(
        "--seed", type=int, help="repeat the same ids and the same disorder of batch results"
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
        help="times and mischief of deliveries, such as duplicates=0.1; may be repeated",
    )
    return parser


def _setting(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    return name, float(value) if "." in value else int(value)


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= _MAX_PORT:
        raise ValueError(text)
    return port


def _milliseconds(text: str) -> int:
    milliseconds = int(text)
    if milliseconds < 0:
        raise ValueError(text)
    return milliseconds


def _serve(server: SandboxServer, options: argparse.Namespace) -> None:
    """Load what was kept, fill what is empty, then serve and keep what changes."""
    state = StateFile(options.state, server.sandbox) if options.state else None
    if state:
        state.load()
    server.set_delivery(**dict(options.webhook_setting))
    if options.webhook_url:
        server.set_webhooks(options.webhook_url)
    for portal in server.sandbox.portals.values():
        if options.demo and portal.is_empty():
            fill_with_demo_data(portal)
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
    sys.stdout.write(f"crm.sandbox: serving a local HubSpot at {server.url}\n")
    sys.stdout.flush()
    stop.wait()


if __name__ == "__main__":
    sys.exit(main())
