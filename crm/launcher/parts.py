"""The parts that ``run.py`` starts as processes of their own: how they start, end and are found.

Each names the data folder and its ``run.py`` in its command. So what a killed ``run.py`` left is
found again without a file that may be stale, and nobody else's process is ever touched.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from crm.config import PROJECT

with suppress(ImportError):
    # The container image goes without it: there, nothing outlives the first process.
    import psutil

LONGEST_STOP = 30.0

_LARGEST_LOG = 10_000_000
_LONGEST_DEATH = 5.0
# Python lets anybody say -X with a name of his own, and keeps it in the process's command.
_MARK = "crm-part"


@dataclass(frozen=True)
class Part:
    """Something that must stay alive for as long as we run."""

    name: str
    find_end: Callable[[], str | None]
    """How it ended, such as ``ended with exit code 1``; None while it is alive."""


@dataclass(frozen=True)
class Process:
    """One of our own processes."""

    process: subprocess.Popen[bytes]

    def find_end(self) -> str | None:
        """How it ended, or None."""
        code = self.process.poll()
        return None if code is None else f"ended with exit code {code}"

    def stop(self) -> None:
        """Ask it to end, wait, and insist; also with what it has started itself."""
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(LONGEST_STOP)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@dataclass(frozen=True)
class Parts:
    """Those that were started, and what all of them are given."""

    folder: Path
    log_file: Path | None
    """Where they write what is below a warning; None: to the terminal."""
    running: ExitStack
    """Stops them, the last one first."""
    environment: dict[str, str]
    started: list[Part] = field(default_factory=list)

    def start(self, name: str, module: str, *arguments: str) -> Part:
        """Start a module of Python as a process."""
        with ExitStack() as own:
            process = Process(
                subprocess.Popen(  # noqa: S603 - arguments that run.py wrote itself
                    [sys.executable, "-X", _mark(self.folder), "-m", module, *arguments],
                    cwd=PROJECT,
                    env=self.environment,
                    stdout=own.enter_context(self.log_file.open("ab")) if self.log_file else None,
                    # Ctrl-C is for run.py alone: it stops the parts, one after another, each with
                    # its group.
                    start_new_session=True,
                )
            )
        self.running.callback(process.stop)
        part = Part(name, process.find_end)
        self.started.append(part)
        return part


def find_leftovers(folder: Path) -> list["psutil.Process"]:
    """The parts over a data folder whose ``run.py`` is gone, or is this one."""
    if "psutil" not in globals():
        return []
    mark = re.compile(rf"{_MARK}=(\d+):{re.escape(str(folder))}")
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        for found in map(mark.fullmatch, process.info["cmdline"] or ())
        if found and not _is_other_launcher(int(found[1]))
    ]


def end(
    processes: Collection["psutil.Process"],
    *,
    asked: Iterable["psutil.Process"] | None = None,
    number: int = signal.SIGTERM,
) -> None:
    """Ask processes to end, or some of them that take the others along, wait, and insist."""
    first = processes if asked is None else asked
    for addressed, each, longest in (
        (first, number, LONGEST_STOP),
        (processes, signal.SIGKILL, _LONGEST_DEATH),
    ):
        for process in filter(is_alive, addressed):
            with suppress(psutil.Error):
                process.send_signal(each)
        deadline = time.monotonic() + longest
        while any(map(is_alive, processes)) and time.monotonic() < deadline:
            time.sleep(0.05)


def is_alive(process: "psutil.Process") -> bool:
    """Whether it runs; in a container, nobody may bury what has ended."""
    with suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def keep_small(log_file: Path) -> None:
    """Put a log that has grown large aside, in place of the one before; writers notice."""
    with suppress(FileNotFoundError):
        if log_file.stat().st_size > _LARGEST_LOG:
            log_file.replace(log_file.with_name(f"{log_file.name}.1"))
    log_file.touch(mode=0o600)


def _mark(folder: Path) -> str:
    return f"{_MARK}={os.getpid()}:{folder}"


def _is_other_launcher(pid: int) -> bool:
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        is_launcher = any(Path(word).name == "run.py" for word in process.cmdline())
        return pid != os.getpid() and is_launcher and is_alive(process)
    return False
