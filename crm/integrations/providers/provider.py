"""The interface that every provider has: how a person lets us in, and what there is to see.

A provider is a dataclass whose fields are its settings: ``client_id`` of ``airtable`` is
``AIRTABLE_CLIENT_ID``. It remembers nothing; tokens are given to it, and it gives new ones.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar


@dataclass(frozen=True)
class Tokens:
    """What a provider gives for a code or a refresh token."""

    access_token: str = field(repr=False)
    refresh_token: str = field(default="", repr=False)
    """Empty where the provider gives none."""
    expires_in: int | None = None
    """Seconds; None where the provider does not tell, and a refusal is the only sign."""
    account: str = ""
    """Who was connected, for people to read; empty after a refresh."""
    account_id: str = ""
    """The provider's own id of it, HubSpot's hub id for one."""


@dataclass(frozen=True)
class Item:
    """Something that a provider holds, in the one shape that all of them share."""

    id: str
    type: str
    """One of the provider's ``types``."""
    name: str
    creation_time: datetime | None
    last_modified_time: datetime | None
    """Both None where the provider does not tell."""
    url: str | None
    """Where a person opens it."""
    visibility: bool
    """Whether the person who connected can open it now: it is not archived, or in a bin."""


@dataclass(frozen=True)
class ItemPage:
    """A page of items, and the provider's own cursor of the next one, if there is one."""

    items: Sequence[Item]
    next_cursor: str | None


@dataclass(frozen=True)
class Provider(ABC):
    """A provider, and our app as it knows it.

    Args:
        api_url: where its API is.
        client_id: of our app; empty while there is none.
        client_secret: of our app.

    Every call raises an error of the families of ``crm.integrations.providers.errors`` or, for
    HubSpot, ``crm.hubspot.errors``. No error holds a token, a code or the secret.
    """

    name: ClassVar[str]
    """As in addresses and settings: ``airtable``."""
    label: ClassVar[str]
    """As people write it: ``Airtable``."""
    types: ClassVar[tuple[str, ...]]
    """What it has items of, in the order in which they are listed when nobody says which."""

    api_url: str
    client_id: str
    client_secret: str = field(repr=False)

    @abstractmethod
    def authorization_url(
        self, *, redirect_uri: str, state: str, code_challenge: str, stay_connected: bool
    ) -> str:
        """Where a person's browser goes to let our app in.

        Args:
            redirect_uri: where it comes back to.
            state: comes back with it.
            code_challenge: of PKCE, by SHA-256; not every provider has a use for it.
            stay_connected: ask for all that mirroring needs, not only for what listing does.
        """

    @abstractmethod
    def exchange(self, code: str, *, redirect_uri: str, code_verifier: str) -> Tokens:
        """The first tokens, for the code that came back with the browser."""

    @abstractmethod
    def refresh(self, refresh_token: str) -> Tokens:
        """New tokens; the refresh token is perhaps used up by that.

        Raises:
            ProviderRevokedError, HubSpotRevokedError: the connection has ended.
        """

    @abstractmethod
    def revoke(self, access_token: str, refresh_token: str) -> bool:
        """End the grant; False where the provider has no way for an app to do so."""

    @abstractmethod
    def list_items(
        self, access_token: str, item_type: str, *, limit: int, cursor: str | None
    ) -> ItemPage:
        """A page of items of one of ``types``, in the provider's own order.

        Args:
            access_token: of the connection.
            item_type: one of ``types``.
            limit: at most so many items, 1 to 100; there may be fewer, and more on the next page.
            cursor: the ``next_cursor`` of the page before.
        """
