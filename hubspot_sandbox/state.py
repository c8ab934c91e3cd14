"""Keeping a sandbox's state in a file between runs: whole, atomic, soon after each change."""

import logging
import os
import threading
import time
from pathlib import Path
from tempfile import NamedTemporaryFile

from hubspot_sandbox.store import Sandbox

_log = logging.getLogger(__name__)
_SHORTEST_REST_SECONDS = 0.3
# A large state takes long to write: rest four times as long, so that serving stays quick.
_REST_PER_SAVE = 4


class StateError(Exception):
    """The state file cannot be read or written."""


class StateFile:
    """A file that follows a sandbox's state; a kill loses what changed since the last save."""

    def __init__(self, path: Path, sandbox: Sandbox) -> None:
        """Keep the state of a sandbox in a file; nothing is read or written yet."""
        self._path = path
        self._sandbox = sandbox
        self._saved: object = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def load(self) -> None:
        """Read the file if there is one; raise StateError when it is of no use."""
        try:
            self._sandbox.restore(self._path.read_bytes())
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            raise StateError(f"cannot read the state file {self._path}: {error}") from error

    def save(self) -> None:
        """Write the state beside the file, then put it in its place; raise StateError."""
        self._saved = self._sandbox.revision()
        try:
            self._replace(self._sandbox.serialize())
        except OSError as error:
            raise StateError(f"cannot write the state file {self._path}: {error}") from error

    def start(self) -> None:
        """Save once, to know that it works, then after every change."""
        self.save()
        self._thread.start()

    def stop(self) -> None:
        """Save what is not saved yet, and stop following."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        self._save_changes()

    def _follow(self) -> None:
        rest = _SHORTEST_REST_SECONDS
        while not self._stopping.wait(rest):
            started = time.monotonic()
            try:
                self._save_changes()
            except StateError as error:
                _log.error("%s", error)
            rest = max(_SHORTEST_REST_SECONDS, _REST_PER_SAVE * (time.monotonic() - started))

    def _save_changes(self) -> None:
        if self._saved != self._sandbox.revision():
            self.save()

    def _replace(self, content: bytes) -> None:
        with NamedTemporaryFile(
            dir=self._path.parent, prefix=f".{self._path.name}.", delete=False
        ) as temporary:
            try:
                temporary.write(content)
                temporary.flush()
                os.fsync(temporary.fileno())
                Path(temporary.name).replace(self._path)
            except OSError:
                Path(temporary.name).unlink(missing_ok=True)
                raise
