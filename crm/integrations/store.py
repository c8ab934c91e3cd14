"""Keep what expires after a while: in Redis, or in the memory of this process.

Memory is for the embedded default, where there is one web process; several need Redis to know of
one another's connections.
"""

import time
from collections.abc import Callable
from functools import wraps
from threading import Lock
from typing import Any, Protocol, TypeVar, cast

import redis
import structlog
from flask import current_app
from redis.backoff import NoBackoff
from redis.retry import Retry

from crm.errors import UnavailableError

log = structlog.get_logger(__name__)

Method = TypeVar("Method", bound=Callable[..., Any])

_EXTENSION = "crm_temporary_store"
_PREFIX = "crm:"
_SWAP = """
    if redis.call('GET', KEYS[1]) == ARGV[1] then
        redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
        return 1
    end
    return 0
"""


class Store(Protocol):
    """Values by key, each with an end. Every method raises ``UnavailableError``."""

    def put(self, key: str, value: bytes, seconds: float) -> None:
        """Keep a value for so long."""

    def claim(self, key: str, seconds: float) -> bool:
        """Whether the key was free, and now is the caller's for so long."""

    def find(self, key: str) -> bytes | None:
        """The value, or None."""

    def take(self, key: str) -> bytes | None:
        """The value, for the one who is first to ask."""

    def replace(self, key: str, value: bytes) -> bool:
        """Keep another value until the same end; False if there was none any more."""

    def swap(self, key: str, old: bytes, new: bytes) -> bool:
        """``replace``, only if the value is still the old one."""

    def forget(self, key: str) -> None:
        """Keep it no longer."""

    def list_keys(self, prefix: str) -> list[str]:
        """The keys that begin so."""


class MemoryStore:
    """A ``Store`` in this process; ``now`` tells seconds that only grow."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        """Begin with nothing."""
        self.now = now
        self._values: dict[str, tuple[bytes, float]] = {}
        self._lock = Lock()

    def put(self, key: str, value: bytes, seconds: float) -> None:
        """See ``Store``."""
        with self._lock:
            self._clean()
            self._values[key] = value, self.now() + seconds

    def claim(self, key: str, seconds: float) -> bool:
        """See ``Store``."""
        with self._lock:
            self._clean()
            is_free = key not in self._values
            if is_free:
                self._values[key] = b"", self.now() + seconds
            return is_free

    def find(self, key: str) -> bytes | None:
        """See ``Store``."""
        with self._lock:
            self._clean()
            return self._values.get(key, (None,))[0]

    def take(self, key: str) -> bytes | None:
        """See ``Store``."""
        with self._lock:
            self._clean()
            return self._values.pop(key, (None,))[0]

    def replace(self, key: str, value: bytes) -> bool:
        """See ``Store``."""
        with self._lock:
            self._clean()
            if key not in self._values:
                return False
            self._values[key] = value, self._values[key][1]
            return True

    def swap(self, key: str, old: bytes, new: bytes) -> bool:
        """See ``Store``."""
        with self._lock:
            self._clean()
            if self._values.get(key, (None,))[0] != old:
                return False
            self._values[key] = new, self._values[key][1]
            return True

    def forget(self, key: str) -> None:
        """See ``Store``."""
        with self._lock:
            self._values.pop(key, None)

    def list_keys(self, prefix: str) -> list[str]:
        """See ``Store``."""
        with self._lock:
            self._clean()
            return [key for key in self._values if key.startswith(prefix)]

    def _clean(self) -> None:
        # There are as many as people connect within some hours: few.
        now = self.now()
        for key in [key for key, (_, until) in self._values.items() if until <= now]:
            del self._values[key]


def _guarded(method: Method) -> Method:
    @wraps(method)
    def call(*args: Any) -> Any:
        try:
            return method(*args)
        except redis.RedisError as error:
            # Its own words may hold the address, and with it the password.
            log.error("redis cannot be used", reason=type(error).__name__)
            raise UnavailableError from error

    return cast(Method, call)


class RedisStore:
    """A ``Store`` that all processes share."""

    def __init__(self, url: str) -> None:
        """Connect when first needed; one that is down or hangs costs half a second."""
        self._redis: Any = redis.Redis.from_url(
            url, socket_connect_timeout=0.5, socket_timeout=0.5, retry=Retry(NoBackoff(), 0)
        )

    @_guarded
    def put(self, key: str, value: bytes, seconds: float) -> None:
        """See ``Store``."""
        self._redis.set(_PREFIX + key, value, px=round(seconds * 1000))

    @_guarded
    def claim(self, key: str, seconds: float) -> bool:
        """See ``Store``."""
        return bool(self._redis.set(_PREFIX + key, b"", px=round(seconds * 1000), nx=True))

    @_guarded
    def find(self, key: str) -> bytes | None:
        """See ``Store``."""
        found: bytes | None = self._redis.get(_PREFIX + key)
        return found

    @_guarded
    def take(self, key: str) -> bytes | None:
        """See ``Store``."""
        found: bytes | None = self._redis.getdel(_PREFIX + key)
        return found

    @_guarded
    def replace(self, key: str, value: bytes) -> bool:
        """See ``Store``."""
        return bool(self._redis.set(_PREFIX + key, value, xx=True, keepttl=True))

    @_guarded
    def swap(self, key: str, old: bytes, new: bytes) -> bool:
        """See ``Store``."""
        return bool(self._redis.eval(_SWAP, 1, _PREFIX + key, old, new))

    @_guarded
    def forget(self, key: str) -> None:
        """See ``Store``."""
        self._redis.delete(_PREFIX + key)

    @_guarded
    def list_keys(self, prefix: str) -> list[str]:
        """See ``Store``."""
        found = self._redis.scan_iter(match=f"{_PREFIX}{prefix}*", count=1000)
        return [key.decode().removeprefix(_PREFIX) for key in found]


def get_store() -> Store:
    """The store of the running service."""
    extensions = current_app.extensions
    if _EXTENSION not in extensions:
        url = extensions["crm_settings"].redis_url
        extensions.setdefault(_EXTENSION, RedisStore(url) if url else MemoryStore())
    store: Store = extensions[_EXTENSION]
    return store
