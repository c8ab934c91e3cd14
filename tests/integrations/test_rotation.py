"""Rotating the encryption: everything under the first key, beside a running service."""

import base64

import pytest
from cryptography.fernet import Fernet, MultiFernet
from sqlalchemy import LargeBinary, text

from crm.accounts import users
from crm.db import Base, db, transaction
from crm.errors import ConfigError
from crm.integrations.store import RedisStore, get_store
from crm.operations import key_rotation
from crm.operations.key_rotation import rotate
from tests.integrations.conftest import KEY, OTHER_KEY

THIRD_KEY = base64.urlsafe_b64encode(b"t" * 32).decode()


def keep(portal_id, value, **columns):
    """Store tokens in a portal's row, under the key that is the only one so far."""
    secret = Fernet(KEY).encrypt(value)
    with transaction() as session:
        session.execute(
            text(
                "UPDATE portals SET refresh_token = :secret, access_token = :secret WHERE id = :id"
            ),
            {"secret": secret, "id": portal_id},
        )
        for name, expression in columns.items():
            session.execute(text(f"UPDATE portals SET {name} = {expression}"))  # noqa: S608


def stored(portal_id):
    db.session.rollback()
    rows = db.session.execute(
        text("SELECT refresh_token, access_token FROM portals WHERE id = :id"), {"id": portal_id}
    )
    return [bytes(each) for each in rows.one()]


@pytest.fixture
def new_key(change_settings):
    """Put a new key in front."""
    return lambda: change_settings(encryption_keys=f"{OTHER_KEY},{KEY}")


def test_everything_is_under_the_first_key_afterwards(browser, portal_id, new_key, change_settings):
    keep(portal_id, b"a token")
    browser.connect("airtable")
    waiting = browser.consent(browser.begin("notion"))
    new_key()

    done = rotate()

    assert (done.rotated, done.lost) == (4, 0)
    assert [Fernet(OTHER_KEY).decrypt(each) for each in stored(portal_id)] == [b"a token"] * 2
    # So the old key can go.
    change_settings(encryption_keys=OTHER_KEY)
    assert browser.get("/airtable/items").status_code == 200
    assert browser.client.get(waiting).status_code == 200


def test_done_again_it_changes_nothing(portal_id, new_key):
    keep(portal_id, b"a token")
    new_key()
    rotate()
    before = stored(portal_id)

    assert rotate().rotated == 0
    assert stored(portal_id) == before


def test_more_rows_than_a_batch_are_all_rotated(new_key, monkeypatch):
    for at in range(5):
        users.create_organization(f"Number {at}")
    ids = db.session.scalars(text("SELECT id FROM portals")).all()
    for each in ids:
        keep(each, f"token {each}".encode())
    new_key()
    monkeypatch.setattr(key_rotation, "BATCH", 2)

    assert rotate().rotated == 12
    for each in ids:
        found = [Fernet(OTHER_KEY).decrypt(secret) for secret in stored(each)]
        assert found == [f"token {each}".encode()] * 2


def test_what_no_key_decrypts_stays_and_is_counted(portal_id, change_settings):
    keep(portal_id, b"a token")
    before = stored(portal_id)
    change_settings(encryption_keys=f"{OTHER_KEY},{THIRD_KEY}")

    done = rotate()

    assert (done.rotated, done.lost) == (0, 2)
    assert stored(portal_id) == before


def test_a_token_that_is_being_refreshed_is_waited_for(portal_id, new_key):
    """Else whoever refreshes would not store what HubSpot gave, and a token may count once."""
    keep(portal_id, b"a token", refresh_leased_until="now() + interval '1 minute'")
    new_key()
    before = stored(portal_id)
    seen = []

    def pause(_):
        seen.append(stored(portal_id)[0])
        with transaction() as session:
            session.execute(text("UPDATE portals SET refresh_leased_until = NULL"))

    done = rotate(pause)

    assert seen == [before[0]]
    assert done.rotated == 2
    assert Fernet(OTHER_KEY).decrypt(stored(portal_id)[0]) == b"a token"


def test_a_value_that_was_replaced_meanwhile_is_not_overwritten(portal_id, new_key, monkeypatch):
    keep(portal_id, b"an old token")
    new_key()
    rotate_one = MultiFernet.rotate

    def replace_meanwhile(vault, secret):
        monkeypatch.undo()
        keep(portal_id, b"a new token")
        return rotate_one(vault, secret)

    monkeypatch.setattr(MultiFernet, "rotate", replace_meanwhile)

    rotate(lambda _: None)

    found = [Fernet(OTHER_KEY).decrypt(each) for each in stored(portal_id)]
    assert found == [b"a new token"] * 2


def test_what_is_kept_in_redis_is_rotated_until_its_own_end(make_app, redis_url):
    app = make_app(REDIS_URL=redis_url, ENCRYPTION_KEYS=f"{OTHER_KEY},{KEY}")
    with app.app_context():
        assert isinstance(get_store(), RedisStore)
        for key in get_store().list_keys(""):
            get_store().forget(key)
        get_store().put("connection:airtable:1", Fernet(KEY).encrypt(b"tokens"), 60)

        assert rotate().rotated == 1
        secret = get_store().take("connection:airtable:1")
    assert Fernet(OTHER_KEY).decrypt(secret) == b"tokens"


def test_without_a_key_there_is_nothing_to_rotate(change_settings):
    change_settings(encryption_keys="")

    with pytest.raises(ConfigError, match="ENCRYPTION_KEYS is not set"):
        rotate()


def test_the_command_tells_what_it_did(app, portal_id, new_key):
    keep(portal_id, b"a token")
    new_key()

    result = app.test_cli_runner().invoke(args=["keys", "rotate-encryption"])

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("2 stored under the first key")


def test_every_token_that_a_table_keeps_is_rotated():
    kept = {
        (table.name, column.name)
        for table in Base.metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, LargeBinary) and column.name.endswith("token")
    }

    assert kept == set(key_rotation.COLUMNS)
