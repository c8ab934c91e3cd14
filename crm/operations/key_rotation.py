"""Encrypt again, with the first of the keys, everything that is encrypted at rest.

It can be interrupted and done again, beside a running service: what is under the first key already
is left alone, and a value changes only if it is still the one that was read.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from flask import current_app
from sqlalchemy import text

from crm.config import Settings
from crm.db import transaction
from crm.errors import ConfigError
from crm.integrations import connections, consent
from crm.integrations.store import get_store
from crm.portals.oauth_tokens import LEASE, make_vault

BATCH = 500
_PAUSE = 0.2

_IS_FREE = "(refresh_leased_until IS NULL OR refresh_leased_until < now())"
COLUMNS = {
    # Who refreshes it stores what comes back only if the one it began with is still there.
    ("portals", "refresh_token"): _IS_FREE,
    ("portals", "access_token"): "true",
    ("scans", "token"): "true",
}
"""Where encrypted values stand, by table and column, and when one may be changed."""


@dataclass
class Rotated:
    """How many values are under the first key now that were not, and how many none decrypts."""

    rotated: int = 0
    lost: int = 0


def rotate(pause: Callable[[float], None] = time.sleep) -> Rotated:
    """Encrypt everything again with the first key.

    Args:
        pause: waits the given seconds, for a refresh that is under way.

    Raises:
        ConfigError: there is no key; or a refresh never ended.
    """
    settings: Settings = current_app.extensions["crm_settings"]
    if not settings.encryption_keys:
        raise ConfigError("ENCRYPTION_KEYS is not set, so nothing is encrypted")
    first = Fernet(settings.encryption_keys.split(",")[0].strip())
    rotation = _Rotation(first, make_vault(settings), Rotated())
    for table, column in COLUMNS:
        rotation.rotate_column(table, column, pause)
    rotation.rotate_store()
    return rotation.done


@dataclass(frozen=True)
class _Rotation:
    first: Fernet
    vault: MultiFernet
    done: Rotated

    def rotate_column(self, table: str, column: str, pause: Callable[[float], None]) -> None:
        """Go through a table, and again for what was in use."""
        patience, lost_before = LEASE.total_seconds() + 5, self.done.lost
        for attempt in count():
            self.done.lost = lost_before
            if not self._pass_through(table, column):
                return
            if attempt * _PAUSE > patience:
                raise ConfigError(f"Some of {table}.{column} are in use; do it again in a moment")
            pause(_PAUSE)

    def _pass_through(self, table: str, column: str) -> int:
        """Rotate what can be; returns how many could not, because somebody was at them."""
        # S608: names of our own, from the table above.
        read = text(f"""
            SELECT id, {column} FROM {table} WHERE id > :after AND {column} IS NOT NULL
            ORDER BY id LIMIT :batch
        """)  # noqa: S608
        write = text(f"""
            UPDATE {table} SET {column} = anew.new
            FROM unnest(CAST(:ids AS bigint[]), CAST(:old AS bytea[]), CAST(:new AS bytea[]))
                AS anew(id, old, new)
            WHERE {table}.id = anew.id AND {column} = anew.old AND {COLUMNS[table, column]}
            RETURNING {table}.id
        """)  # noqa: S608
        after, missed = 0, 0
        while True:
            with transaction() as session:
                rows = [
                    (row[0], bytes(row[1]))
                    for row in session.execute(read, {"after": after, "batch": BATCH})
                ]
            if not rows:
                return missed
            after = rows[-1][0]
            renewed = [(each, old, new) for each, old in rows if (new := self._reencrypted(old))]
            if not renewed:
                continue
            ids, olds, news = map(list, zip(*renewed, strict=True))
            with transaction() as session:
                changed = session.execute(write, {"ids": ids, "old": olds, "new": news}).all()
            self.done.rotated += len(changed)
            missed += len(renewed) - len(changed)

    def rotate_store(self) -> None:
        """The same for what is kept for a while."""
        store = get_store()
        for prefix in (connections.PREFIX, consent.PREFIX):
            for key in store.list_keys(prefix):
                # Done again for as long as others store other values meanwhile.
                while (old := store.find(key)) and (new := self._reencrypted(old)):
                    if store.swap(key, old, new):
                        self.done.rotated += 1

    def _reencrypted(self, secret: bytes) -> bytes | None:
        """The secret under the first key; None if it is already, or no key decrypts it."""
        try:
            self.first.decrypt(secret)
        except InvalidToken:
            try:
                return self.vault.rotate(secret)
            except InvalidToken:
                self.done.lost += 1
        return None
