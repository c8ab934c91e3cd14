"""The Webhooks Journal's API: an entry's URL, the file behind it, and its subscriptions.

Source: HubSpot docs, webhooks journal guides. Its token is an app's own, from the grant
``client_credentials``: its scopes name the journal, and no portal's data.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import Final, TypeAlias
from uuid import UUID

from flask import Blueprint, Response, request

from hubspot_sandbox.calls import Answer
from hubspot_sandbox.clock import iso
from hubspot_sandbox.errors import HubSpotError, invalid, missing_scopes, resource_not_found
from hubspot_sandbox.object_types import get_object_type
from hubspot_sandbox.payload import json_object, text_field, text_list, whole_number
from hubspot_sandbox.store import Sandbox
from hubspot_sandbox.webhooks_journal import ACTIONS, Entry, JournalSubscription

_URL_LIFE_MS: Final = 10 * 60_000
_VERSION: Final = "<any('2026-03', '2026-09', '2027-03-beta'):version>"
_FILES: Final = "/webhooks-journal/files"
_READ: Final = "developer.webhooks_journal.read"
_READ_SUBSCRIPTIONS: Final = "developer.webhooks_journal.subscriptions.read"
_WRITE_SUBSCRIPTIONS: Final = "developer.webhooks_journal.subscriptions.write"

Respond: TypeAlias = Callable[[Answer], Response]


def journal_blueprint(sandbox: Sandbox, respond: Respond) -> Blueprint:
    """Build the journal's API for a sandbox; ``respond`` writes its answers."""
    blueprint = Blueprint("webhooks_journal", __name__)
    views = _Views(sandbox)

    def serving(view: Callable[..., Answer], scope: str) -> Callable[..., Response]:
        def serve(version: str, **path: str) -> Response:
            return respond(view(_authenticate(sandbox, scope), **path))

        return serve

    local, every = "/journal-local", "/journal"
    subscriptions = f"/subscriptions/{_VERSION}"
    for method, path, view, scope in (
        *(
            row
            for prefix in (every, local)
            for row in (
                ("GET", f"{prefix}/{_VERSION}/earliest", views.read_earliest, _READ),
                ("GET", f"{prefix}/{_VERSION}/latest", views.read_latest, _READ),
                ("GET", f"{prefix}/{_VERSION}/offset/<offset>/next", views.read_next, _READ),
            )
        ),
        ("GET", subscriptions, views.list_subscriptions, _READ_SUBSCRIPTIONS),
        ("POST", subscriptions, views.create_subscription, _WRITE_SUBSCRIPTIONS),
        ("GET", f"{subscriptions}/<number>", views.read_subscription, _READ_SUBSCRIPTIONS),
        ("DELETE", f"{subscriptions}/<number>", views.delete_subscription, _WRITE_SUBSCRIPTIONS),
    ):
        blueprint.add_url_rule(
            f"/webhooks-journal{path}",
            f"{view.__name__}:{path.split('/')[1]}",
            serving(view, scope),
            methods=[method],
            provide_automatic_options=False,
        )
    blueprint.add_url_rule(
        f"{_FILES}/<uuid:offset>", "read_file", lambda offset: respond(views.read_file(offset))
    )
    return blueprint


def _authenticate(sandbox: Sandbox, scope: str) -> int:
    """Return the id of the app whose token this is."""
    access = sandbox.admit(request.headers.get("Authorization", ""))
    # A private app's token, which has every scope, is none of the journal's.
    if access.scopes is None or scope not in access.scopes:
        raise missing_scopes([[scope]])
    return access.app_id


class _Views:
    """What the API does for one app."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._journal = sandbox.webhooks.journal
        # Signs URLs of this process alone: they live for minutes.
        self._key = secrets.token_bytes(32)

    def read_earliest(self, app_id: int) -> Answer:
        return self._answer(self._journal.entries(app_id, _portal_id())[:1])

    def read_latest(self, app_id: int) -> Answer:
        return self._answer(self._journal.entries(app_id, _portal_id())[-1:])

    def read_next(self, app_id: int, offset: str) -> Answer:
        return self._answer(self._journal.entries(app_id, _portal_id(), offset)[:1])

    def read_file(self, offset: UUID) -> Answer:
        """Return an entry to whoever has its URL, while that lives: it needs no token."""
        expires = request.args.get("expires", "")
        signature = request.args.get("signature", "").encode()
        entry = self._journal.find(offset)
        genuine = hmac.compare_digest(signature, self._sign(str(offset), expires).encode())
        if entry is None or not genuine or int(expires) <= self._sandbox.clock.now_ms():
            raise HubSpotError(403, "Request has expired", "ACCESS_DENIED")
        return Answer(entry.render())

    def list_subscriptions(self, app_id: int) -> Answer:
        return Answer({"results": [each.render() for each in self._journal.subscriptions(app_id)]})

    def create_subscription(self, app_id: int) -> Answer:
        wanted = _read_subscription(app_id)
        if wanted.portal_id not in self._sandbox.portals:
            raise invalid(f"The app is not installed in the portal {wanted.portal_id}")
        return Answer(self._journal.subscribe(wanted).render(), 201)

    def read_subscription(self, app_id: int, number: str) -> Answer:
        return Answer(self._journal.get(app_id, whole_number(number) or 0).render())

    def delete_subscription(self, app_id: int, number: str) -> Answer:
        self._journal.unsubscribe(app_id, whole_number(number) or 0)
        return Answer(status=204)

    def _answer(self, found: list[Entry]) -> Answer:
        """Return where the entry can be fetched for some minutes: 204 when there is none."""
        if not found:
            return Answer(status=204)
        (entry,) = found
        expires_at = self._sandbox.clock.now_ms() + _URL_LIFE_MS
        signature = self._sign(entry.offset, str(expires_at))
        query = f"expires={expires_at}&signature={signature}"
        return Answer(
            {
                "url": f"{request.host_url.rstrip('/')}{_FILES}/{entry.offset}?{query}",
                "expiresAt": iso(expires_at),
                "currentOffset": entry.offset,
            }
        )

    def _sign(self, offset: str, expires: str) -> str:
        return hmac.new(self._key, f"{offset}{expires}".encode(), hashlib.sha256).hexdigest()


def _portal_id() -> int | None:
    """Return the portal that a local journal is asked for; the global one knows no such thing."""
    text = request.args.get("installPortalId")
    if text is None or "/journal-local/" not in request.path:
        return None
    portal_id = whole_number(text)
    if portal_id is None:
        raise resource_not_found()
    return portal_id


def _read_subscription(app_id: int) -> JournalSubscription:
    body = json_object(request.get_data())
    kind = text_field(body, "subscriptionType")
    actions = text_list(body, "actions")
    if kind not in ACTIONS:
        raise invalid(f"The subscriptionType must be one of {sorted(ACTIONS)}, got {kind}")
    if not actions or not ACTIONS[kind].issuperset(actions):
        raise invalid(f"The actions must be some of {sorted(ACTIONS[kind])}")
    return JournalSubscription(
        app_id=app_id,
        portal_id=whole_number(text_field(body, "portalId")) or 0,
        subscription_type=kind,
        object_type_id=get_object_type(text_field(body, "objectTypeId")).type_id,
        actions=actions,
        properties=text_list(body, "properties"),
    )
