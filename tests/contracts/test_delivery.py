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
# What only `python run.py` reads; in containers, ports are fixed and parts have hosts of their own.
SETTINGS_OF_THE_LAUNCHER = {"BIND", "PORT", "SANDBOX_PORT", "DATA_DIR", "LOG_REQUESTS"}
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


@pytest.mark.parametrize("name", ["web", "worker", "migrate"])
def test_compose_hands_every_setting_on(services, name):
    assert set(services[name]["environment"]) == set(SETTINGS) - SETTINGS_OF_THE_LAUNCHER


@pytest.mark.parametrize("name", ["web", "worker", "migrate"])
def test_compose_runs_production_and_demands_its_secrets(services, name):
    environment = services[name]["environment"]

    assert environment["FLASK_ENV"] == "production"
    assert all(":?" in environment[key] for key in ("SECRET_KEY", "JWT_SECRET_KEY"))


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
