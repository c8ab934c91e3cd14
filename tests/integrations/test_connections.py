"""Connections: one process refreshes, the others use what it stores, whatever the moment."""

import pytest

from crm.integrations.connections import Connections, NotConnectedError
from crm.integrations.providers.airtable import Airtable
from crm.integrations.providers.errors import ProviderAuthError, ProviderRevokedError
from crm.integrations.providers.notion import Notion
from crm.integrations.providers.provider import Tokens
from crm.integrations.store import MemoryStore
from crm.portals.oauth_tokens import make_vault
from hubspot_sandbox import DEFAULT_AIRTABLE_APP, DEFAULT_NOTION_APP
from hubspot_sandbox.third_party_oauth import Allowed


@pytest.fixture
def airtable(sandbox):
    app = DEFAULT_AIRTABLE_APP
    return Airtable(sandbox.url, app.client_id, app.client_secret)


@pytest.fixture
def tokens(sandbox):
    """What Airtable gave for a consent."""
    issued = sandbox.sandbox.airtable.book.issue(Allowed(frozenset(), frozenset()), "a code")
    return Tokens(issued.access_token, issued.refresh_token, 3600, "somebody", "usr1")


@pytest.fixture
def make(app):
    """The connections of one person, as another process sees them."""

    def do(store, pause=lambda _: None):
        return Connections(store, make_vault(app.extensions["crm_settings"]), 1, pause)

    return do


def good(refused):
    """Does what a provider does: takes any token but one."""

    def action(token):
        if token == refused:
            raise ProviderAuthError
        return token

    return action


class Meddled(MemoryStore):
    """A store in which something happens once, right before a lease is taken."""

    happens = None

    def claim(self, key, seconds):
        happens, self.happens = self.happens, None
        if happens:
            happens()
        return super().claim(key, seconds)


def test_what_another_stored_right_before_the_lease_is_used(airtable, tokens, make):
    store = Meddled()
    make(store).keep(airtable, tokens)
    others = []
    store.happens = lambda: others.append(make(store).use(airtable, good(tokens.access_token)))

    mine = make(store).use(airtable, good(tokens.access_token))

    # A second refresh with the same token would have been refused.
    assert [mine] == others


def test_while_another_has_the_lease_its_tokens_are_waited_for(airtable, tokens, make):
    store = MemoryStore()
    make(store).keep(airtable, tokens)
    lease = "refresh:connection:airtable:1"
    store.claim(lease, 60)
    others = []

    def other_finishes(_):
        store.forget(lease)
        others.append(make(store).use(airtable, good(tokens.access_token)))

    mine = make(store, pause=other_finishes).use(airtable, good(tokens.access_token))

    assert [mine] == others


def test_a_lease_ends_with_whoever_took_it(airtable, tokens, make):
    now = [0.0]
    store = MemoryStore(lambda: now[0])
    make(store).keep(airtable, tokens)
    store.claim("refresh:connection:airtable:1", 33)

    def later(_):
        now[0] += 40

    assert make(store, pause=later).use(airtable, good(tokens.access_token))


def test_who_disconnects_during_a_refresh_stays_disconnected(airtable, tokens, make):
    store = Meddled()
    make(store).keep(airtable, tokens)
    store.happens = lambda: make(store).forget(airtable)

    with pytest.raises(NotConnectedError):
        make(store).use(airtable, good(tokens.access_token))
    assert make(store).find(airtable) is None


def test_who_disconnects_while_the_provider_answers_stays_disconnected_there_too(sandbox, make):
    store = MemoryStore()
    book = sandbox.sandbox.notion.book
    issued = book.issue(Allowed(frozenset(), frozenset()), "a code")
    connections = make(store)

    class Slow(Notion):
        def refresh(self, refresh_token):
            tokens = super().refresh(refresh_token)
            connections.forget(self)
            return tokens

    app = DEFAULT_NOTION_APP
    notion = Slow(sandbox.url, app.client_id, app.client_secret)
    connections.keep(notion, Tokens(issued.access_token, issued.refresh_token))

    with pytest.raises(NotConnectedError):
        connections.use(notion, good(issued.access_token))
    assert connections.find(notion) is None
    assert book.list_secrets() == []


def test_a_connection_without_a_refresh_token_ends_with_its_access_token(airtable, tokens, make):
    store = MemoryStore()
    make(store).keep(airtable, Tokens(tokens.access_token))

    with pytest.raises(ProviderRevokedError):
        make(store).use(airtable, good(tokens.access_token))
    assert make(store).find(airtable) is None


def test_a_connection_whose_key_is_gone_is_none(airtable, tokens, make, change_settings):
    store = MemoryStore()
    make(store).keep(airtable, tokens)
    change_settings(encryption_keys="b28" * 14 + "o=")

    assert make(store).find(airtable) is None


def test_a_refreshed_connection_still_ends_when_it_was_to(airtable, tokens, make):
    now = [0.0]
    store = MemoryStore(lambda: now[0])
    first = make(store).keep(airtable, tokens)
    now[0] = 12 * 3600 - 1
    make(store).use(airtable, good(tokens.access_token))

    assert make(store).find(airtable).until == first.until
    now[0] += 1
    assert make(store).find(airtable) is None
