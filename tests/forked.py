"""Workers that start at once: forked from a process that has imported everything already.

``python -m tests.forked`` starts a worker for each line that it reads, and answers with its id.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Self

from crm import create_app

ROOT = Path(__file__).resolve().parents[1]


class Workers:
    """Real workers of a service, killed in the end."""

    def __init__(self, environment: Mapping[str, str], log: IO[bytes] | None = None) -> None:
        self._environment, self._log = environment, log
        self._alive: set[int] = set()

    def start(self) -> int:
        """Returns the worker's process id."""
        assert self._mother.stdin
        assert self._mother.stdout
        self._mother.stdin.write("start\n")
        self._mother.stdin.flush()
        worker = int(self._mother.stdout.readline())
        self._alive.add(worker)
        return worker

    def kill(self, worker: int) -> None:
        """As when its machine loses power."""
        self._alive.remove(worker)
        os.kill(worker, signal.SIGKILL)

    def stop(self, worker: int) -> None:
        """Ask it to end, as a deployment does; returns when it has."""
        os.kill(worker, signal.SIGTERM)
        while self.is_alive(worker):
            time.sleep(0.02)
        self._alive.remove(worker)

    def kill_all(self) -> None:
        """Kill those that are left."""
        for each in [*self._alive]:
            self.kill(each)

    def is_alive(self, worker: int) -> bool:
        """Whether a worker has not ended by itself."""
        with suppress(ProcessLookupError):
            os.kill(worker, 0)
            return True
        return False

    def __enter__(self) -> Self:
        self._mother = subprocess.Popen(
            [sys.executable, "-m", "tests.forked"],
            cwd=ROOT,
            env=dict(self._environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.kill_all()
        self._mother.communicate()


def main() -> None:
    # Nobody waits for those who are killed.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    app = create_app()
    for _ in sys.stdin:
        worker = os.fork()
        if not worker:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(2, 1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            with app.app_context():
                app.test_cli_runner().invoke(args=["worker"], catch_exceptions=False)
            os._exit(0)
        print(worker, flush=True)  # noqa: T201 - its answer


if __name__ == "__main__":
    main()
