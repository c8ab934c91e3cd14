"""What docs/architecture.md draws and says of the code is so, and every path of it is there."""

import re

import pytest

from tests.contracts.source import ROOT
from tests.contracts.test_imports import DOMAINS, GROUND, HOUSE

PAGE = (ROOT / "docs" / "architecture.md").read_text()
PARTS = "The parts, and who knows whom"
QUESTIONS = "Where is …?"
PATH = re.compile(r"[\w.-][\w./-]*/[\w./-]*|[\w-]+\.(?:html|json|md|py|sql|toml|txt|yml)")


def section(title):
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def rows(title):
    """The rows of a section's tables, without their headings."""
    lines = [line for line in section(title).splitlines() if line.startswith("| ")]
    cells = [line.strip("| ").split(" | ") for line in lines]
    return [each for each in cells if each[-1] not in {"May import", "Place"}]


def paths(text):
    """What a text names between backticks and looks like a path."""
    return [name for name in re.findall(r"`([^`\n]+)`", text) if PATH.fullmatch(name)]


def part_at(path):
    """The part of the house that is kept at a path."""
    return path.removesuffix(".py").removesuffix("/").removesuffix("/__init__").replace("/", ".")


def imported(cell):
    """The parts that a cell lets a part import."""
    named = {part_at(path) for path in paths(cell)}
    named |= set(DOMAINS) if "all domains" in cell else set()
    return named | (GROUND if "the ground" in cell else set())


def test_the_tables_of_the_parts_say_what_the_import_test_allows():
    listed = [(part_at(path), imported(row[2])) for row in rows(PARTS) for path in paths(row[0])]

    assert len(listed) == len(dict(listed))
    assert dict(listed) == HOUSE


def test_the_picture_has_the_arrows_that_the_import_test_allows():
    drawn = {
        (f"crm.{start}", f"crm.{end}")
        for start, ends in re.findall(r"^ +(\w+) --> (.*)$", section(PARTS), re.MULTILINE)
        for end in ends.split(" & ")
    }

    assert {arrow for arrow in drawn if set(arrow) <= set(DOMAINS)} == {
        (start, end) for start, ends in DOMAINS.items() for end in ends if end in DOMAINS
    }


def test_every_question_of_where_something_is_has_a_path_for_an_answer():
    answers = dict(rows(QUESTIONS))

    assert answers
    assert {question for question, answer in answers.items() if not paths(answer)} == set()


@pytest.mark.parametrize("name", ["README.md", "docs/architecture.md"])
def test_every_path_that_the_page_names_exists(name):
    named = paths((ROOT / name).read_text())

    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize(
    "path", ["crm/objects.py", "crm/services/", "tests/bench", "embedded.py", "crm/mirror/reads/"]
)
def test_a_path_is_known_for_one(path):
    assert paths(f"See `{path}`, `GET /deals`, `/companies`, `hs_object_id` and `v3`.") == [path]
