"""HubSpot as one provider among others: contacts, companies and deals of a portal."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from crm.hubspot import transport
from crm.hubspot.account import get_details
from crm.hubspot.answers import parse_time, reading
from crm.hubspot.client import HubSpotClient, Timeouts
from crm.hubspot.oauth import Grant, OAuthApp
from crm.hubspot.paging import next_after
from crm.integrations.providers.provider import Item, ItemPage, Provider, Tokens
from crm.object_types import COMPANIES, CONTACTS, DEALS, OBJECT_TYPES

_NAMED_BY = {
    CONTACTS.name: ("firstname", "lastname", "email"),
    COMPANIES.name: ("name", "domain"),
    DEALS.name: ("dealname",),
}
_FOR_LISTING = (
    "oauth",
    *(f"crm.objects.{name}.read" for name in _NAMED_BY),
)
_OWN = ("contacts", "companies", "deals", "line_items")
_WITH_CRM_UID = ("companies", "deals", "tickets", "line_items")
_FOR_MIRRORING = (
    "oauth",
    "tickets",
    *(f"crm.objects.{name}.{action}" for name in _OWN for action in ("read", "write")),
    *(f"crm.schemas.{name}.{action}" for name in _WITH_CRM_UID for action in ("read", "write")),
)
_PATIENCE = Timeouts(transport.CONNECT, transport.READ, transport.LONGEST)


@dataclass(frozen=True)
class HubSpot(Provider):
    """HubSpot, by its public API; ``api_version`` is a dated one, or ``v3``."""

    name = "hubspot"
    label = "HubSpot"
    types = tuple(_NAMED_BY)

    api_version: str = field(kw_only=True)

    def authorization_url(
        self, *, redirect_uri: str, state: str, code_challenge: str, stay_connected: bool
    ) -> str:
        """See ``Provider``."""
        return self._app.authorization_url(
            redirect_uri=redirect_uri,
            scopes=_FOR_MIRRORING if stay_connected else _FOR_LISTING,
            state=state,
            code_challenge=code_challenge,
        )

    def exchange(self, code: str, *, redirect_uri: str, code_verifier: str) -> Tokens:
        """See ``Provider``."""
        grant = self._app.exchange_code(
            code, redirect_uri=redirect_uri, code_verifier=code_verifier
        )
        hub_id = grant.hub_id or get_details(self._client(grant.access_token)).hub_id
        return _tokens(grant, account=f"portal {hub_id}", account_id=str(hub_id))

    def refresh(self, refresh_token: str) -> Tokens:
        """See ``Provider``."""
        return _tokens(self._app.refresh(refresh_token))

    def revoke(self, access_token: str, refresh_token: str) -> bool:
        """See ``Provider``; access tokens live on for their half hour at most."""
        self._app.revoke(refresh_token)
        return True

    def list_items(
        self, access_token: str, item_type: str, *, limit: int, cursor: str | None
    ) -> ItemPage:
        """See ``Provider``."""
        return list_records(self._client(access_token), item_type, limit=limit, cursor=cursor)

    @property
    def _app(self) -> OAuthApp:
        return OAuthApp(
            base_url=self.api_url,
            version=self.api_version,
            client_id=self.client_id,
            client_secret=self.client_secret,
        )

    def _client(self, access_token: str) -> HubSpotClient:
        return HubSpotClient(
            base_url=self.api_url,
            token=access_token,
            version=self.api_version,
            timeouts=_PATIENCE,
        )


def list_records(
    client: HubSpotClient, item_type: str, *, limit: int, cursor: str | None
) -> ItemPage:
    """A page of a portal's records as items, by whichever way we are connected to it."""
    params = {"limit": str(limit), "properties": ",".join(_NAMED_BY[item_type])}
    if cursor is not None:
        params["after"] = cursor
    body = client.call("GET", client.path("objects", item_type), params=params, repeatable=True)
    with reading():
        records = list(body["results"])
        following = next_after(body)
        begin = "" if all(map(_url, records)) else _records_begin(client, item_type)
        return ItemPage([_item(item_type, each, begin) for each in records], following)


def _records_begin(client: HubSpotClient, item_type: str) -> str:
    """What the address of every record of a type begins with, for those that do not tell theirs."""
    account = get_details(client)
    type_id = OBJECT_TYPES[item_type].type_id
    return f"https://{account.ui_domain}/contacts/{account.hub_id}/record/{type_id}/"


def _item(item_type: str, body: Mapping[str, Any], begin: str) -> Item:
    record_id, properties = str(body["id"]), body.get("properties") or {}
    parts = [properties.get(each) or "" for each in _NAMED_BY[item_type]]
    # A contact has a name of two words, or else its address.
    named = " ".join(filter(None, parts[:2])) if item_type == CONTACTS.name else parts[0]
    return Item(
        id=record_id,
        type=item_type,
        name=named or parts[-1] or record_id,
        creation_time=parse_time(body.get("createdAt")),
        last_modified_time=parse_time(body.get("updatedAt")),
        url=_url(body) or begin + record_id,
        visibility=not body.get("archived"),
    )


def _url(body: Mapping[str, Any]) -> str:
    url = body.get("url")
    return url if isinstance(url, str) and urlsplit(url).scheme == "https" else ""


def _tokens(grant: Grant, *, account: str = "", account_id: str = "") -> Tokens:
    return Tokens(grant.access_token, grant.refresh_token, grant.expires_in, account, account_id)
