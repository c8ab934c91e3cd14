"""Reads what there is, and writes what there is to be, into the volumes that others mount."""

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from crm.config import read_env_file
from crm.errors import ConfigError
from crm.setup.plan import Plan


@dataclass(frozen=True)
class Volumes:
    """Where docker-compose.yml mounts what this reads and writes."""

    project: Path = Path("/project")
    """The operator's files, ``.env`` and ``.env.local``."""
    settings: Path = Path("/settings/crm.env")
    password: Path = Path("/password/postgres")
    database: Path = Path("/database")
    sandbox: Path = Path("/data/serve")
    """There while the sandbox serves."""
    site: Path = Path("/proxy/site")
    """The address that the proxy has a certificate for."""
    owner: str | int = "app"
    """Who may read the settings."""

    def read_settings(self) -> dict[str, str]:
        """Read what an earlier run wrote; nothing of it when there was none."""
        found = read_env_file(self.settings, interpolate=False)
        return {name: value for name, value in found.items() if value}

    def read_password(self) -> str:
        """Read the database's password as an earlier run wrote it; empty without one."""
        try:
            return self.password.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{self.password} cannot be read: {error}") from error

    def has_database(self) -> bool:
        """Whether a Postgres of any version has made its files."""
        walk = os.walk(self.database, onerror=_refuse_unreadable)
        return any("PG_VERSION" in files for _, _, files in walk)

    def write(self, plan: Plan) -> None:
        """Write everything.

        Raises:
            ConfigError: it cannot be written; what was there before stays.
        """
        _write(self.password, plan.password)
        _write(self.settings, render(plan.settings), owner=self.owner)
        _write(self.site, plan.site)
        if plan.serves_sandbox:
            _write(self.sandbox, "")
        else:
            self.sandbox.unlink(missing_ok=True)


def render(settings: Mapping[str, str]) -> str:
    """Write settings down so that they are read as they were."""
    lines = "".join(f"{name}='{_escape(settings[name])}'\n" for name in sorted(settings))
    return f"# Written by the service `setup`; change .env.local instead.\n{lines}"


def _refuse_unreadable(error: OSError) -> NoReturn:
    raise ConfigError(f"{error.filename} cannot be read: {error.strerror}") from error


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "\\'")


def _write(file: Path, content: str, *, owner: str | int | None = None) -> None:
    beside = file.with_name(f".{file.name}")
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as new:
            new.write(content)
            new.flush()
            os.fsync(new.fileno())
        if owner is not None:
            shutil.chown(beside, owner)
        beside.replace(file)
    except OSError as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise ConfigError(f"{file} cannot be written: {error.strerror}") from error
