"""Settings: read once from the environment and the .env files, checked, and never changed again.

The only module of the app that reads ``os.environ``. From the strongest to the weakest: the
environment, ``.env.local`` (not in git), ``.env`` (committed, harmless), and what ``python run.py``
wrote about the embedded parts it started. ``SETTINGS_FILE`` in the environment names another file
to read in place of ``.env.local``; in containers it is the one that ``crm.setup`` wrote. An empty
value counts as not set.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet
from dotenv import dotenv_values
from limits import parse as parse_rate
from marshmallow import EXCLUDE, Schema, ValidationError
from marshmallow import fields as parsers
from marshmallow.validate import Length, OneOf, Range, Regexp
from psycopg2 import ProgrammingError
from psycopg2.extensions import parse_dsn

from crm.errors import ConfigError

PROJECT = Path(__file__).resolve().parent.parent
EMBEDDED_FILE = "embedded.env"
"""In the data folder: how the other commands reach the parts that ``run.py`` started."""

DEMO_EMAIL = "demo@example.com"
DEMO_PASSWORD = "demo-password"  # noqa: S105 - of an account on this machine, on sandbox data

NEW_SECRET = "`head -c 32 /dev/urandom | base64 | tr '+/' '-_'` makes one"  # noqa: S105 - how, not what
"""Any 32 random bytes in URL-safe base64 are a Fernet key, and good enough for every secret."""

WEBHOOK_PATH = "/webhooks/hubspot"
OAUTH_CALLBACK_PATH = "/integrations/{provider}/oauth2callback"

_SANDBOXED = ("HUBSPOT_", "AIRTABLE_", "NOTION_")
_SHORTEST_SECRET = 32
_KNOWN_SECRETS = ("change", "secret-key", "example", "development", "password")
_PORT = Range(min=1, max=65535)


def _rate(value: str) -> None:
    try:
        parse_rate(value)
    except ValueError as error:
        raise ValidationError("must read like: 10 per 1 minute") from error


# As browsers write it: small letters, no path, and no port that goes without saying.
_ORIGIN = re.compile(
    r"(?!http://[^/]*:80$|https://[^/]*:443$)"
    r"https?://([a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?"
)


def _origins(value: str) -> None:
    for each in value.split(","):
        if not _ORIGIN.fullmatch(each.strip()):
            raise ValidationError(
                "must be origins as browsers send them, such as https://app.example.com or "
                "http://localhost:3000, with commas between them"
            )


class _ListenAddress(parsers.String):
    """An address to listen on, in the one way in which it is compared and written."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        given = super()._deserialize(value, attr, data, **kwargs)
        if given == "localhost":
            return "127.0.0.1"
        if "%" in given:
            raise ValidationError("must have no zone")
        is_bracketed = given.startswith("[") and given.endswith("]")
        try:
            found = ip_address(given[1:-1] if is_bracketed else given)
        except ValueError as error:
            raise ValidationError(
                "must be an address of this machine, such as 127.0.0.1, 0.0.0.0 or ::"
            ) from error
        if is_bracketed and found.version == 4:
            raise ValidationError("must have no brackets, unless it is an IPv6 address")
        return str(found)


class _DatabaseUrl(parsers.String):
    """A database's address without the driver that others name in it; each of ours is known."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        given = super()._deserialize(value, attr, data, **kwargs)
        return re.sub(r"^(postgres(?:ql)?)\+\w+://", r"\1://", given)


def _address(value: str) -> None:
    try:
        parse_dsn(value)
    except ProgrammingError as error:
        # Its own words repeat the address, and with it the password.
        raise ValidationError("is malformed; it must be like postgresql://user@host/db") from error


def _encryption_keys(value: str) -> None:
    try:
        for key in value.split(","):
            Fernet(key.strip())
    except ValueError as error:
        raise ValidationError("must be Fernet keys with commas between them") from error


def _setting(default: Any, parse: parsers.Field[Any], *, secret: bool = False) -> Any:
    return field(default=default, repr=not secret, metadata={"parse": parse})


def _host(default: str = "") -> Any:
    form = Regexp(r"https?://[^/?#\s@]+(/[^?#\s]*)?$", error="must be like https://host")
    return _setting(default, parsers.String(validate=form))


_POLICY = "(newest|hubspot|local)"


@dataclass(frozen=True)
class Settings:
    """Every setting, by its environment variable in lower case."""

    flask_env: str = _setting(
        "development", parsers.String(validate=OneOf(("development", "production")))
    )
    bind: str = _setting("", _ListenAddress())
    port: int = _setting(4012, parsers.Integer(validate=_PORT))
    sandbox_port: int = _setting(4013, parsers.Integer(validate=_PORT))
    data_dir: str = _setting("", parsers.String())
    database_url: str = _setting(
        "",
        _DatabaseUrl(
            validate=[Regexp(r"postgres(ql)?://", error="must begin with postgresql://"), _address]
        ),
        secret=True,
    )
    redis_url: str = _setting(
        "",
        parsers.String(validate=Regexp(r"rediss?://|unix://", error="must begin with redis://")),
        secret=True,
    )
    secret_key: str = _setting("", parsers.String(), secret=True)
    jwt_secret_key: str = _setting("", parsers.String(), secret=True)
    hubspot_private_app_token: str = _setting("", parsers.String(), secret=True)
    hubspot_client_id: str = _setting("", parsers.String())
    hubspot_client_secret: str = _setting("", parsers.String(), secret=True)
    hubspot_refresh_token: str = _setting("", parsers.String(), secret=True)
    encryption_keys: str = _setting("", parsers.String(validate=_encryption_keys), secret=True)
    public_url: str = _host()
    hubspot_redirect_uri: str = _host()
    hubspot_api_url: str = _host("https://api.hubapi.com")
    hubspot_api_version: str = _setting(
        "2026-09",
        parsers.String(
            validate=Regexp(r"(v3|\d{4}-\d{2}(-beta)?)$", error="must be like 2026-09, or v3")
        ),
    )
    airtable_client_id: str = _setting("", parsers.String())
    airtable_client_secret: str = _setting("", parsers.String(), secret=True)
    airtable_api_url: str = _host("https://api.airtable.com")
    notion_client_id: str = _setting("", parsers.String())
    notion_client_secret: str = _setting("", parsers.String(), secret=True)
    notion_api_url: str = _host("https://api.notion.com")
    web_concurrency: int = _setting(1, parsers.Integer(validate=Range(min=1, max=256)))
    # As many as there are connections for.
    worker_concurrency: int = _setting(4, parsers.Integer(validate=Range(min=1, max=16)))
    conflicts: str = _setting(
        "newest",
        parsers.String(
            validate=Regexp(
                rf"({_POLICY})?(,\s*\w+\.\w+={_POLICY})*$",
                error="must be like newest,contacts.phone=local; there are newest, hubspot, local",
            )
        ),
    )
    scan_retention_days: int = _setting(30, parsers.Integer(validate=Range(min=1, max=3650)))
    registration: str = _setting("open", parsers.String(validate=OneOf(("open", "closed"))))
    contacts_visible_to_users: str = _setting("all", parsers.String(validate=OneOf(("all", "own"))))
    open_access: bool | None = _setting(None, parsers.Boolean())
    dev_tokens: bool = _setting(False, parsers.Boolean())
    rate_limit: str = _setting("1000 per 1 minute", parsers.String(validate=_rate))
    rate_limit_sign_in: str = _setting("10 per 1 minute", parsers.String(validate=_rate))
    rate_limit_results: str = _setting("100000000 per 1 minute", parsers.String(validate=_rate))
    metrics_token: str = _setting(
        "", parsers.String(validate=Length(min=_SHORTEST_SECRET)), secret=True
    )
    cors_origins: str = _setting("", parsers.String(validate=_origins))
    trusted_proxies: int = _setting(0, parsers.Integer(validate=Range(min=0, max=10)))
    log_requests: bool = _setting(False, parsers.Boolean())
    log_level: str = _setting(
        "INFO", parsers.String(validate=OneOf(("DEBUG", "INFO", "WARNING", "ERROR")))
    )

    @property
    def is_production(self) -> bool:
        """Whether this is a real deployment, where every check is strict."""
        return self.flask_env == "production"

    @property
    def sqlalchemy_url(self) -> str:
        """The database for SQLAlchemy, whose driver here is psycopg2."""
        return "postgresql+psycopg2://" + self.database_url.partition("://")[2]

    @property
    def has_portal(self) -> bool:
        """Whether credentials of a HubSpot portal are configured, of whichever kind."""
        return bool(self.hubspot_private_app_token or self.hubspot_refresh_token)

    @property
    def has_own_app(self) -> bool:
        """Whether there is an app of one's own in HubSpot, or a portal that it may speak to."""
        return self.has_portal or bool(self.hubspot_client_id)

    @property
    def listen_address(self) -> str:
        """The address that the service listens on; in a container, others must reach it."""
        return self.bind or ("0.0.0.0" if self.is_production else "127.0.0.1")  # noqa: S104

    @property
    def listens_to_this_machine_only(self) -> bool:
        """Whether nobody else can reach the service, unless something here hands it on."""
        return is_loopback(self.listen_address)

    @property
    def local_host(self) -> str:
        """Where this machine reaches the service, as it stands in an address."""
        found = ip_address(self.listen_address)
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(str(found), str(found))  # noqa: S104
        return f"[{host}]" if found.version == 6 else host

    @property
    def local_url(self) -> str:
        """The same, for people to read and for browsers to come back to."""
        host = "localhost" if self.local_host in ("127.0.0.1", "[::1]") else self.local_host
        return f"http://{host}:{self.port}"

    @property
    def front_ends(self) -> tuple[str, ...]:
        """The origins whose browsers may call the API."""
        return tuple(each.strip() for each in self.cors_origins.split(",") if each)

    @property
    def lack_of_open_access(self) -> str | None:
        """Why calls without a credential must not be let in, whatever ``run.py`` has started."""
        if self.is_production:
            return "FLASK_ENV is production"
        if self.open_access is False:
            return "OPEN_ACCESS is 0"
        if not self.listens_to_this_machine_only:
            return "BIND lets other machines in"
        if self.public_url:
            return "PUBLIC_URL is set"
        return "TRUSTED_PROXIES is set" if self.trusted_proxies else None

    def redirect_uri(self, provider: str) -> str:
        """Where a provider sends browsers back to; it must be named so in the app, to the letter.

        Args:
            provider: its name, such as ``hubspot``.
        """
        if provider == "hubspot" and self.hubspot_redirect_uri:
            return self.hubspot_redirect_uri
        base = self.public_url.rstrip("/") or self.local_url
        return base + OAUTH_CALLBACK_PATH.format(provider=provider)

    @property
    def webhook_url(self) -> str:
        """Where HubSpot sends its webhooks; empty while nobody said how it reaches us."""
        return self.public_url and f"{self.public_url.rstrip('/')}{WEBHOOK_PATH}"

    @property
    def local_webhook_url(self) -> str:
        """Where the sandbox on this machine sends them, whatever others call it."""
        return f"{self.local_url}{WEBHOOK_PATH}"

    @property
    def data_folder(self) -> Path:
        """Where the embedded parts keep their data."""
        return Path(self.data_dir) if self.data_dir else _default_data_folder()

    def warnings(self) -> list[str]:
        """What an operator should know at start, a sentence each."""
        found = []
        if self.is_production and not self.has_portal:
            found.append(
                "Neither HUBSPOT_PRIVATE_APP_TOKEN nor HUBSPOT_REFRESH_TOKEN is set: changes are "
                "kept until a portal is connected"
            )
        if (
            self.is_production
            and self.registration == "open"
            and self.contacts_visible_to_users == "all"
        ):
            found.append(
                "REGISTRATION=open with CONTACTS_VISIBLE_TO_USERS=all: whoever registers reads "
                "every contact; set one of them to closed or own"
            )
        if self.web_concurrency > 1 and not self.redis_url:
            found.append(
                "WEB_CONCURRENCY is above 1 and REDIS_URL is not set: an integration that one web "
                "process connects, the others know nothing of"
            )
        return found


def is_loopback(address: str) -> bool:
    """Whether an IP address leads nowhere but to this machine; what is none does not."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return (mapped or found).is_loopback


def load_settings(
    environ: Mapping[str, str] | None = None, *, project: Path = PROJECT, embedded: bool = True
) -> Settings:
    """Read and check the settings.

    Args:
        environ: the strongest source; the process's own environment when left out.
        project: the folder that holds ``.env`` and ``.env.local``.
        embedded: whether the parts that ``run.py`` started count.

    Raises:
        ConfigError: a value is malformed, or production lacks a secret; one line that names it.
    """
    given = gather(environ, project=project)
    settings = _parse(given)
    if embedded and not settings.is_production:
        given = _embedded(settings) | given
    return check_settings(given)


def check_settings(given: Mapping[str, str]) -> Settings:
    """Check settings that were read.

    Raises:
        ConfigError: a value is malformed, or production lacks a secret; one line that names it.
    """
    settings = _parse(given)
    _refuse_unusable_portal(settings)
    _refuse_unsafe_production(settings)
    return settings


def gather(environ: Mapping[str, str] | None = None, *, project: Path = PROJECT) -> dict[str, str]:
    """Read what is set, unchecked: the environment, the file of one's own settings, and ``.env``.

    Args:
        environ: the strongest source; the process's own environment when left out.
        project: the folder that holds the files.

    Raises:
        ConfigError: a file cannot be read.
    """
    defaults = read_env_file(project / ".env")
    strongest = os.environ if environ is None else environ
    # The flask command copies .env into the environment, where it would beat .env.local.
    strongest = {name: value for name, value in strongest.items() if defaults.get(name) != value}
    named = strongest.get("SETTINGS_FILE")
    if named and not Path(named).exists():
        raise ConfigError(f"SETTINGS_FILE is {named}, and there is no such file")
    own = (
        # As a program wrote it: a dollar sign is one.
        read_env_file(Path(named), interpolate=False)
        if named
        else read_env_file(project / ".env.local")
    )
    return _set(defaults) | _set(own) | _set(strongest)


def read_env_file(file: Path, *, interpolate: bool = True) -> dict[str, str | None]:
    """Read a file of settings; one that is not there is empty.

    Args:
        file: its path.
        interpolate: whether ``${NAME}`` in a value stands for another one.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return dotenv_values(file, interpolate=interpolate)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error


def _embedded(settings: Settings) -> dict[str, str]:
    written = _set(read_env_file(settings.data_folder / EMBEDDED_FILE))
    if not settings.has_own_app:
        return written
    # A portal of one's own, and perhaps an older run's sandbox: nothing of the two may mix.
    return {name: value for name, value in written.items() if not name.startswith(_SANDBOXED)}


def _set(source: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in source.items() if value}


def _parse(given: Mapping[str, str]) -> Settings:
    schema = Schema.from_dict({each.name: each.metadata["parse"] for each in fields(Settings)})
    try:
        values = schema(unknown=EXCLUDE).load(
            {name.lower(): value for name, value in given.items()}
        )
    except ValidationError as error:
        name, problems = next(iter(error.messages_dict.items()))
        raise ConfigError(f"{name.upper()}: {problems[0]}") from error
    return Settings(**values)


def _refuse_unusable_portal(settings: Settings) -> None:
    if settings.hubspot_private_app_token and settings.hubspot_refresh_token:
        raise ConfigError(
            "HUBSPOT_PRIVATE_APP_TOKEN and HUBSPOT_REFRESH_TOKEN are both set; remove the first "
            "to use OAuth, or the second to use the private app"
        )
    for name, needed in (
        ("HUBSPOT_REFRESH_TOKEN", "HUBSPOT_CLIENT_ID"),
        ("HUBSPOT_REFRESH_TOKEN", "HUBSPOT_CLIENT_SECRET"),
        ("HUBSPOT_CLIENT_ID", "HUBSPOT_CLIENT_SECRET"),
        ("AIRTABLE_CLIENT_ID", "AIRTABLE_CLIENT_SECRET"),
        ("NOTION_CLIENT_ID", "NOTION_CLIENT_SECRET"),
    ):
        if getattr(settings, name.lower()) and not getattr(settings, needed.lower()):
            raise ConfigError(
                f"{needed} is not set, and {name} needs it; it is shown where the app was made"
            )
    if not settings.is_production:
        return
    if settings.hubspot_refresh_token and not settings.encryption_keys:
        raise ConfigError(
            f"ENCRYPTION_KEYS is not set; OAuth tokens are stored, and only encrypted: {NEW_SECRET}"
        )
    if settings.public_url.startswith("http://"):
        raise ConfigError("PUBLIC_URL must begin with https://; HubSpot calls nothing else")


def _refuse_unsafe_production(settings: Settings) -> None:
    if not settings.is_production:
        return
    if not settings.database_url:
        raise ConfigError("DATABASE_URL is not set; production needs a Postgres of its own")
    for name in ("secret_key", "jwt_secret_key"):
        value = getattr(settings, name)
        if not value:
            raise ConfigError(f"{name.upper()} is not set; {NEW_SECRET}")
        if len(value) < _SHORTEST_SECRET or any(word in value.lower() for word in _KNOWN_SECRETS):
            raise ConfigError(f"{name.upper()} is too short or well known; {NEW_SECRET}")
    _refuse_open_doors(settings)
    if settings.web_concurrency > 1 and not settings.redis_url:
        raise ConfigError(
            "REDIS_URL is not set; several web processes (WEB_CONCURRENCY) share limits through it"
        )


def _refuse_open_doors(settings: Settings) -> None:
    for name in ("dev_tokens", "open_access"):
        if getattr(settings, name):
            raise ConfigError(
                f"{name.upper()} is set; it makes an admin of anybody, so remove it in production"
            )


def _default_data_folder() -> Path:
    # The embedded Postgres opens the folders above its data to everyone when root starts it,
    # so root's data stays out of home folders; the digest keeps two checkouts apart.
    if os.geteuid() != 0:
        return PROJECT / ".data"
    digest = hashlib.sha256(str(PROJECT).encode()).hexdigest()[:8]
    return Path("/var/lib/crm") / f"{PROJECT.name}-{digest}"
