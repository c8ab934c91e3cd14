"""A strict local HubSpot: its own WSGI app, spoken to over real HTTP; imports nothing of crm.

In tests::

    with SandboxServer(port=0, index_lag_ms=0) as sandbox:
        ...  # sandbox.url, and the bearer token `DEFAULT_TOKEN`

From a shell: ``python -m hubspot_sandbox --help``.
"""

from hubspot_sandbox.access import DEFAULT_APP, DEFAULT_TOKEN
from hubspot_sandbox.airtable import DEFAULT_AIRTABLE_APP
from hubspot_sandbox.notion import DEFAULT_NOTION_APP
from hubspot_sandbox.server import SandboxServer
from hubspot_sandbox.store import DEFAULT_PORTAL_ID

__all__ = [
    "DEFAULT_AIRTABLE_APP",
    "DEFAULT_APP",
    "DEFAULT_NOTION_APP",
    "DEFAULT_PORTAL_ID",
    "DEFAULT_TOKEN",
    "SandboxServer",
]
