"""``flask expose``: how HubSpot reaches this machine, once nobody else gets in with it."""

import click
from flask import current_app

from crm.cli.commands import Command
from crm.operations import exposure

_STEPS = """\
Nobody gets into the service without a credential, and the demo account is off.

1. Make an account of your own, if you have none:
     .venv/bin/python -m flask --app crm users create you@example.com --role admin
2. Open a tunnel, in a terminal of its own, with one of these:
     cloudflared tunnel --url {address}
     ngrok http {port}
3. Put into .env.local the address that it prints, and what your app in HubSpot shows:
     PUBLIC_URL=https://the-address-of-the-tunnel
     TRUSTED_PROXIES=1
     REGISTRATION=closed
     HUBSPOT_PRIVATE_APP_TOKEN=its-access-token
     HUBSPOT_CLIENT_SECRET=its-client-secret
     DATA_DIR=/path/to/a/new/folder
4. Stop the service (Ctrl-C) and start it again: make run
5. In HubSpot, in the app's settings under Webhooks, set the target URL to
     https://the-address-of-the-tunnel/webhooks/hubspot
   and subscribe to what this prints:
     .venv/bin/python -m flask --app crm webhooks manifest
6. See whether all is right:
     .venv/bin/python -m flask --app crm hubspot doctor

docs/receive-webhooks.md tells more, and how to end it."""


@click.command("expose", cls=Command)
def expose() -> None:
    """Turn open access off, see that it is, and tell how to receive webhooks through a tunnel."""
    exposure.shut()
    settings = current_app.extensions["crm_settings"]
    click.echo(_STEPS.format(address=settings.local_url, port=settings.port))
