"""A sandbox that serves real HTTP from threads of this process."""

import threading
from typing import Any, Self

from hubspot_sandbox.admin import reset_sandbox
from hubspot_sandbox.app import create_app
from hubspot_sandbox.fault_middleware import FaultMiddleware
from hubspot_sandbox.http_server import Listener
from hubspot_sandbox.store import DEFAULT_PORTAL_ID, Sandbox, Settings
from hubspot_sandbox.webhook_tools import set_webhooks


class SandboxServer:
    """A sandbox on a loopback port, served by threads of this process.

    ``port=0`` takes a free one. The state outlives `stop`: starting again serves it on the same
    port, which is how a test makes HubSpot go down and come back. ``limits=False`` lifts HubSpot's
    rate limits. ``sandbox`` may be given to serve a state made elsewhere.

        with SandboxServer(port=0, index_lag_ms=0) as server:
            requests.get(f"{server.url}/crm/v3/objects/contacts", headers=...)
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        index_lag_ms: int | None = None,
        seed: int | None = None,
        limits: bool = True,
        sandbox: Sandbox | None = None,
    ) -> None:
        """Make the state; nothing listens before `start`."""
        if sandbox is None:
            settings = Settings()
            if not limits:
                settings.lift_limits()
            if index_lag_ms is not None:
                settings.index_lag_ms = index_lag_ms
            sandbox = Sandbox(portal_id=DEFAULT_PORTAL_ID, seed=seed, settings=settings)
        self.sandbox = sandbox
        self._host, self._port = host, port
        self._app = FaultMiddleware(create_app(sandbox), sandbox)
        self._listener: Listener | None = None

    @property
    def url(self) -> str:
        """The address to give to a client, without a final slash."""
        return f"http://{self._host}:{self._port}"

    def start(self) -> None:
        """Listen and serve, unless it does; raise OSError when the port is taken."""
        if self._listener:
            return
        self._listener = Listener((self._host, self._port), self._app)
        self._port = self._listener.server_address[1]
        threading.Thread(target=self._listener.serve_forever, args=(0.02,), daemon=True).start()
        self.sandbox.webhooks.deliveries.start()

    def stop(self) -> None:
        """Stop listening and cut every open connection; the state stays."""
        if self._listener:
            self._listener.close()
            self._listener = None
            self.sandbox.webhooks.deliveries.stop()

    def reset(self, demo: bool = False) -> None:
        """Make the sandbox new and empty, or with the demo data; faults and counts go too."""
        reset_sandbox(self.sandbox, demo=demo)

    def requests(self) -> dict[str, Any]:
        """Return ``total``, ``by_route``, ``by_status`` and ``by_fault`` since the last clear.

        A route is spelled ``POST /crm/objects/2026-09/contacts``, with ``{record_id}`` for an id.
        """
        return self.sandbox.request_log.count()

    def list_requests(self, match: str = "", status: int | None = None) -> list[dict[str, Any]]:
        """Return the last thousand requests, newest first; see `Exchange` for what is told.

        ``match`` is a regular expression sought in ``METHOD /path?query``.
        """
        return self.sandbox.request_log.list(match=match, status=status)

    def clear_requests(self) -> None:
        """Count requests from zero, and forget the last ones."""
        self.sandbox.request_log.clear()

    def advance(self, seconds: float) -> None:
        """Move the sandbox's clock on; raise ValueError beyond the year 9999."""
        self.sandbox.clock.advance(round(seconds * 1000))

    def set_faults(self, faults: list[dict[str, Any]]) -> None:
        """Put these faults in force instead of the present ones; see `Fault` for their fields."""
        self.sandbox.faults.replace(faults)

    def set_webhooks(self, target_url: str | None, subscriptions: Any = "all") -> None:
        """Send the app's webhooks to a URL; None ends them.

        ``subscriptions`` may be a list of HubSpot's subscription objects. Raises HubSpotError for
        what HubSpot would not accept.
        """
        set_webhooks(self.sandbox, target_url, subscriptions)

    def flush_webhooks(self) -> dict[str, Any]:
        """Deliver all that is pending, wait for it, and return the report of deliveries."""
        return self.sandbox.webhooks.deliveries.flush()

    def set_delivery(self, **settings: Any) -> None:
        """Set disorder and times of deliveries; see `DeliverySettings` for the names."""
        self.sandbox.webhooks.deliveries.configure(settings)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
