"""The sandbox's Notion: as strict as Notion's public API says it is."""

from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests

from hubspot_sandbox import DEFAULT_NOTION_APP, SandboxServer
from hubspot_sandbox.notion import make_thing

APP = DEFAULT_NOTION_APP
ASKED = {
    "client_id": APP.client_id,
    "redirect_uri": APP.redirect_uris[0],
    "response_type": "code",
    "owner": "user",
    "state": "a state",
}
VERSION = {"Notion-Version": "2025-09-03"}


class Notion:
    """An app that is connected to the sandbox's Notion, and the person's browser."""

    def __init__(self, server: SandboxServer) -> None:
        self.url = server.url
        self.choice = [each.id for each in server.sandbox.notion.things]

    def consent(self, form: dict[str, Any] | None = None, **changes: str | None) -> Any:
        asked = {name: value for name, value in {**ASKED, **changes}.items() if value is not None}
        given = form or {"action": "connect", "choice": self.choice}
        address = f"{self.url}/v1/oauth/authorize?{urlencode(asked)}"
        return requests.post(address, data=given, allow_redirects=False, timeout=5)

    def code(self) -> str:
        back = parse_qs(urlsplit(self.consent().headers["Location"]).query)
        assert back["state"] == ["a state"]
        return back["code"][0]

    def as_app(
        self,
        name: str,
        auth: Any = (APP.client_id, APP.client_secret),
        headers: Any = VERSION,
        **body: Any,
    ) -> Any:
        return requests.post(
            f"{self.url}/v1/oauth/{name}", json=body, auth=auth, headers=headers, timeout=5
        )

    def exchange(self, code: str, /, **changes: Any) -> Any:
        given = {"grant_type": "authorization_code", "code": code}
        return self.as_app("token", **{**given, "redirect_uri": APP.redirect_uris[0], **changes})

    def refresh(self, token: str) -> Any:
        return self.as_app("token", grant_type="refresh_token", refresh_token=token)

    def connect(self) -> dict[str, Any]:
        return dict(self.exchange(self.code()).json())

    def search(self, token: str, headers: Any = VERSION, **body: Any) -> Any:
        shown = {**headers, "Authorization": f"Bearer {token}"}
        return requests.post(f"{self.url}/v1/search", json=body, headers=shown, timeout=5)


def refusal(answer: requests.Response) -> tuple[int, str]:
    body = answer.json()
    assert (body["object"], body["status"]) == ("error", answer.status_code)
    assert body["request_id"]
    return answer.status_code, body["code"]


@pytest.fixture
def notion(sandbox: SandboxServer) -> Notion:
    return Notion(sandbox)


def test_a_person_lets_an_app_in(notion: Notion) -> None:
    given = notion.connect()

    assert (given["token_type"], given["workspace_name"]) == ("bearer", "Bright Harbor")
    assert given["owner"]["type"] == "user"
    assert {"bot_id", "workspace_id", "refresh_token", "duplicated_template_id"} <= {*given}
    # Notion tells nobody when a token ends.
    assert "expires_in" not in given


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "another"},
        {"redirect_uri": "https://evil.example"},
        {"redirect_uri": None},
        {"response_type": "token"},
        {"owner": None},
        {"owner": "workspace"},
    ],
)
def test_what_is_asked_wrongly_is_told_to_the_person(
    notion: Notion, changes: dict[str, Any]
) -> None:
    answer = notion.consent(**changes)

    assert (answer.status_code, "Location" in answer.headers) == (400, False)


def test_who_says_no_is_sent_back_with_that(notion: Notion) -> None:
    answer = notion.consent({"action": "cancel"})

    assert answer.headers["Location"].endswith("?error=access_denied&state=a+state")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"auth": None}, (401, "invalid_client")),
        ({"auth": (APP.client_id, "wrong")}, (401, "invalid_client")),
        ({"headers": {}}, (400, "missing_version")),
        ({"headers": {"Notion-Version": "2020-01-01"}}, (400, "validation_error")),
        ({"code": "made-up"}, (400, "invalid_grant")),
        ({"code": 7}, (400, "validation_error")),
        ({"redirect_uri": "http://localhost:4012/other"}, (400, "invalid_grant")),
        ({"grant_type": "password"}, (400, "validation_error")),
        ({"grant_type": ""}, (400, "validation_error")),
    ],
)
def test_a_code_is_exchanged_as_documented_only(
    notion: Notion, changes: dict[str, Any], expected: tuple[int, str]
) -> None:
    assert refusal(notion.exchange(notion.code(), **changes)) == expected


def test_a_form_is_no_json(notion: Notion) -> None:
    answer = requests.post(
        f"{notion.url}/v1/oauth/token",
        data={"grant_type": "authorization_code", "code": notion.code()},
        auth=(APP.client_id, APP.client_secret),
        headers=VERSION,
        timeout=5,
    )

    assert refusal(answer) == (400, "invalid_json")


def test_a_code_counts_once(notion: Notion) -> None:
    code = notion.code()
    notion.exchange(code)

    assert refusal(notion.exchange(code)) == (400, "invalid_grant")


def test_a_refresh_token_counts_once_and_ends_the_access_token(notion: Notion) -> None:
    first = notion.connect()

    second = notion.refresh(first["refresh_token"]).json()

    assert refusal(notion.refresh(first["refresh_token"])) == (400, "invalid_grant")
    assert refusal(notion.search(first["access_token"])) == (401, "unauthorized")
    assert notion.search(second["access_token"]).status_code == 200


def test_a_token_is_revoked_and_known_as_such(notion: Notion) -> None:
    given = notion.connect()
    token = given["access_token"]
    assert notion.as_app("introspect", token=token).json()["active"] is True

    assert [*notion.as_app("revoke", token=token).json()] == ["request_id"]

    assert notion.as_app("introspect", token=token).json()["active"] is False
    assert refusal(notion.search(token)) == (401, "unauthorized")
    assert refusal(notion.refresh(given["refresh_token"])) == (400, "invalid_grant")


def test_search_comes_page_by_page_the_newest_edited_first(
    notion: Notion, sandbox: SandboxServer
) -> None:
    things = [make_thing("page", f"Page {at}", at) for at in range(5)]
    sandbox.sandbox.notion.things = things
    notion.choice = [each.id for each in things]
    token, cursor, found = notion.connect()["access_token"], {}, []

    while True:
        page = notion.search(token, page_size=2, **cursor).json()
        found += [each["id"] for each in page["results"]]
        assert page["has_more"] == (page["next_cursor"] is not None)
        if not page["has_more"]:
            break
        cursor = {"start_cursor": page["next_cursor"]}

    assert found == [each.id for each in reversed(things)]


@pytest.mark.parametrize("kind", ["page", "data_source"])
def test_search_finds_by_object_and_title_what_was_shared(notion: Notion, kind: str) -> None:
    wanted = {"property": "object", "value": kind}
    token = notion.connect()["access_token"]

    found = notion.search(token, filter=wanted).json()["results"]

    assert {each["object"] for each in found} == {kind}
    assert notion.search(token, query="PRICE").json()["results"][0]["object"] == "page"
    assert notion.search(token, query="no such title").json()["results"] == []
    notion.choice = [found[0]["id"]]
    only = notion.search(notion.connect()["access_token"]).json()["results"]
    assert [each["id"] for each in only] == notion.choice


@pytest.mark.parametrize(
    "body",
    [
        {"page_size": 0},
        {"page_size": 101},
        {"page_size": "10"},
        {"start_cursor": "nobody"},
        {"filter": {"property": "object", "value": "database"}},
        {"filter": {"property": "title", "value": "page"}},
        {"filter": {}},
        {"sort": {"timestamp": "created_time"}},
        {"sort": {"timestamp": "last_edited_time", "direction": "up"}},
        {"query": 7},
        {"unknown": 1},
    ],
)
def test_search_refuses_what_is_not_documented(notion: Notion, body: dict[str, Any]) -> None:
    answer = notion.search(notion.connect()["access_token"], **body)

    assert refusal(answer) == (400, "validation_error")


def test_every_call_names_its_version(notion: Notion) -> None:
    answer = notion.search(notion.connect()["access_token"], headers={})

    assert refusal(answer) == (400, "missing_version")


def test_who_calls_too_often_is_told_when_to_come_back(
    notion: Notion, sandbox: SandboxServer
) -> None:
    token = notion.connect()["access_token"]
    sandbox.sandbox.settings.limit_notion = 3

    answers = [notion.search(token) for _ in range(4)]

    assert [each.status_code for each in answers] == [200, 200, 200, 429]
    assert refusal(answers[3]) == (429, "rate_limited")
    assert answers[3].headers["Retry-After"] == "1"
    sandbox.advance(1)
    assert notion.search(token).status_code == 200
