"""The first service of docker-compose.yml: what it makes, keeps, hands on and refuses."""

import os
import stat
import subprocess
import sys
from base64 import urlsafe_b64encode
from contextlib import closing
from dataclasses import replace

import psycopg2
import pytest
from cryptography.fernet import Fernet
from psycopg2.extensions import make_dsn

from crm.config import PROJECT, load_settings
from crm.errors import ConfigError
from crm.setup.__main__ import set_up
from crm.setup.demo_database import make_demo_database
from crm.setup.volumes import Volumes, render
from hubspot_sandbox import DEFAULT_TOKEN

PORTAL = {"HUBSPOT_PRIVATE_APP_TOKEN": "pat-eu1-1"}
KEYS = [urlsafe_b64encode(letter * 32).decode() for letter in (b"a", b"b", b"c")]
BEFORE = {
    "SECRET_KEY": "s" * 43 + "=",
    "JWT_SECRET_KEY": "j" * 43 + "=",
    "ENCRYPTION_KEYS": KEYS[0],
    "METRICS_TOKEN": "m" * 43 + "=",
    "POSTGRES_PASSWORD": "of the time=",
}


class Installation:
    """Volumes and the operator's files, in folders."""

    def __init__(self, folder):
        self.folder = folder
        for name in ("project", "settings", "password", "database", "sandbox", "proxy"):
            (folder / name).mkdir()
        self.volumes = Volumes(
            project=folder / "project",
            settings=folder / "settings" / "crm.env",
            password=folder / "password" / "postgres",
            database=folder / "database",
            sandbox=folder / "sandbox" / "serve",
            site=folder / "proxy" / "site",
            owner=os.getuid(),
        )
        (folder / "project" / ".env").write_text((PROJECT / ".env").read_text())

    def write(self, text="", **lines):
        text += "".join(f"{name}={value}\n" for name, value in lines.items())
        (self.folder / "project" / ".env.local").write_text(text)

    def up(self, **environ):
        """Run it as Compose does, then let Postgres make its files; returns what it said."""
        said = set_up(self.volumes, environ)
        made = self.folder / "database" / "18" / "docker" / "PG_VERSION"
        made.parent.mkdir(parents=True, exist_ok=True)
        made.write_text("18\n")
        return said

    def settings(self):
        return load_settings(
            {"SETTINGS_FILE": str(self.volumes.settings), "FLASK_ENV": "production"},
            project=self.folder,
        )

    @property
    def password(self):
        return self.volumes.password.read_text()

    @property
    def serves(self):
        return self.volumes.sandbox.exists()

    def lose_database(self):
        (self.folder / "database" / "18" / "docker" / "PG_VERSION").unlink()


@pytest.fixture
def installation(tmp_path):
    return Installation(tmp_path)


def test_a_first_run_makes_every_secret(installation):
    installation.up()
    made = installation.settings()

    assert all(len(each) == 44 for each in (made.secret_key, made.jwt_secret_key))
    assert Fernet(made.encryption_keys)
    assert len({made.secret_key, made.jwt_secret_key, made.encryption_keys}) == 3
    assert made.database_url.startswith("postgresql://crm:")
    assert made.redis_url == "redis://redis:6379/0"


def test_a_second_run_changes_nothing(installation):
    installation.up()
    files = [installation.volumes.settings, installation.volumes.password]
    before = [each.read_text() for each in files]
    installation.up()

    assert [each.read_text() for each in files] == before


def test_settings_that_were_restored_by_hand_are_again_for_their_owner_only(installation):
    installation.up()
    before = installation.settings()
    installation.volumes.settings.chmod(0o644)
    installation.up()

    assert installation.settings() == before
    assert stat.S_IMODE(installation.volumes.settings.stat().st_mode) == 0o600


def test_what_setup_writes_only_its_owner_reads(installation):
    installation.up()
    files = [installation.volumes.settings, installation.volumes.password]

    assert [stat.S_IMODE(each.stat().st_mode) for each in files] == [0o600, 0o600]


def test_the_databases_password_lies_alone(installation):
    installation.up()

    assert [each.name for each in (installation.folder / "password").iterdir()] == ["postgres"]
    assert installation.password in installation.settings().database_url.replace("%3D", "=")


def test_the_shell_wins_over_env_local_which_wins_over_env(installation):
    installation.write(LOG_LEVEL="DEBUG", REGISTRATION="closed")

    installation.up(LOG_LEVEL="WARNING", REGISTRATION="open")

    # Compose hands the values of .env on as if they stood in the shell.
    assert installation.settings().log_level == "WARNING"
    assert installation.settings().registration == "closed"


def test_secrets_of_the_operator_win_over_made_ones(installation):
    installation.up()
    installation.write(SECRET_KEY="o" * 40)
    installation.up(JWT_SECRET_KEY="p" * 40)

    assert installation.settings().secret_key == "o" * 40
    assert installation.settings().jwt_secret_key == "p" * 40


def test_made_secrets_stay_when_everything_else_changes(installation):
    installation.up()
    before = installation.settings()
    installation.write(LOG_LEVEL="DEBUG", **PORTAL)
    installation.up()
    after = installation.settings()

    assert (after.secret_key, after.jwt_secret_key, after.encryption_keys) == (
        *(before.secret_key, before.jwt_secret_key),
        before.encryption_keys,
    )


def test_a_token_that_is_no_longer_set_is_forgotten(installation):
    installation.write(METRICS_TOKEN="m" * 40, **PORTAL)
    installation.up()
    installation.write()
    installation.up()

    assert installation.settings().hubspot_private_app_token == ""
    assert installation.settings().metrics_token == ""


@pytest.mark.parametrize(
    "value",
    ["it's", 'a "b"', "ends\\", "a\\'b", "${HOME}$x", "a # b", " é "],
)
def test_a_value_arrives_as_it_was_set(installation, value):
    installation.up(HUBSPOT_CLIENT_SECRET=value, **PORTAL)

    assert installation.settings().hubspot_client_secret == value


def test_a_password_of_any_letters_reaches_the_database(installation):
    installation.up(POSTGRES_PASSWORD="a@b/c:d%40'e f")

    assert installation.password == "a@b/c:d%40'e f"
    assert "a%40b%2Fc%3Ad%2540%27e%20f@db" in installation.settings().database_url
    assert "POSTGRES_PASSWORD=" not in installation.volumes.settings.read_text()


def test_secrets_of_the_edition_before_are_taken_over(installation):
    installation.write(**BEFORE)
    installation.up()
    made = installation.settings()

    assert (made.secret_key, made.jwt_secret_key) == (
        BEFORE["SECRET_KEY"],
        BEFORE["JWT_SECRET_KEY"],
    )
    assert (made.encryption_keys, made.metrics_token) == (KEYS[0], BEFORE["METRICS_TOKEN"])
    assert installation.password == BEFORE["POSTGRES_PASSWORD"]


@pytest.fixture
def older(installation):
    """An installation of the edition before: a database, and no volume of ours."""
    installation.up()
    for file in (
        *(installation.volumes.settings, installation.volumes.password),
        *(installation.volumes.sandbox, installation.volumes.site),
    ):
        file.unlink()
    return installation


def test_an_older_installation_keeps_its_database_and_its_password(older):
    older.write(**BEFORE)
    older.up()

    assert older.password == BEFORE["POSTGRES_PASSWORD"]
    assert older.settings().database_url.endswith("@db:5432/crm")
    assert not older.serves


def test_an_older_installation_without_encryption_keys_is_given_one(older):
    older.write(**{name: value for name, value in BEFORE.items() if name != "ENCRYPTION_KEYS"})
    older.up()

    assert Fernet(older.settings().encryption_keys)


def test_the_files_of_an_older_installation_may_go_once_it_was_taken_over(older):
    older.write(**BEFORE)
    older.up()
    before = older.settings()
    older.write()
    older.up()

    assert replace(older.settings(), metrics_token=before.metrics_token) == before


def test_a_database_whose_password_nobody_knows_is_refused(older):
    with pytest.raises(ConfigError, match=r"put it as POSTGRES_PASSWORD into \.env\.local"):
        older.up()

    assert not older.volumes.settings.exists()


def test_a_wrong_password_of_an_older_database_can_be_corrected(older):
    older.write(**BEFORE | {"POSTGRES_PASSWORD": "wrong"})
    older.up()
    older.write(**BEFORE)
    older.up()

    assert older.password == BEFORE["POSTGRES_PASSWORD"]


def test_the_password_stays_once_its_database_exists(installation):
    installation.up()
    before = installation.password
    installation.write(POSTGRES_PASSWORD="another")
    said = installation.up()

    assert installation.password == before
    assert "the database keeps the password that it was made with" in said[0]


def test_the_password_can_be_set_before_its_database_exists(installation):
    set_up(installation.volumes, {})
    installation.up(POSTGRES_PASSWORD="chosen")

    assert installation.password == "chosen"


def test_a_lost_volume_of_the_password_is_made_again_from_the_settings(installation):
    installation.up(POSTGRES_PASSWORD="a@b")
    installation.volumes.password.unlink()
    installation.up()

    assert installation.password == "a@b"


def test_lost_settings_beside_a_database_need_the_former_encryption_keys(installation):
    installation.up()
    password = installation.password
    keys = installation.settings().encryption_keys
    installation.volumes.settings.unlink()

    with pytest.raises(ConfigError, match="ENCRYPTION_KEYS is not known any more"):
        installation.up()
    installation.write(ENCRYPTION_KEYS=keys)
    installation.up()

    assert installation.settings().encryption_keys == keys
    assert installation.password == password


def test_a_lost_database_is_made_again_with_the_same_secrets(installation):
    installation.up()
    before = installation.settings(), installation.password
    installation.lose_database()
    installation.up()

    assert (installation.settings(), installation.password) == before


def test_a_new_key_in_front_of_the_former_one_is_taken(installation):
    installation.up(ENCRYPTION_KEYS=KEYS[0])
    installation.up(ENCRYPTION_KEYS=f"{KEYS[1]}, {KEYS[0]}")
    installation.up(ENCRYPTION_KEYS=KEYS[1])

    assert installation.settings().encryption_keys == KEYS[1]


@pytest.mark.parametrize("keys", [KEYS[2], f"{KEYS[2]},{KEYS[0]}"])
def test_keys_without_the_former_first_one_are_refused(installation, keys):
    installation.up(ENCRYPTION_KEYS=f"{KEYS[1]},{KEYS[0]}")

    with pytest.raises(ConfigError, match="lacks the key that tokens are stored under") as caught:
        installation.up(ENCRYPTION_KEYS=keys)

    assert installation.settings().encryption_keys == f"{KEYS[1]},{KEYS[0]}"
    assert not any(key in caught.value.message for key in KEYS)


def test_keys_are_free_where_no_database_holds_tokens(installation):
    installation.up(ENCRYPTION_KEYS=KEYS[0])
    installation.lose_database()
    installation.up(ENCRYPTION_KEYS=KEYS[1])

    assert installation.settings().encryption_keys == KEYS[1]


def test_the_sandbox_serves_a_fresh_installation_on_a_database_of_its_own(installation):
    said = installation.up()
    settings = installation.settings()

    assert installation.serves
    assert settings.hubspot_api_url == "http://sandbox:4013"
    assert settings.hubspot_private_app_token == DEFAULT_TOKEN
    assert settings.database_url.endswith("/crm_demo")
    assert "HubSpot is the sandbox" in said[-1]


@pytest.mark.parametrize(
    "given",
    [
        PORTAL,
        {
            "HUBSPOT_REFRESH_TOKEN": "r",
            "HUBSPOT_CLIENT_ID": "i",
            "HUBSPOT_CLIENT_SECRET": "s",
        },
        {"HUBSPOT_CLIENT_ID": "i", "HUBSPOT_CLIENT_SECRET": "s"},
        {"HUBSPOT_API_URL": "https://hubspot.example.com"},
        {"DATABASE_URL": "postgresql://ada@elsewhere/crm"},
    ],
    ids=list,
)
def test_the_sandbox_never_serves_beside_a_portal_or_a_database_of_ones_own(installation, given):
    installation.up(**given)

    assert not installation.serves
    assert "sandbox" not in installation.settings().hubspot_api_url
    assert not installation.settings().database_url.endswith("/crm_demo")


def test_a_token_given_later_begins_on_the_empty_database(installation):
    installation.up()
    installation.write(**PORTAL)
    said = installation.up()

    assert not installation.serves
    assert installation.settings().database_url.endswith("@db:5432/crm")
    assert installation.settings().hubspot_api_url == "https://api.hubapi.com"
    assert "the portal of the token" in said[-1]


def test_a_token_that_goes_missing_means_waiting(installation):
    installation.up()
    installation.up(**PORTAL)
    said = installation.up()

    assert not installation.serves
    assert installation.settings().database_url.endswith("@db:5432/crm")
    assert "waits until there is one" in said[-1]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("PORT=5000", "Compose reads it from the shell or .env"),
        ("BIND=0.0.0.0", "Compose reads it from the shell or .env"),
        ("COMPOSE_PROFILES=proxy", "Compose reads it from the shell or .env"),
        ("DATA_DIR=/tmp", "in containers it is fixed"),
        ("FLASK_ENV=development", "in containers it is fixed"),
        ("HUBSPOT_TOKEN=x", "there is no such setting"),
        ("LOG_LEVEL", "it has no ="),
    ],
)
def test_a_line_that_does_nothing_is_named(installation, line, why):
    installation.write(f"{line}\n")
    said = installation.up(PORT="4012", LOG_LEVEL="INFO")

    name = line.partition("=")[0]
    assert said[0] == f"{name} in .env.local does nothing: {why}"


def test_a_line_that_compose_was_told_to_read_is_not_named(installation):
    installation.write(PORT="5000", LOG_LEVEL="DEBUG", SECRET_KEY="")

    assert len(installation.up(PORT="5000")) == 1


def test_a_line_that_the_shell_overrules_is_named(installation):
    installation.write(LOG_LEVEL="DEBUG")

    assert "the shell sets another value" in installation.up(LOG_LEVEL="ERROR")[0]


def test_malformed_lines_do_not_stop_the_others(installation, caplog):
    installation.write("this is no setting\n= 1\nLOG_LEVEL=DEBUG\n")
    installation.up()

    assert installation.settings().log_level == "DEBUG"
    assert "line 1" in caplog.text


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"REGISTRATION": "perhaps"}, "REGISTRATION"),
        ({"SECRET_KEY": "short"}, "SECRET_KEY"),
        ({"HUBSPOT_REFRESH_TOKEN": "r"}, "HUBSPOT_CLIENT_ID"),
        ({"DEV_TOKENS": "1"}, "DEV_TOKENS"),
        ({"PUBLIC_URL": "http://crm.example.com"}, "PUBLIC_URL"),
        ({"ENCRYPTION_KEYS": "k"}, "ENCRYPTION_KEYS"),
    ],
    ids=str,
)
def test_what_the_service_would_refuse_is_refused_before_anything_is_written(
    installation, given, named
):
    with pytest.raises(ConfigError, match=named):
        installation.up(**given)

    assert not installation.volumes.settings.exists()


def test_an_address_of_https_means_one_proxy(installation):
    installation.up(PUBLIC_URL="https://crm.example.com/", TRUSTED_PROXIES="0")

    assert installation.settings().trusted_proxies == 1
    assert installation.volumes.site.read_text() == "https://crm.example.com"


@pytest.mark.parametrize("count", [0, 2])
def test_another_number_of_proxies_is_the_operators_word(installation, count):
    installation.write(PUBLIC_URL="https://crm.example.com", TRUSTED_PROXIES=count)
    installation.up()

    assert installation.settings().trusted_proxies == count


@pytest.mark.parametrize(
    ("bind", "warned"), [("10.0.0.5", True), ("127.0.0.1", False), ("", False)]
)
def test_a_service_that_is_published_past_its_proxy_is_told_of(installation, bind, warned):
    said = installation.up(PUBLIC_URL="https://crm.example.com", BIND=bind)

    assert any("PROXY_BIND" in line for line in said) is warned


def test_without_an_address_no_proxy_is_trusted(installation):
    installation.up()

    assert installation.settings().trusted_proxies == 0
    assert installation.volumes.site.read_text() == ""


def test_a_volume_that_cannot_be_written_is_one_line_and_leaves_what_was_there(installation):
    installation.up()
    before = installation.volumes.settings.read_text()
    (installation.folder / "settings" / ".crm.env").mkdir()

    with pytest.raises(ConfigError, match=r"crm\.env cannot be written"):
        installation.up(LOG_LEVEL="DEBUG")

    assert installation.volumes.settings.read_text() == before


@pytest.mark.parametrize("name", ["settings", "password"])
def test_a_volume_with_garbage_is_one_line_that_names_the_file(installation, name):
    installation.up()
    getattr(installation.volumes, name).write_bytes(b"\xff\xfe")

    with pytest.raises(ConfigError, match="cannot be read"):
        installation.up()


def test_settings_are_read_as_they_were_written(tmp_path):
    (tmp_path / "settings").write_text(render({"A": "${B}'\\", "B": "1\n2"}))

    assert Volumes(settings=tmp_path / "settings").read_settings() == {"A": "${B}'\\", "B": "1\n2"}


def databases(address):
    with closing(psycopg2.connect(address)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT datname FROM pg_database")
        return {name for (name,) in cursor.fetchall()}


def test_the_database_of_the_demo_is_made_once(postgres):
    address = postgres("beside_the_demo")
    for _ in range(2):
        make_demo_database(make_dsn(address, dbname="crm_demo"))

    assert "crm_demo" in databases(address)


@pytest.mark.parametrize("address", ["postgresql://nowhere/crm", "postgresql://nowhere"])
def test_a_database_of_ones_own_is_left_alone(address):
    make_demo_database(address)


def test_setup_outside_of_its_container_is_one_line_and_exit_code_1(tmp_path):
    run = subprocess.run(
        [sys.executable, "-m", "crm.setup"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == "/database cannot be read: No such file or directory\n"


def test_setup_comes_without_the_app():
    # It runs before each start, and as root.
    shown = subprocess.run(
        [sys.executable, "-c", "import sys, crm.setup.__main__; print(*sys.modules)"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert not {"flask", "sqlalchemy", "crm.factory", "hubspot_sandbox"} & set(shown.stdout.split())
