"""Who calls: apps, and what a bearer token opens.

A token belongs to one app and opens one portal; that is all that keeps portals apart.
"""

from dataclasses import dataclass, field
from typing import Final

DEFAULT_TOKEN: Final = "pat-na1-sandbox"  # noqa: S105 - opens nothing but this sandbox


@dataclass(slots=True)
class App:
    """An app that is known to HubSpot, with what it needs for OAuth and for signing webhooks."""

    id: int
    name: str
    client_id: str
    client_secret: str = field(repr=False)
    redirect_uris: tuple[str, ...] = ()


# The one app that every sandbox knows; its secret opens nothing else.
DEFAULT_APP: Final = App(
    id=1_836_221,
    name="CRM middleware",
    client_id="5a9d6b1e-0c1f-4c53-9a53-0d5e60b0c0de",
    client_secret="a3f1c6de-5b0e-4f0b-8a55-6a6e64b0c5ec",  # noqa: S106
    redirect_uris=("http://localhost:4012/integrations/hubspot/oauth2callback",),
)


@dataclass(frozen=True, slots=True)
class Access:
    """What one token opens.

    ``scopes`` None means every scope; ``expires_at`` is in epoch milliseconds, None for a token
    that stays (private apps, service keys). ``user_id`` is of the person who granted an OAuth
    token.
    """

    portal_id: int
    app_id: int
    scopes: frozenset[str] | None = None
    expires_at: int | None = None
    user_id: int | None = None

    @property
    def is_oauth(self) -> bool:
        """Whether the token came from OAuth: those expire."""
        return self.expires_at is not None
