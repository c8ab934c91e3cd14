"""Notion: pages and databases.

Source: Notion API, "Authorization", "Create a token", "Refresh a token", "Revoke token", "Search".
Notion has no PKCE, and does not tell when an access token ends.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlencode

import orjson
import requests

from crm.hubspot.answers import parse_time
from crm.hubspot.transport import HEADERS
from crm.integrations.providers.api_calls import call, call_for_tokens, reading, tokens_from
from crm.integrations.providers.provider import Item, ItemPage, Provider, Tokens

_VERSION = "2025-09-03"
_UNTITLED = "Untitled"
_OBJECTS = {"pages": "page", "databases": "data_source"}
"""Since version 2025-09-03 a database's rows and title are those of its data sources."""


@dataclass(frozen=True)
class Notion(Provider):
    """Notion, by its public API."""

    name = "notion"
    label = "Notion"
    types = ("pages", "databases")

    def authorization_url(
        self, *, redirect_uri: str, state: str, code_challenge: str, stay_connected: bool
    ) -> str:
        """See ``Provider``."""
        query = {
            "client_id": self.client_id,
            "redirect_uri": redirect_uri,
            "response_type": "code",
            "owner": "user",
            "state": state,
        }
        return f"{self.api_url}/v1/oauth/authorize?{urlencode(query, quote_via=quote)}"

    def exchange(self, code: str, *, redirect_uri: str, code_verifier: str) -> Tokens:
        """See ``Provider``."""
        given = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
        body = self._ask_for_tokens(given)
        tokens = tokens_from(self.label, body)
        with reading(self.label):
            workspace_id = str(body["workspace_id"])
            account = str(body.get("workspace_name") or workspace_id)
        return replace(tokens, account=account, account_id=workspace_id)

    def refresh(self, refresh_token: str) -> Tokens:
        """See ``Provider``."""
        given = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        return tokens_from(self.label, self._ask_for_tokens(given))

    def revoke(self, access_token: str, refresh_token: str) -> bool:
        """See ``Provider``."""
        self._post_as_app("/v1/oauth/revoke", {"token": access_token})
        return True

    def list_items(
        self, access_token: str, item_type: str, *, limit: int, cursor: str | None
    ) -> ItemPage:
        """See ``Provider``; the newest edited first."""
        body = {
            "filter": {"property": "object", "value": _OBJECTS[item_type]},
            "sort": {"timestamp": "last_edited_time", "direction": "descending"},
            "page_size": limit,
        }
        if cursor is not None:
            body["start_cursor"] = cursor
        headers = {**HEADERS, "Authorization": f"Bearer {access_token}"}
        found = call(
            self.label, self._request("/v1/search", body, headers), secrets=(access_token,)
        )
        with reading(self.label):
            items = [_item(item_type, each) for each in found["results"]]
            following = found.get("next_cursor") if found.get("has_more") else None
            return ItemPage(items, following and str(following))

    def _ask_for_tokens(self, given: Mapping[str, str]) -> Mapping[str, Any]:
        secrets = (*given.values(), self.client_secret)
        body = call_for_tokens(
            self.label, self._app_request("/v1/oauth/token", given), secrets=secrets
        )
        with reading(self.label):
            return dict(body)

    def _post_as_app(self, path: str, given: Mapping[str, str]) -> None:
        secrets = (*given.values(), self.client_secret)
        call(self.label, self._app_request(path, given), secrets=secrets)

    def _app_request(self, path: str, given: Mapping[str, str]) -> requests.Request:
        request = self._request(path, given, HEADERS)
        request.auth = (self.client_id, self.client_secret)
        return request

    def _request(
        self, path: str, body: Mapping[str, Any], headers: Mapping[str, str]
    ) -> requests.Request:
        return requests.Request(
            "POST",
            self.api_url + path,
            headers={**headers, "Notion-Version": _VERSION},
            data=orjson.dumps(body),
        )


def _item(item_type: str, body: Mapping[str, Any]) -> Item:
    return Item(
        id=str(body["id"]),
        type=item_type,
        name=_title(body) or _UNTITLED,
        creation_time=parse_time(body.get("created_time")),
        last_modified_time=parse_time(body.get("last_edited_time")),
        url=body.get("url"),
        visibility=not (body.get("archived") or body.get("in_trash")),
    )


def _title(body: Mapping[str, Any]) -> str:
    """A database has a title; a page's is whichever of its properties is of that type."""
    parts = body.get("title")
    for each in (body.get("properties") or {}).values() if parts is None else ():
        if isinstance(each, dict) and each.get("type") == "title":
            parts = each.get("title")
    return "".join(str(each.get("plain_text", "")) for each in parts or ())
