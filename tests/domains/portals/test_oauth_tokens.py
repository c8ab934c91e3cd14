"""OAuth tokens: encrypted at rest, refreshed by one process at a time, stored before use."""

import base64
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import psycopg2
import pytest
from sqlalchemy import select, text

from crm.db import db
from crm.hubspot.account import get_details
from crm.hubspot.errors import HubSpotAuthError, HubSpotRevokedError, HubSpotUnavailableError
from crm.models import Portal
from crm.portals import portals
from crm.portals.oauth_tokens import LEASE, MARGIN, OAuthTokens
from crm.push.job import push
from hubspot_sandbox import DEFAULT_APP, DEFAULT_PORTAL_ID
from hubspot_sandbox.access import Grant
from hubspot_sandbox.store import Settings as SandboxSettings
from tests.hubspot.relay import Answer, Relay

REFRESH = "POST /oauth/2026-09/token"
KEY, OTHER_KEY = (base64.urlsafe_b64encode(each * 32).decode() for each in (b"k", b"o"))


@pytest.fixture
def grant(sandbox):
    """Lets our app into the portal; returns a refresh token."""

    def do(portal_id=DEFAULT_PORTAL_ID):
        # Every scope that push needs, and more.
        names = ("contacts", "companies", "deals", "tickets", "line_items")
        scopes = {
            f"crm.{family}.{name}.{action}"
            for family in ("objects", "schemas")
            for name in names
            for action in ("read", "write")
        }
        given = Grant(portal_id, DEFAULT_APP.id, 60318841, frozenset(scopes | {"tickets"}))
        return sandbox.sandbox.registry.add_grant(given)

    return do


@pytest.fixture
def refresh_token(grant):
    return grant()


@pytest.fixture(autouse=True)
def _oauth(change_settings, refresh_token):
    change_settings(
        hubspot_private_app_token="",
        hubspot_client_id=DEFAULT_APP.client_id,
        hubspot_client_secret=DEFAULT_APP.client_secret,
        hubspot_refresh_token=refresh_token,
        encryption_keys=KEY,
    )


@pytest.fixture
def make_tokens(app, portal_id):
    """A source of tokens, as each process has its own."""

    def make(patience=5.0, **changes):
        settings = replace(app.extensions["crm_settings"], **changes)
        return OAuthTokens(portal_id, settings, patience=patience)

    return make


@pytest.fixture
def tokens(make_tokens):
    return make_tokens()


@pytest.fixture
def rotating(sandbox):
    """A HubSpot in which a refresh token counts once."""
    sandbox.sandbox.settings.rotate_refresh_tokens = True
    yield
    sandbox.sandbox.settings.rotate_refresh_tokens = SandboxSettings().rotate_refresh_tokens


@pytest.fixture
def refreshes(sandbox):
    return lambda: sandbox.requests()["by_route"].get(REFRESH, 0)


@pytest.fixture
def at_once(app, make_tokens):
    """Do something with many sources at the same time, each in a process's stead."""

    def do(count, ask):
        def one(_):
            with app.app_context():
                try:
                    return ask(make_tokens())
                finally:
                    db.session.remove()

        with ThreadPoolExecutor(count) as threads:
            return list(threads.map(one, range(count)))

    return do


def change_row(**columns):
    """Change the portal's row: column to an SQL expression."""
    changes = ", ".join(f"{name} = {value}" for name, value in columns.items())
    db.session.execute(text(f"UPDATE portals SET {changes}"))  # noqa: S608 - our own words
    db.session.commit()


def end_the_pause():
    """After a failure nobody asks for a second, which is long for a test."""
    change_row(refresh_leased_until="NULL")


def row():
    found = db.session.execute(select(Portal.__table__)).mappings().one()
    db.session.rollback()
    return found


def ends_in(seconds):
    return f"now() + interval '{seconds} seconds'"


def opens(sandbox, token):
    access = sandbox.sandbox.registry.find_access(token)
    return access is not None and access.expires_at > sandbox.sandbox.clock.now_ms()


def test_a_client_speaks_to_the_portal_that_granted(portal_id):
    assert get_details(portals.connect(portal_id)).hub_id == DEFAULT_PORTAL_ID


def test_a_token_is_stored_encrypted_before_it_is_used(tokens, refresh_token):
    token = tokens.get()
    stored = row()

    assert stored["access_token"]
    assert tokens._decrypt(stored["access_token"]) == token
    assert tokens._decrypt(stored["refresh_token"]) == refresh_token
    everything = " ".join(map(str, stored.values()))
    assert token not in everything
    assert refresh_token not in everything


def test_a_token_is_used_for_as_long_as_it_is_good(tokens, make_tokens, refreshes):
    first = tokens.get()

    assert {tokens.get(), make_tokens().get(), make_tokens().get()} == {first}
    assert refreshes() == 1


def test_a_token_that_is_held_is_not_looked_up_again(tokens):
    tokens.get()
    first = tokens.get()
    change_row(access_token="NULL", refresh_token="NULL")

    assert tokens.get() == first


@pytest.mark.parametrize(("left", "count"), [(MARGIN + 10, 1), (MARGIN - 10, 2), (-10, 2)])
def test_a_token_is_refreshed_five_minutes_before_it_ends(make_tokens, refreshes, left, count):
    make_tokens().get()
    change_row(access_expires_at=ends_in(left))

    make_tokens().get()

    assert refreshes() == count


def test_the_end_of_a_token_is_the_one_that_hubspot_told(tokens, sandbox):
    sandbox.sandbox.settings.access_token_seconds = 900
    try:
        tokens.get()
    finally:
        sandbox.sandbox.settings.access_token_seconds = 1800

    left = "SELECT extract(epoch FROM access_expires_at - now()) FROM portals"
    assert 880 < db.session.scalar(text(left)) <= 900


def test_a_token_that_hubspot_refuses_is_renewed_once_and_the_call_repeated(
    portal_id, sandbox, refreshes
):
    client = portals.connect(portal_id)
    get_details(client)
    sandbox.sandbox.registry.expire_tokens()

    assert get_details(client).hub_id == DEFAULT_PORTAL_ID
    assert refreshes() == 2


def test_a_token_that_another_process_renewed_already_is_taken_from_there(make_tokens, refreshes):
    here, there = make_tokens(), make_tokens()
    old = here.get()
    there.get()
    new = there.renew(old)

    assert here.renew(old) == new
    assert refreshes() == 2


@pytest.mark.parametrize("is_slow", [False, True], ids=["fast", "slow"])
def test_of_many_that_need_a_token_one_asks(at_once, sandbox, refreshes, is_slow):
    if is_slow:
        sandbox.set_faults([{"kind": "slow", "seconds": 0.3, "match": "oauth"}])

    found = at_once(8, lambda tokens: tokens.get())

    assert len(set(found)) == 1
    assert opens(sandbox, found[0])
    assert refreshes() == 1


def test_of_many_whose_token_is_refused_one_asks(at_once, tokens, refreshes):
    old = tokens.get()

    found = at_once(8, lambda tokens: tokens.renew(old))

    assert len({*found, old}) == 2
    assert refreshes() == 2


def test_while_one_refreshes_the_others_go_on_with_what_is_still_good(
    at_once, make_tokens, refreshes
):
    old = make_tokens().get()
    change_row(access_expires_at=ends_in(MARGIN - 10))
    one = make_tokens()
    one._lease(one._read())

    # Without patience: nobody waits.
    assert set(at_once(6, lambda tokens: replace(tokens, patience=0).get())) == {old}
    assert refreshes() == 1


def test_each_rotated_refresh_token_is_stored_for_the_next_time(
    make_tokens, rotating, refresh_token, sandbox
):
    seen = {refresh_token}
    for _ in range(3):
        token = make_tokens().get()
        assert opens(sandbox, token)
        seen.add(make_tokens()._decrypt(row()["refresh_token"]))
        change_row(access_expires_at=ends_in(0))

    assert len(seen) == 4


def test_many_at_once_do_not_lose_a_rotated_refresh_token(at_once, rotating, sandbox, refreshes):
    for _ in range(3):
        found = at_once(6, lambda tokens: tokens.get())
        assert len(set(found)) == 1
        assert opens(sandbox, found[0])
        change_row(access_expires_at=ends_in(0))

    assert refreshes() == 3


def test_a_crash_between_hubspots_answer_and_the_store_heals(make_tokens, refreshes, sandbox):
    crashed = make_tokens()
    stored = crashed._read()
    assert crashed._lease(stored)
    crashed.app.refresh(crashed.settings.hubspot_refresh_token)  # It dies with the answer in hand.
    # That its lease ends sooner than it would is for this test to be short.
    change_row(refresh_leased_until=ends_in(0.2))

    assert opens(sandbox, make_tokens().get())
    assert refreshes() == 2


def test_a_lease_lasts_longer_than_hubspot_is_waited_for(make_tokens):
    tokens = make_tokens(patience=0)
    tokens._lease(tokens._read())

    with pytest.raises(HubSpotUnavailableError, match="Another process"):
        make_tokens(patience=0.1).get()
    left = "SELECT extract(epoch FROM refresh_leased_until - now()) FROM portals"
    assert 20 < db.session.scalar(text(left)) <= LEASE.total_seconds()


def test_who_comes_late_with_an_answer_stores_it_unless_another_did(make_tokens, sandbox):
    # Its lease ran out while it waited, and another was given the next.
    late, other = make_tokens(), make_tokens()
    stored = late._read()
    late._lease(stored)
    change_row(refresh_leased_until="NULL")
    token = other.get()

    assert late._refresh(stored) == ""
    assert late.get() == token


def test_who_is_refused_late_does_not_disable_what_another_stored(make_tokens, rotating, sandbox):
    late, other = make_tokens(), make_tokens()
    stored = late._read()
    late._lease(stored)
    change_row(refresh_leased_until="NULL")
    other.get()

    # HubSpot calls the token used up, and so it is.
    assert late._refresh(stored) == ""
    assert opens(sandbox, late.get())
    assert row()["disabled_reason"] is None


def test_a_rotated_token_that_comes_late_heals_what_another_disabled(
    make_tokens, rotating, sandbox, refresh_token
):
    late, other = make_tokens(), make_tokens()
    stored = late._read()
    late._lease(stored)
    grant = late.app.refresh(refresh_token)
    change_row(refresh_leased_until="NULL")
    with pytest.raises(HubSpotRevokedError):
        other.get()
    late._store(stored, grant)

    assert opens(sandbox, other.get())


def test_a_token_that_is_still_good_serves_while_hubspot_gives_no_other(make_tokens, sandbox):
    old = make_tokens().get()
    change_row(access_expires_at=ends_in(MARGIN - 10))
    sandbox.set_faults([{"kind": "status", "status": 503, "match": "oauth"}])

    assert {make_tokens().get() for _ in range(5)} == {old}
    # Not each of them has asked.
    assert sandbox.requests()["by_route"]["POST (struck by status)"] == 1


def test_without_a_token_hubspots_outage_is_told_and_passes(make_tokens, sandbox):
    sandbox.set_faults([{"kind": "status", "status": 503, "match": "oauth"}])
    with pytest.raises(HubSpotUnavailableError):
        make_tokens().get()
    sandbox.set_faults([])
    end_the_pause()

    assert opens(sandbox, make_tokens().get())


@pytest.mark.parametrize(
    "fault",
    [
        *({"kind": "status", "status": each} for each in (423, 429, 477, 500, 502, 503, 504, 521)),
        {"kind": "slow", "seconds": 0.1},
        {"kind": "reset_before"},
        {"kind": "reset_after"},
        {"kind": "truncated_json"},
        {"kind": "html"},
        {"kind": "expire_token"},
    ],
    ids=lambda fault: str(fault.get("status", fault["kind"])),
)
def test_no_fault_of_hubspots_costs_push_more_than_a_pause(portal_id, sandbox, fault):
    sandbox.set_faults([{**fault, "count": 1, "match": "oauth"}])
    push(portal_id)
    assert sandbox.sandbox.faults.describe()[0]["struck"] == 1
    assert row()["disabled_reason"] is None

    change_row(push_retry_at="NULL", refresh_leased_until="NULL")
    push(portal_id)

    assert portals.find_push_pause(portal_id) is None
    assert portals.is_set_up(portal_id)


def test_our_own_app_being_refused_disables_nothing(make_tokens, sandbox):
    with pytest.raises(HubSpotAuthError, match="HUBSPOT_CLIENT_SECRET"):
        make_tokens(hubspot_client_secret="wrong").get()

    end_the_pause()

    assert row()["disabled_reason"] is None
    assert opens(sandbox, make_tokens().get())


def test_a_revoked_grant_disables_the_portal_with_a_reason(make_tokens, sandbox, refresh_token):
    sandbox.sandbox.registry.revoke(refresh_token)

    for _ in range(3):
        with pytest.raises(HubSpotRevokedError, match="set HUBSPOT_REFRESH_TOKEN"):
            make_tokens().get()

    assert "refresh token is invalid, expired or revoked" in row()["disabled_reason"]
    assert sandbox.requests()["total"] == 1


def test_a_new_refresh_token_in_the_settings_enables_the_portal_again(
    make_tokens, sandbox, refresh_token, grant
):
    sandbox.sandbox.registry.revoke(refresh_token)
    with pytest.raises(HubSpotRevokedError):
        make_tokens().get()

    token = make_tokens(hubspot_refresh_token=grant()).get()

    assert opens(sandbox, token)
    assert row()["disabled_reason"] is None


def test_what_is_stored_wins_over_a_setting_that_stayed_the_same(
    make_tokens, rotating, sandbox, refresh_token
):
    make_tokens().get()
    assert refresh_token not in sandbox.sandbox.registry.grants
    change_row(access_token="NULL", access_expires_at="NULL")

    # A new process, with the setting that was used up long ago.
    assert opens(sandbox, make_tokens().get())


def test_a_setting_that_changed_wins_over_a_token_that_is_still_good(make_tokens, grant, sandbox):
    old = make_tokens().get()
    new = make_tokens(hubspot_refresh_token=grant())

    assert new.get() != old
    assert opens(sandbox, new.get())


def test_many_processes_that_start_with_a_new_setting_ask_once(at_once, rotating, refreshes):
    assert len(set(at_once(8, lambda tokens: tokens.get()))) == 1
    assert refreshes() == 1


def test_a_new_key_in_front_reads_the_old_and_encrypts_from_then_on(make_tokens, refreshes):
    token = make_tokens().get()
    assert make_tokens(encryption_keys=f"{OTHER_KEY}, {KEY}").get() == token
    change_row(access_expires_at=ends_in(0))
    new = make_tokens(encryption_keys=f"{OTHER_KEY},{KEY}").get()

    assert make_tokens(encryption_keys=OTHER_KEY).get() == new
    assert refreshes() == 2


def test_tokens_whose_key_is_lost_are_kept_and_the_error_says_what_to_do(make_tokens):
    token = make_tokens().get()

    with pytest.raises(HubSpotAuthError, match="back into ENCRYPTION_KEYS"):
        make_tokens(encryption_keys=OTHER_KEY).get()
    assert make_tokens().get() == token


def test_tokens_whose_key_is_lost_give_way_to_a_new_setting(make_tokens, grant, sandbox):
    make_tokens().get()

    token = make_tokens(encryption_keys=OTHER_KEY, hubspot_refresh_token=grant()).get()

    assert opens(sandbox, token)


def test_without_a_key_nothing_is_stored(make_tokens):
    with pytest.raises(HubSpotAuthError, match="ENCRYPTION_KEYS is not set"):
        make_tokens(encryption_keys="")


def test_push_pauses_with_the_reason_and_goes_on_with_a_new_token(
    portal_id, sandbox, refresh_token, grant, change_settings
):
    sandbox.sandbox.registry.revoke(refresh_token)
    push(portal_id)

    assert "expired or revoked; connect" in portals.find_push_pause(portal_id).reason

    change_settings(hubspot_refresh_token=grant())
    change_row(push_retry_at="NULL")
    push(portal_id)

    assert portals.find_push_pause(portal_id) is None
    assert portals.is_set_up(portal_id)
    assert portals.list_connected_portal_ids() == [portal_id]


def test_no_transaction_is_open_while_hubspot_is_asked(make_tokens, sandbox, make_settings):
    open_ones = []
    given = {"access_token": "a", "refresh_token": "r", "expires_in": 1800}

    def handler(_):
        with closing(psycopg2.connect(make_settings().database_url)) as watching:
            cursor = watching.cursor()
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND state LIKE 'idle in transaction%'"
            )
            open_ones.extend(cursor.fetchone())
        return Answer(200, given)

    with Relay(sandbox.url) as relay:
        relay.handler = handler
        token = make_tokens(hubspot_api_url=relay.url).get()

    assert (token, open_ones) == ("a", [0])


def test_neither_log_nor_repr_holds_a_token(tokens, sandbox, refresh_token, portal_id, caplog):
    caplog.set_level("DEBUG")
    token = tokens.get()
    client = portals.connect(portal_id)
    get_details(client)
    sandbox.sandbox.registry.revoke(refresh_token)
    with pytest.raises(HubSpotRevokedError) as caught:
        client.token.renew(token)
    shown = f"{caplog.text} {tokens!r} {client!r} {caught.value!r} {tokens._read()!r}"

    assert "hubspot token refreshed" in caplog.text
    assert "hubspot portal disabled" in caplog.text
    assert not any(each in shown for each in (token, refresh_token, KEY, DEFAULT_APP.client_secret))
