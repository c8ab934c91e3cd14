"""What stands around the code agrees with it: settings, pins, commands, image and compose file."""

import os
import re
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from dotenv import dotenv_values
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from crm.config import Settings

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {each.name.upper(): each for each in fields(Settings)}
# In containers the first is always production, nothing is embedded, and each part has its log.
FIXED_IN_CONTAINERS = {"FLASK_ENV", "DATA_DIR", "LOG_REQUESTS"}
# What docker-compose.yml itself reads, beside some settings.
OF_COMPOSE = {"POSTGRES_PASSWORD", "BIND", "PROXY_BIND", "WEB_MEMORY"}
OWN = ["web", "worker", "migrate"]
# Each holds the one before.
PINS = ("requirements.txt", "requirements-run.txt", "requirements-dev.txt")
SECRET_NAME = re.compile(
    r"SECRET|TOKEN|PASSWORD|PRIVATE|ENCRYPTION|CREDENTIAL|API_?KEY", re.IGNORECASE
)


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def dotenv():
    return dotenv_values(ROOT / ".env", interpolate=False)


@pytest.fixture(scope="module")
def services():
    return yaml.safe_load(read("docker-compose.yml"))["services"]


@pytest.fixture(scope="module")
def instructions():
    """The Dockerfile as (instruction, arguments), continued lines joined."""
    lines = read("Dockerfile").replace("\\\n", " ").splitlines()
    return [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]


@pytest.fixture(scope="module")
def targets():
    return dict(re.findall(r"^([a-z-]+):(?!=)(.*)$", read("Makefile"), re.MULTILINE))


def test_dotenv_lists_exactly_the_settings_that_the_service_knows(dotenv):
    assert set(dotenv) == set(SETTINGS)


def test_dotenv_gives_each_setting_its_default_or_nothing(dotenv):
    assert {
        name: value
        for name, value in dotenv.items()
        if name in SETTINGS and value not in {"", str(SETTINGS[name].default)}
    } == {}


def test_dotenv_holds_no_secret(dotenv):
    # Settings keeps what is secret out of its repr.
    secret = {name for name, each in SETTINGS.items() if not each.repr}
    secret |= {name for name in dotenv if SECRET_NAME.search(name)}

    assert {name: dotenv[name] for name in secret if dotenv.get(name)} == {}


def test_dotenv_explains_every_setting_in_the_line_above_it():
    lines = read(".env").splitlines()

    assert [
        line
        for above, line in zip(["", *lines], lines, strict=False)
        if line and not line.startswith("#") and not above.startswith("# ")
    ] == []


def test_compose_file_is_valid_against_the_compose_specification():
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    found = subprocess.run(
        [*check, ROOT / "docker-compose.yml"], capture_output=True, text=True, check=False
    )

    assert found.returncode == 0, found.stdout + found.stderr


def test_every_service_has_a_health_check_or_runs_once(services, instructions):
    awaited = {
        name
        for service in services.values()
        for name, condition in service.get("depends_on", {}).items()
        if condition["condition"] == "service_completed_successfully"
    }
    # The image's own check asks its own command, the web server.
    images_own = {name for name, service in services.items() if "command" not in service}
    checked = {name for name, each in services.items() if "test" in each.get("healthcheck", {})}

    assert "HEALTHCHECK" in {word for word, _ in instructions}
    assert set(services) == checked | awaited | (images_own & {"web"})


def test_compose_hands_every_setting_to_setup(services):
    names = set(SETTINGS) - FIXED_IN_CONTAINERS | OF_COMPOSE

    # With something in front, so that it does not hide from Compose that .env.local has changed.
    assert services["setup"]["environment"] == {f"GIVEN_{each}": f"${{{each}:-}}" for each in names}


def test_compose_can_be_asked_in_any_shell():
    # Else `ps` and `down` would fail in a new one.
    assert "?" not in "".join(re.findall(r"\$\{[^}]*\}", read("docker-compose.yml")))


def test_the_image_runs_production(instructions):
    assert any("FLASK_ENV=production" in arguments for word, arguments in instructions)


def test_secrets_are_mounted_where_they_are_needed_and_nowhere_else(services):
    mounts = {
        (each, name)
        for name, service in services.items()
        for each in service.get("volumes", ())
        if isinstance(each, str) and each.startswith(("settings:", "password:"))
    }

    assert mounts == {
        ("settings:/settings", "setup"),
        ("password:/password", "setup"),
        *(("settings:/settings:ro", name) for name in OWN),
        ("password:/password:ro", "db"),
    }


def test_no_service_but_setup_has_a_secret_in_its_environment(services):
    assert [
        (name, each)
        for name, service in services.items()
        if name != "setup"
        for each in service.get("environment", ())
        if SECRET_NAME.search(each) and not each.endswith("_FILE")
    ] == []


def test_nothing_is_published_beyond_this_machine_unless_bind_says_so(services):
    bound = ("${BIND:-127.0.0.1}:", "${PROXY_BIND:-${BIND:-127.0.0.1}}:", "127.0.0.1:")
    ports = [port for each in services.values() for port in each.get("ports", ())]

    assert [each for each in ports if not each.startswith(bound)] == []
    assert services["sandbox"]["ports"] == ["127.0.0.1:${SANDBOX_PORT:-4013}:4013"]


def test_the_image_is_built_once_and_never_pulled(services):
    ours = {name: each for name, each in services.items() if each["image"] == "crm"}

    assert [name for name, each in services.items() if "build" in each] == ["setup"]
    assert {each["pull_policy"] for each in ours.values()} == {"never"}


def test_what_runs_once_is_not_restarted(services):
    assert {services[name]["restart"] for name in ("setup", "migrate")} == {"no"}


def test_every_service_has_limits_and_rotates_its_log(services):
    assert [
        name
        for name, each in services.items()
        if not (
            each.get("mem_limit")
            and each.get("pids_limit")
            and each["logging"]["options"]["max-size"]
        )
    ] == []


def test_the_worker_can_be_scaled(services):
    assert "container_name" not in services["worker"]
    assert "ports" not in services["worker"]


def test_the_image_does_not_run_as_root(instructions):
    users = [arguments for word, arguments in instructions if word == "USER"]

    assert users[-1].split(":")[0] not in {"root", "0"}


def test_no_secret_stands_in_a_layer_of_the_image(instructions):
    named = [arguments for word, arguments in instructions if word in {"ENV", "ARG"}]

    assert [each for each in named if SECRET_NAME.search(each)] == []
    assert not any(".env" in arguments for word, arguments in instructions if word == "COPY")


def test_every_make_target_has_a_line_of_help(targets):
    assert {"help", "run", "test", "lint", "types"} <= set(targets)
    assert [name for name, rest in targets.items() if " ## " not in rest] == []


def test_every_make_target_is_phony(targets):
    phony = re.search(r"^\.PHONY: (.*)$", read("Makefile"), re.MULTILINE)

    assert phony
    assert set(phony[1].split()) == set(targets)


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        ("requirements.txt", []),
        ("requirements-run.txt", ["embedded"]),
        ("requirements-dev.txt", ["embedded", "dev"]),
    ],
)
def test_pins_cover_what_pyproject_asks_for(name, groups):
    project = tomllib.loads(read("pyproject.toml"))["project"]
    wanted = list(project["dependencies"])
    for group in groups:
        wanted += project["optional-dependencies"][group]
    pinned = {canonicalize_name(pin.name): pin.specifier for pin in read_pins(name)}

    assert [
        text
        for text in wanted
        for asked in [Requirement(text)]
        if not is_pinned_within(asked, pinned.get(canonicalize_name(asked.name)))
    ] == []


def is_pinned_within(asked, pin):
    return pin is not None and asked.specifier.contains(str(pin).removeprefix("=="))


def read_pins(name):
    lines = (line.partition(" #")[0].strip() for line in read(name).splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def test_the_launcher_and_development_pin_the_same_versions_as_the_image():
    image, launcher, development = ({str(pin) for pin in read_pins(name)} for name in PINS)

    assert image < launcher < development


@pytest.mark.parametrize("name", PINS)
def test_pins_are_exact_and_know_no_host_and_no_path(name):
    assert [
        str(pin)
        for pin in read_pins(name)
        if pin.url or not re.fullmatch(r"==[0-9a-z.]+", str(pin.specifier))
    ] == []
    assert not re.search(r"://|^\s*-|file:|@", read(name), re.MULTILINE)


@pytest.fixture
def install(tmp_path):
    """Adds what the tests need to a .venv that runs, whose Python is a line of shell."""

    def make(python):
        for name in ("Makefile", *PINS):
            (tmp_path / name).write_text(read(name))
        (tmp_path / "requirements-dev.txt").write_text("nobody-has-this==1\n")
        command = tmp_path / ".venv" / "bin" / "python"
        command.parent.mkdir(parents=True)
        command.write_text(f"#!/bin/sh\n{python}\n")
        command.chmod(0o755)
        (tmp_path / ".venv" / ".ready-run").touch()
        nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_CONFIG_FILE": os.devnull}
        return subprocess.run(
            ["make", "test"],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"]} | nowhere,
            capture_output=True,
            text=True,
            check=False,
        )

    return make


def test_make_says_in_one_line_that_the_package_index_cannot_be_reached(install, tmp_path):
    done = install(f'exec {sys.executable} "$@"')
    line, makes_own = done.stderr.splitlines()

    assert line.startswith("pip cannot reach the package index: connect this machine")
    assert makes_own.startswith("make: ***")
    # What ran before still does.
    assert (tmp_path / ".venv" / ".ready-run").exists()


def test_an_installation_that_was_killed_halfway_does_not_count_as_ready(install, tmp_path):
    install("kill -9 $$")

    assert list((tmp_path / ".venv").glob(".ready-*")) == []


def test_ci_run_can_be_executed():
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
