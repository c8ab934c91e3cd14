"""Settings: which source wins, what is refused, and what is never shown."""

import base64
import os
import subprocess
import sys

import pytest

from crm.config import EMBEDDED_FILE, PROJECT, load_settings
from crm.errors import ConfigError

# 32 bytes in URL-safe base64.
KEY = base64.urlsafe_b64encode(b"k" * 32).decode()
OAUTH = {
    "HUBSPOT_CLIENT_ID": "an id",
    "HUBSPOT_CLIENT_SECRET": "a secret",
    "HUBSPOT_REFRESH_TOKEN": "a token",
    "HUBSPOT_PRIVATE_APP_TOKEN": "",
    "ENCRYPTION_KEYS": KEY,
}
GOOD = {
    "FLASK_ENV": "production",
    "DATABASE_URL": "postgresql://crm@db/crm",
    "SECRET_KEY": "s" * 32,
    "JWT_SECRET_KEY": "j" * 32,
    "HUBSPOT_PRIVATE_APP_TOKEN": "pat-eu1-1",
}


@pytest.fixture
def project(tmp_path):
    """Writes the files of a project folder, and reads its settings."""

    def load(files=None, environ=None, embedded=True):
        for name, lines in (files or {}).items():
            (tmp_path / name).write_text(lines)
        return load_settings(environ or {}, project=tmp_path, embedded=embedded)

    return load


def test_the_environment_wins_over_env_local_which_wins_over_env(project):
    files = {
        ".env": "PORT=1\nSANDBOX_PORT=1\nLOG_LEVEL=DEBUG",
        ".env.local": "PORT=2\nSANDBOX_PORT=2",
    }

    settings = project(files, {"PORT": "3"})

    assert (settings.port, settings.sandbox_port, settings.log_level) == (3, 2, "DEBUG")


def test_an_empty_value_counts_as_not_set(project):
    settings = project({".env": "PORT=1", ".env.local": "PORT="}, {"PORT": "", "LOG_LEVEL": ""})

    assert (settings.port, settings.log_level) == (1, "INFO")


def test_what_flask_copied_from_env_into_the_environment_does_not_beat_env_local(project):
    files = {".env": "REGISTRATION=open", ".env.local": "REGISTRATION=closed"}

    assert project(files, {"REGISTRATION": "open"}).registration == "closed"


def test_settings_file_is_read_in_place_of_env_local(project, tmp_path):
    files = {".env": "PORT=1", ".env.local": "PORT=2\nSANDBOX_PORT=2", "made": "PORT='3'"}
    named = {"SETTINGS_FILE": str(tmp_path / "made")}

    assert project(files, named).port == 3
    assert project(files, named).sandbox_port == 4013
    assert project(files, named | {"PORT": "4"}).port == 4


def test_a_dollar_sign_in_settings_file_is_one(project, tmp_path):
    files = {"made": "HUBSPOT_CLIENT_SECRET='${PATH}'"}

    settings = project(files, {"SETTINGS_FILE": str(tmp_path / "made")})

    assert settings.hubspot_client_secret == "${PATH}"


def test_settings_file_that_is_not_there_is_one_line(project, tmp_path):
    with pytest.raises(ConfigError, match=r"SETTINGS_FILE is .*/made, and there is no such file"):
        project(environ={"SETTINGS_FILE": str(tmp_path / "made")})


def test_a_flask_command_really_sees_env_local(tmp_path):
    # As a user runs it: in the project's folder, where flask finds .env by itself.
    for name, lines in {".env": "PORT=1111", ".env.local": "PORT=2222"}.items():
        (tmp_path / name).write_text(lines)
    (tmp_path / "shown.py").write_text(
        "from pathlib import Path\n"
        "from flask import Flask\n"
        "from crm.config import load_settings\n"
        "app = Flask('shown')\n"
        "port = load_settings(project=Path('.'), embedded=False).port\n"
        "app.cli.command('show')(lambda: print('port', port))\n"
    )

    shown = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "shown", "show"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert shown.stdout == "port 2222\n"


def test_what_run_py_wrote_about_its_parts_is_the_weakest(project, tmp_path):
    (tmp_path / "data").mkdir()
    files = {
        ".env": f"DATA_DIR={tmp_path / 'data'}",
        f"data/{EMBEDDED_FILE}": "DATABASE_URL=postgresql://embedded/crm\nPORT=5",
    }

    assert project(files).database_url == "postgresql://embedded/crm"
    assert project(files).port == 5
    assert project(files, {"PORT": "6"}).port == 6
    assert project(files, embedded=False).port == 4012


def test_production_does_not_look_at_embedded_parts(project, tmp_path):
    files = {EMBEDDED_FILE: "DATABASE_URL=postgresql://embedded/crm"}

    with pytest.raises(ConfigError, match="DATABASE_URL"):
        project(files, GOOD | {"DATABASE_URL": "", "DATA_DIR": str(tmp_path)})


MALFORMED = [
    ("PORT", "http"),
    ("PORT", "0"),
    ("PORT", "65536"),
    ("PORT", "4012.5"),
    ("SANDBOX_PORT", "-1"),
    ("FLASK_ENV", "prod"),
    ("DATABASE_URL", "mysql://crm@db/crm"),
    ("DATABASE_URL", "db.example.com"),
    ("REDIS_URL", "localhost:6379"),
    ("HUBSPOT_API_URL", "api.hubapi.com"),
    ("HUBSPOT_API_URL", "https://ada:hush@api.hubapi.com"),
    ("HUBSPOT_API_VERSION", "v4"),
    ("HUBSPOT_API_VERSION", "2026"),
    ("ENCRYPTION_KEYS", "k" * 44),
    ("ENCRYPTION_KEYS", f"{KEY},"),
    ("PUBLIC_URL", "crm.example.com"),
    ("PUBLIC_URL", "https://crm.example.com/?a=1"),
    ("PUBLIC_URL", "https://ada:hush@crm.example.com"),
    ("WEB_CONCURRENCY", "0"),
    ("WEB_CONCURRENCY", "many"),
    ("WORKER_CONCURRENCY", "-4"),
    ("REGISTRATION", "maybe"),
    ("CONTACTS_VISIBLE_TO_USERS", "none"),
    ("RATE_LIMIT", "a lot"),
    ("RATE_LIMIT", "10"),
    ("RATE_LIMIT_SIGN_IN", "ten per minute"),
    ("TRUSTED_PROXIES", "all"),
    ("OPEN_ACCESS", "perhaps"),
    ("BIND", "127.0.0.1:4012"),
    ("BIND", "[127.0.0.1]"),
    ("BIND", "[::1]:4012"),
    ("BIND", "crm.example.com"),
    ("BIND", "127.0.0.1,::1"),
    ("BIND", "127.1"),
    ("BIND", "::1%lo"),
    ("BIND", "*"),
    ("CORS_ORIGINS", "*"),
    ("CORS_ORIGINS", "null"),
    ("CORS_ORIGINS", "https://*.example.com"),
    ("CORS_ORIGINS", "https://app.example.com/"),
    ("CORS_ORIGINS", "https://app.example.com/path"),
    ("CORS_ORIGINS", "https://app.example.com?a=1"),
    ("CORS_ORIGINS", "https://ada@app.example.com"),
    ("CORS_ORIGINS", "https://app.example.com:443"),
    ("CORS_ORIGINS", "http://app.example.com:80"),
    ("CORS_ORIGINS", "https://app.example.com:"),
    ("CORS_ORIGINS", "https://app.example.com:99999999"),
    ("CORS_ORIGINS", "https://App.example.com"),
    ("CORS_ORIGINS", "https://app..example.com"),
    ("CORS_ORIGINS", "app.example.com"),
    ("CORS_ORIGINS", "file://"),
    ("CORS_ORIGINS", "https://a.example.com,,https://b.example.com"),
    ("CORS_ORIGINS", "https://a.example.com https://b.example.com"),
    ("DATABASE_URL", "mysql+psycopg2://crm@db/crm"),
    ("DATABASE_URL", "postgresql+://crm@db/crm"),
    ("DATABASE_URL", "postgresql+psycopg2:/crm"),
    ("LOG_LEVEL", "verbose"),
    ("DEV_TOKENS", "maybe"),
]


@pytest.mark.parametrize(("name", "value"), MALFORMED)
def test_a_malformed_value_is_one_line_that_names_the_variable(project, name, value):
    with pytest.raises(ConfigError) as caught:
        project(environ={name: value})

    assert caught.value.message.startswith(f"{name}: ")
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "address",
    ["postgresql://a:b@db/crm", "postgres://a:b@db:5432/crm?sslmode=require", "postgresql:///crm"],
)
def test_a_database_address_reaches_sqlalchemy_with_its_driver(project, address):
    settings = project(environ={"DATABASE_URL": address})

    assert settings.sqlalchemy_url == "postgresql+psycopg2" + address[address.index("://") :]


@pytest.mark.parametrize("driver", ["psycopg2", "psycopg", "asyncpg", "pg8000", "psycopg_async"])
@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_the_driver_in_a_database_address_is_ignored(project, scheme, driver):
    rest = "://crm:p%40s%2Fs%3Aw+d%25@db:5433/crm?host=/var/run/postgresql&sslmode=prefer"

    settings = project(environ={"DATABASE_URL": f"{scheme}+{driver}{rest}"})

    assert settings.database_url == scheme + rest
    assert settings.sqlalchemy_url == "postgresql+psycopg2" + rest


@pytest.mark.parametrize(
    ("given", "expected", "here", "is_loopback"),
    [
        ("", "127.0.0.1", "http://localhost:4012", True),
        ("127.0.0.1", "127.0.0.1", "http://localhost:4012", True),
        ("localhost", "127.0.0.1", "http://localhost:4012", True),
        ("127.0.0.5", "127.0.0.5", "http://127.0.0.5:4012", True),
        ("::1", "::1", "http://localhost:4012", True),
        ("[::1]", "::1", "http://localhost:4012", True),
        ("0:0:0:0:0:0:0:1", "::1", "http://localhost:4012", True),
        ("0.0.0.0", "0.0.0.0", "http://localhost:4012", False),  # noqa: S104
        ("::", "::", "http://localhost:4012", False),
        ("192.168.1.5", "192.168.1.5", "http://192.168.1.5:4012", False),
        ("fd00::5", "fd00::5", "http://[fd00::5]:4012", False),
    ],
)
def test_the_service_listens_on_the_address_that_is_given(
    project, given, expected, here, is_loopback
):
    settings = project(environ={"BIND": given})

    assert settings.listen_address == expected
    assert settings.listens_to_this_machine_only is is_loopback
    assert settings.local_url == here
    assert settings.redirect_uri("notion").startswith(here)


def test_production_listens_on_all_interfaces_unless_told_otherwise(project):
    addresses = [
        project(environ=GOOD | changes).listen_address for changes in ({}, {"BIND": "10.0.0.5"})
    ]

    assert addresses == ["0.0.0.0", "10.0.0.5"]  # noqa: S104


def test_front_ends_are_named_with_commas_and_blanks_between_them(project):
    given = "https://app.example.com, http://localhost:3000,http://[::1]:8080"

    assert project(environ={"CORS_ORIGINS": given}).front_ends == (
        *("https://app.example.com", "http://localhost:3000", "http://[::1]:8080"),
    )
    assert project().front_ends == ()


@pytest.mark.parametrize(
    ("changes", "lack"),
    [
        ({}, None),
        ({"OPEN_ACCESS": "1"}, None),
        ({"BIND": "::1"}, None),
        ({"OPEN_ACCESS": "0"}, "OPEN_ACCESS is 0"),
        ({"BIND": "::"}, "BIND lets other machines in"),
        ({"PUBLIC_URL": "http://localhost:4012"}, "PUBLIC_URL is set"),
        ({"TRUSTED_PROXIES": "1"}, "TRUSTED_PROXIES is set"),
        (GOOD, "FLASK_ENV is production"),
    ],
)
def test_settings_that_let_others_reach_the_service_end_open_access(project, changes, lack):
    assert project(environ=changes).lack_of_open_access == lack


def test_a_file_that_cannot_be_read_is_one_line_that_names_it(tmp_path):
    (tmp_path / ".env.local").write_bytes(b"SECRET_KEY=\xff\xfe")

    with pytest.raises(ConfigError, match=r"\.env\.local cannot be read"):
        load_settings({}, project=tmp_path)


UNSAFE = [
    ({"SECRET_KEY": ""}, "SECRET_KEY"),
    ({"JWT_SECRET_KEY": ""}, "JWT_SECRET_KEY"),
    ({"SECRET_KEY": "s" * 31}, "SECRET_KEY"),
    ({"JWT_SECRET_KEY": "j" * 31}, "JWT_SECRET_KEY"),
    ({"SECRET_KEY": "change-me-" * 5}, "SECRET_KEY"),
    ({"JWT_SECRET_KEY": "your-Secret-Key-" * 3}, "JWT_SECRET_KEY"),
    ({"DATABASE_URL": ""}, "DATABASE_URL"),
    ({"WEB_CONCURRENCY": "2"}, "REDIS_URL"),
    ({"DEV_TOKENS": "1"}, "DEV_TOKENS"),
    ({"OPEN_ACCESS": "1"}, "OPEN_ACCESS"),
    (OAUTH | {"ENCRYPTION_KEYS": ""}, "ENCRYPTION_KEYS"),
    ({"PUBLIC_URL": "http://crm.example.com"}, "PUBLIC_URL"),
]


@pytest.mark.parametrize(("changes", "named"), UNSAFE)
def test_production_refuses_what_is_unsafe_and_says_which(project, changes, named):
    with pytest.raises(ConfigError) as caught:
        project(environ=GOOD | changes)

    assert caught.value.message.startswith(named)
    assert all(value not in caught.value.message for value in changes.values() if len(value) > 8)


def test_production_starts_with_everything_set(project):
    settings = project(environ=GOOD | {"WEB_CONCURRENCY": "2", "REDIS_URL": "redis://redis/0"})

    assert settings.is_production


def test_production_starts_with_oauth(project):
    settings = project(environ=GOOD | OAUTH | {"ENCRYPTION_KEYS": f"{KEY}, {KEY}"})

    assert settings.has_portal
    assert not any("HUBSPOT" in each for each in settings.warnings())


INCOMPLETE = [
    ({"HUBSPOT_CLIENT_ID": ""}, "HUBSPOT_CLIENT_ID is not set"),
    ({"HUBSPOT_CLIENT_SECRET": ""}, "HUBSPOT_CLIENT_SECRET is not set"),
    ({"HUBSPOT_CLIENT_SECRET": "", "HUBSPOT_REFRESH_TOKEN": ""}, "HUBSPOT_CLIENT_SECRET is not"),
    ({"HUBSPOT_PRIVATE_APP_TOKEN": "pat-eu1-1"}, "remove the first"),
]


@pytest.mark.parametrize(("changes", "sentence"), INCOMPLETE)
def test_credentials_that_are_incomplete_or_of_two_kinds_are_refused(project, changes, sentence):
    with pytest.raises(ConfigError, match=sentence):
        project(environ=OAUTH | changes)


def test_a_private_app_may_have_a_secret_for_its_webhooks(project):
    settings = project(environ={"HUBSPOT_PRIVATE_APP_TOKEN": "x", "HUBSPOT_CLIENT_SECRET": "y"})

    assert settings.has_portal


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("https://crm.example.com", "https://crm.example.com/webhooks/hubspot"),
        ("https://crm.example.com/", "https://crm.example.com/webhooks/hubspot"),
        ("https://example.com:8443/crm", "https://example.com:8443/crm/webhooks/hubspot"),
        ("", ""),
    ],
)
def test_webhooks_come_to_the_public_address(project, given, expected):
    assert project(environ={"PUBLIC_URL": given}).webhook_url == expected


def test_nothing_of_an_older_runs_sandbox_mixes_with_a_portal_of_ones_own(project, tmp_path):
    files = {
        EMBEDDED_FILE: "HUBSPOT_API_URL=http://127.0.0.1:4013\n"
        "HUBSPOT_PRIVATE_APP_TOKEN=pat-na1-sandbox\nSECRET_KEY=kept",
    }

    settings = project(files, OAUTH | {"DATA_DIR": str(tmp_path)})

    assert settings.hubspot_private_app_token == ""
    assert settings.hubspot_api_url == "https://api.hubapi.com"
    assert settings.secret_key == "kept"


def test_development_needs_nothing(project):
    assert project().flask_env == "development"


def test_the_committed_env_file_is_harmless_and_complete():
    lines = (PROJECT / ".env").read_text().splitlines()
    given = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    settings = load_settings(given, embedded=False)

    assert {name.lower() for name in given} == set(vars(settings))
    assert settings == load_settings({}, project=PROJECT / "nowhere", embedded=False)
    assert not any(value for name, value in given.items() if "SECRET" in name or "TOKEN" in name)


@pytest.mark.parametrize(
    ("changes", "warned"),
    [
        ({}, True),
        ({"REGISTRATION": "closed"}, False),
        ({"CONTACTS_VISIBLE_TO_USERS": "own"}, False),
        ({"FLASK_ENV": "development"}, False),
    ],
    ids=str,
)
def test_production_warns_when_every_registered_user_reads_every_contact(project, changes, warned):
    warnings = project(environ=GOOD | changes).warnings()

    assert any("CONTACTS_VISIBLE_TO_USERS=all" in each for each in warnings) is warned


def test_production_warns_without_a_portal(project):
    warnings = project(environ=GOOD | {"HUBSPOT_PRIVATE_APP_TOKEN": ""}).warnings()

    assert any("HUBSPOT_PRIVATE_APP_TOKEN" in each for each in warnings)


@pytest.mark.parametrize(
    ("given", "redirect_uri"),
    [
        ({}, "http://localhost:4012/integrations/{}/oauth2callback"),
        ({"PORT": "80"}, "http://localhost:80/integrations/{}/oauth2callback"),
        ({"PUBLIC_URL": "https://a.b/c/"}, "https://a.b/c/integrations/{}/oauth2callback"),
    ],
)
@pytest.mark.parametrize("provider", ["hubspot", "airtable"])
def test_browsers_come_back_to_the_public_address(project, given, redirect_uri, provider):
    assert project(environ=given).redirect_uri(provider) == redirect_uri.format(provider)


def test_an_app_of_ones_own_uses_nothing_of_an_earlier_sandbox(project, tmp_path):
    names = ("HUBSPOT_API_URL", "AIRTABLE_API_URL", "NOTION_API_URL")
    written = "".join(f"{name}=http://sandbox\n" for name in names)
    own = {"HUBSPOT_CLIENT_ID": "an id", "HUBSPOT_CLIENT_SECRET": "s"}
    files = {".env": f"DATA_DIR={tmp_path}", EMBEDDED_FILE: written}

    assert project(files).notion_api_url == "http://sandbox"
    settings = project(files, environ=own)
    assert (settings.hubspot_api_url, settings.airtable_api_url, settings.notion_api_url) == (
        "https://api.hubapi.com",
        "https://api.airtable.com",
        "https://api.notion.com",
    )


@pytest.mark.parametrize("name", ["AIRTABLE", "NOTION", "HUBSPOT"])
def test_an_app_without_its_secret_is_refused(project, name):
    with pytest.raises(ConfigError, match=f"{name}_CLIENT_SECRET is not set"):
        project(environ={f"{name}_CLIENT_ID": "an id"})


def test_settings_never_show_a_secret(project):
    secrets = {
        "SECRET_KEY": "secret-1-" * 4,
        "JWT_SECRET_KEY": "secret-2-" * 4,
        "DATABASE_URL": "postgresql://crm:{}@db/crm".format("secret-3"),
        "REDIS_URL": "redis://:secret-4@redis/0",
        "HUBSPOT_CLIENT_ID": "an id",
        "HUBSPOT_CLIENT_SECRET": "secret-5",
        "HUBSPOT_REFRESH_TOKEN": "secret-6",
        "AIRTABLE_CLIENT_SECRET": "secret-9",
        "NOTION_CLIENT_SECRET": "secret-10",
        "ENCRYPTION_KEYS": base64.urlsafe_b64encode(b"secret-7" * 4).decode(),
    }

    settings = project(environ=secrets)
    shown = repr(settings) + str(settings)

    assert "secret-" not in shown
    assert secrets["ENCRYPTION_KEYS"] not in shown


def test_settings_never_show_a_private_apps_token(project):
    settings = project(environ={"HUBSPOT_PRIVATE_APP_TOKEN": "secret-8"})

    assert "secret-8" not in repr(settings) + str(settings)


def test_settings_cannot_be_changed(project):
    with pytest.raises(AttributeError):
        project().port = 1
