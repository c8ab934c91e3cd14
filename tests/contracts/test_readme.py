"""What README and the pages of docs/ tell a reader to do exists, and what they link to is there."""

import re
import shlex
import subprocess
import sys
import tomllib
from itertools import pairwise
from urllib.parse import urlsplit

import click
import pytest
import yaml
from dotenv import dotenv_values
from werkzeug.exceptions import HTTPException

from crm.version import VERSION
from hubspot_sandbox.app import create_app as create_sandbox_app
from hubspot_sandbox.store import Sandbox
from tests.contracts.source import ROOT

PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])
# Programs of the reader's own machine.
FOREIGN = {"cat", "cd", "curl", "docker", "echo", "export", "git", "grep", "make", "python3"}
FOREIGN |= {"cloudflared", "ngrok"}
OURS = {".venv/bin/python", "flask"}
ANYWHERE = re.MULTILINE | re.DOTALL

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def commands(page):
    """The commands of a page's shell blocks, as lists of words."""
    code = "\n".join(re.findall(r"^```sh\n(.*?)^```", page.read_text(), ANYWHERE))
    # What is fed to a command is no command; what fills a variable is one.
    code = re.sub(r"<<'END'\n.*?^END$", "", code, flags=ANYWHERE)
    code = re.sub(r"\w+=\$\((.*?)\)$", r"\1", code, flags=ANYWHERE)
    code = re.sub(r"(^|\s)# .*$", "", code, flags=re.MULTILINE)
    yield from split(code.replace("\\\n", " "))


def split(block):
    lexer = shlex.shlex(block, posix=True, punctuation_chars="|;&<>()\n")
    lexer.whitespace = " \t"
    lexer.whitespace_split = True
    command = []
    for token in [*lexer, "\n"]:
        if set(token) <= set("|;&\n"):
            if command:
                yield [word for word in command if not re.match(r"[A-Z_]+=", word)] or command
            command = []
        else:
            command.append(token)


def all_commands(program):
    """(page, words) of every command that runs a program."""
    found = [
        (page.name, words[words.index(program) + 1 :])
        for page in PAGES
        for words in commands(page)
        if program in words
    ]
    assert found, f"no page runs {program}"
    return found


def test_a_reader_runs_nothing_but_what_they_have_or_we_bring():
    programs = {words[0] for page in PAGES for words in commands(page)}

    assert {"make", "curl", "docker"} <= programs
    assert programs - FOREIGN - OURS == set()


@each_page
def test_make_targets_that_a_page_names_exist(page):
    targets = set(re.findall(r"^([a-z-]+):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE))
    code = " ".join(re.findall(r"```sh\n.*?```|`[^`]+`", page.read_text(), re.DOTALL))

    assert set(re.findall(r"\bmake ([a-z-]+)", code)) - targets == set()


def test_flask_commands_that_pages_name_exist(app):
    for page, words in all_commands("flask"):
        assert words[:2] == ["--app", "crm"], f"{page}: {words}"
        command, rest = find_command(app.cli, words[2:])
        context = click.Context(command)
        options = {name for each in command.params for name in each.opts}
        given = {word for word in rest if word.startswith("--")}
        arguments = [
            each for each in command.get_params(context) if each.param_type_name == "argument"
        ]

        assert given - options == set(), f"{page}: {words}"
        assert bool(arguments) <= bool(rest), f"{page}: {words}"


def find_command(command, words):
    """The command or group that words lead to, and the words that are left."""
    while isinstance(command, click.Group) and words:
        name, *words = words
        command = command.get_command(click.Context(command), name)
        assert command, f"there is no flask command {name}"
    return command, words


@each_page
def test_flask_commands_that_the_text_of_a_page_names_exist(app, page):
    for words in re.findall(r"`flask (?:--app crm )?([^`]+)`", page.read_text()):
        find_command(app.cli, words.split())


def test_services_of_compose_that_pages_name_exist():
    file = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    profiles = {name for each in file["services"].values() for name in each.get("profiles", ())}
    for page, words in all_commands("compose"):
        for action, count in (("exec", 1), ("run", 1), ("stop", None), ("start", None)):
            if action in words:
                names = [w for w in words[words.index(action) + 1 :] if not w.startswith("-")]
                named = names[:count]

                assert named, f"{page}: {words}"
                assert set(named) <= set(file["services"]), f"{page}: {words}"
        for name in following(words, "--profile"):
            assert name in profiles, f"{page}: {words}"
        for name in following(words, "--scale"):
            assert name.partition("=")[0] in file["services"], f"{page}: {words}"


def following(words, option):
    return [after for word, after in pairwise(words) if word == option]


def test_the_page_of_the_sandbox_names_all_its_options_and_no_other():
    run = [sys.executable, "-m", "hubspot_sandbox", "--help"]
    shown = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    options = set(re.findall(r"^  (--[a-z-]+)", shown, re.MULTILINE))
    used = {
        word
        for _, words in all_commands("hubspot_sandbox")
        for word in words
        if word.startswith("--")
    }

    assert set(re.findall(r"`(--[a-z-]+)`", (ROOT / "docs" / "sandbox.md").read_text())) == options
    assert used <= options


def test_addresses_that_pages_call_are_answered(app):
    adapters = {"4012": app.url_map.bind("localhost"), "4013": sandbox_routes()}
    calls = {
        (method_of(words), address)
        for _, words in all_commands("curl")
        for address in re.findall(r"http://localhost:\S+", " ".join(words))
    }

    assert calls
    assert {call for call in calls if not is_answered(adapters, *call)} == set()


def sandbox_routes():
    return create_sandbox_app(Sandbox()).url_map.bind("localhost")


def method_of(words):
    return (following(words, "-X") or ["POST" if "-d" in words else "GET"])[0]


def is_answered(adapters, method, address):
    parts = urlsplit(address)
    try:
        adapters[str(parts.port)].match(parts.path, method=method)
    except HTTPException:
        return False
    return True


@each_page
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"https?:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page

        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def anchors(file):
    titles = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_readme_leads_to_every_page():
    linked = set(re.findall(r"\]\(([^)#\s]+)", (ROOT / "README.md").read_text()))

    assert {str(page.relative_to(ROOT)) for page in PAGES} - {"README.md"} - linked == set()


@each_page
def test_files_that_a_page_names_exist(page):
    named = re.findall(
        r"`((?:crm|docs|tests|migrations)/(?:[\w/-]*/|[\w/-]+\.\w+)|[\w-]+\.(?:py|yml))`",
        page.read_text(),
    )

    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_settings_table_has_every_setting_with_its_default():
    page = (ROOT / "docs" / "production.md").read_text()
    rows = re.findall(r"^\| `([A-Z_]+)` \| (?:`([^`]*)`)? ?\|", page, re.MULTILINE)
    described = dict(rows)
    settings = dotenv_values(ROOT / ".env")

    assert len(rows) == len(described)
    assert set(described) == set(settings)
    assert {
        name: value for name, value in described.items() if settings[name] not in ("", value)
    } == {}


@each_page
def test_settings_that_a_page_names_exist(page):
    known = set(dotenv_values(ROOT / ".env")) | {"POSTGRES_PASSWORD", "COMPOSE_ENV_FILES"}
    known |= {"SETTINGS_FILE", "PROXY_BIND", "WEB_MEMORY"}
    named = re.findall(r"`([A-Z]+(?:_[A-Z]+)+)(?:=[^`]*)?`", page.read_text())

    assert (
        set(named) - known - {"CRM_UID", "OBJECT_TYPES", "ASSOCIATIONS", "ASSOCIATION_TYPES"}
        == set()
    )


def test_readme_warns_of_an_open_door():
    text = (ROOT / "README.md").read_text()

    assert "REGISTRATION=closed" in text
    assert "CONTACTS_VISIBLE_TO_USERS=own" in text


def test_the_version_is_the_same_everywhere():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    changes = (ROOT / "CHANGELOG.md").read_text()
    released = re.findall(r"^## \[([^\]]+)\](?: - (\d{4}-\d\d-\d\d))?$", changes, re.MULTILINE)

    assert version == VERSION
    # A section for what is not released yet may stand above.
    dated = [(name, date) for name, date in released if name != "Unreleased"]
    assert dated[0][0] == version
    assert all(date for _, date in dated)
