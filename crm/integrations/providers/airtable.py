"""Airtable: bases and tables.

Source: Airtable Web API, "OAuth reference", "List bases", "Get base schema", "Get user ID".
PKCE is mandatory, and a refresh token counts once; an app has no way to revoke its grant.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import requests

from crm.hubspot.transport import HEADERS
from crm.integrations.providers.api_calls import call, call_for_tokens, reading, tokens_from
from crm.integrations.providers.provider import Item, ItemPage, Provider, Tokens

_SCOPES = "schema.bases:read user.email:read"
_API_HOST, _WEB_HOST = "https://api.airtable.com", "https://airtable.com"
_NO_PERMISSION = "none"
LONGEST_PAGE = 5.0
"""Seconds after which a page of tables ends with those of the bases that were asked for so far."""


@dataclass(frozen=True)
class Airtable(Provider):
    """Airtable, by its Web API."""

    name = "airtable"
    label = "Airtable"
    types = ("bases", "tables")

    def authorization_url(
        self, *, redirect_uri: str, state: str, code_challenge: str, stay_connected: bool
    ) -> str:
        """See ``Provider``."""
        query = {
            "client_id": self.client_id,
            "redirect_uri": redirect_uri,
            "response_type": "code",
            "scope": _SCOPES,
            "state": state,
            "code_challenge": code_challenge,
            "code_challenge_method": "S256",
        }
        return f"{self._web}/oauth2/v1/authorize?{urlencode(query, quote_via=quote)}"

    def exchange(self, code: str, *, redirect_uri: str, code_verifier: str) -> Tokens:
        """See ``Provider``."""
        tokens = self._ask_for_tokens(
            grant_type="authorization_code",
            code=code,
            redirect_uri=redirect_uri,
            code_verifier=code_verifier,
        )
        body = self._get(tokens.access_token, "/v0/meta/whoami")
        with reading(self.label):
            account_id = str(body["id"])
            account = str(body.get("email") or account_id)
        return Tokens(
            tokens.access_token, tokens.refresh_token, tokens.expires_in, account, account_id
        )

    def refresh(self, refresh_token: str) -> Tokens:
        """See ``Provider``."""
        return self._ask_for_tokens(grant_type="refresh_token", refresh_token=refresh_token)

    def revoke(self, access_token: str, refresh_token: str) -> bool:
        """Nothing: only the person can, at ``https://airtable.com/account/integrations``."""
        return False

    def list_items(
        self, access_token: str, item_type: str, *, limit: int, cursor: str | None
    ) -> ItemPage:
        """See ``Provider``.

        Airtable gives up to a thousand bases at a time, and all tables of one base. The cursor is
        therefore Airtable's own, the place among these bases, and the one among the base's tables.
        """
        offset, base, table = _read(cursor)
        if item_type == "tables":
            return self._list_tables(access_token, limit, offset, base, table)
        bases, following = self._list_bases(access_token, offset)
        items = [_base_item(each) for each in bases[base : base + limit]]
        return ItemPage(items, _cursor(bases, following, offset, base + limit))

    def _list_tables(
        self, access_token: str, limit: int, offset: str, base: int, table: int
    ) -> ItemPage:
        bases, following = self._list_bases(access_token, offset)
        items: list[Item] = []
        until = time.monotonic() + LONGEST_PAGE
        place = base
        while place < len(bases) and len(items) < limit:
            skipped = table if place == base else 0
            found = list(self._tables_of(access_token, bases[place]["id"]))[skipped:]
            room = limit - len(items)
            items += found[:room]
            if len(found) > room:
                return ItemPage(items, f"{place}.{skipped + room}.{offset}")
            place += 1
            if time.monotonic() > until:
                break
        return ItemPage(items, _cursor(bases, following, offset, place))

    def _list_bases(self, access_token: str, offset: str) -> tuple[list[dict[str, Any]], str]:
        """Airtable's bases from an offset on, and the next offset; empty at the end."""
        params = {"offset": offset} if offset else {}
        body = self._get(access_token, "/v0/meta/bases", params)
        with reading(self.label):
            bases = [
                {"id": str(each["id"]), "name": str(each["name"])}
                | {"is_open": each.get("permissionLevel") != _NO_PERMISSION}
                for each in body["bases"]
            ]
            return bases, str(body.get("offset") or "")

    def _tables_of(self, access_token: str, base_id: str) -> Iterator[Item]:
        body = self._get(access_token, f"/v0/meta/bases/{quote(base_id, safe='')}/tables")
        with reading(self.label):
            for each in body["tables"]:
                yield _item("tables", str(each["id"]), str(each["name"]), f"{base_id}/{each['id']}")

    def _get(
        self, access_token: str, path: str, params: Mapping[str, str] | None = None
    ) -> Mapping[str, Any]:
        headers = {**HEADERS, "Authorization": f"Bearer {access_token}"}
        request = requests.Request("GET", self.api_url + path, headers=headers, params=params)
        body = call(self.label, request, secrets=(access_token,))
        with reading(self.label):
            return dict(body)

    def _ask_for_tokens(self, **form: str) -> Tokens:
        request = requests.Request(
            "POST",
            f"{self._web}/oauth2/v1/token",
            headers={**HEADERS, "Content-Type": "application/x-www-form-urlencoded"},
            data=form,
            auth=(self.client_id, self.client_secret),
        )
        secrets = (*form.values(), self.client_secret)
        return tokens_from(self.label, call_for_tokens(self.label, request, secrets=secrets))

    @property
    def _web(self) -> str:
        """Where people and token requests go: another host than the API's, but for a sandbox."""
        return _WEB_HOST if self.api_url == _API_HOST else self.api_url


def _read(cursor: str | None) -> tuple[str, int, int]:
    if cursor is None:
        return "", 0, 0
    base, table, offset = cursor.split(".", 2)
    return offset, int(base), int(table)


def _cursor(bases: list[dict[str, Any]], following: str, offset: str, place: int) -> str | None:
    """Where it goes on: with a later base of these, or with Airtable's next ones."""
    if place < len(bases):
        return f"{place}.0.{offset}"
    return f"0.0.{following}" if following else None


def _base_item(base: Mapping[str, Any]) -> Item:
    return _item("bases", base["id"], base["name"], base["id"], is_open=base["is_open"])


def _item(item_type: str, item_id: str, name: str, path: str, *, is_open: bool = True) -> Item:
    # Airtable tells no times of either.
    return Item(item_id, item_type, name, None, None, f"{_WEB_HOST}/{quote(path)}", is_open)
