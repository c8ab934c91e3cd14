"""Imports point one way: who may know whom, as a table."""

import ast
import sys
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.contracts.source import functions, imported_modules, imports, modules

# A part of the project, and the parts of it that it may import. A part is a module, or a package
# with all that is in it; it may always import itself.
DOMAINS = {
    "crm.portals": set(),
    "crm.mirror": {"crm.portals"},
    "crm.pull": {"crm.mirror", "crm.portals"},
    "crm.push": {"crm.pull", "crm.mirror", "crm.portals"},
    "crm.inbox": {"crm.pull", "crm.mirror", "crm.portals"},
    "crm.scans": {"crm.mirror", "crm.portals"},
    "crm.accounts": {"crm.push", "crm.mirror", "crm.portals"},
    "crm.integrations": {"crm.accounts", "crm.pull", "crm.portals", "crm.integrations.providers"},
    "crm.operations": {
        *("crm.portals", "crm.mirror", "crm.pull", "crm.push", "crm.inbox", "crm.scans"),
        *("crm.accounts", "crm.integrations"),
    },
}
# What every domain may know: below them, and of no domain.
GROUND = {
    "crm.config",  # The type of the settings; reading them is the composition root's.
    "crm.cursors",
    "crm.db",
    "crm.errors",
    "crm.hubspot",
    "crm.jobs",
    "crm.models",
    "crm.object_types",
    "crm.outages",
    "crm.property_values",
    "crm.queue",
    "crm.version",
}
HOUSE = {
    "crm.errors": set(),
    "crm.object_types": set(),
    "crm.logs": set(),
    "crm.version": set(),
    "crm.config": {"crm.errors"},
    "crm.setup": {"crm.config", "crm.errors"},  # A program of its own, before all others.
    "crm.metrics": {"crm.operations"},  # What there is to tell beside its own counts.
    "crm.extensions": set(),
    "crm.db": set(),
    "crm.outages": set(),
    "crm.admission": {"crm.errors"},
    "crm.cursors": {"crm.errors"},
    "crm.streams": {"crm.db", "crm.extensions", "crm.outages"},
    "crm.open_access": {"crm.accounts", "crm.config"},
    "crm.hubspot": {"crm.errors", "crm.object_types", "crm.version"},
    "crm.models": {"crm.db", "crm.errors", "crm.object_types"},
    "crm.property_values": {"crm.hubspot"},
    "crm.queue": {"crm.db"},
    "crm.jobs": {"crm.db", "crm.queue"},
    "crm.integrations.providers": {"crm.errors", "crm.hubspot", "crm.object_types"},
    **{name: below | GROUND for name, below in DOMAINS.items()},
    "crm.tasks": {*DOMAINS, "crm.object_types", "crm.queue"},
    "crm.api": {
        *DOMAINS,
        *("crm.object_types", "crm.errors", "crm.db", "crm.property_values"),
        *("crm.admission", "crm.extensions", "crm.metrics", "crm.open_access", "crm.outages"),
        "crm.streams",
    },
    "crm.console": {
        *DOMAINS,
        *("crm.object_types", "crm.errors", "crm.db", "crm.property_values"),
        *("crm.extensions", "crm.open_access", "crm.outages", "crm.streams"),
    },
    "crm.cli": {
        *DOMAINS,
        "crm.errors",  # An error becomes one line and an exit code here.
        "crm.queue",  # `flask worker` is the queue's worker.
    },
    "crm.gunicorn": {"crm.admission", "crm.config", "crm.metrics"},
    # The composition root, which knows all others but those that run in processes of their own.
    "crm.factory": {
        *DOMAINS,
        *("crm.admission", "crm.api", "crm.cli", "crm.config", "crm.console", "crm.db"),
        *("crm.errors", "crm.extensions", "crm.hubspot", "crm.logs", "crm.metrics", "crm.models"),
        *("crm.object_types", "crm.outages", "crm.tasks", "crm.version"),
    },
    # Nothing as it is imported: every process comes through it.
    "crm": {"crm.factory", "crm.launcher"},
    # What `run.py` starts, by its command; and the database, with the service but without serving.
    "crm.launcher": {"crm.accounts", "crm.config", "crm.errors", "crm.factory"},
    # It knows the sandbox's token and app.
    "run": {"crm", "crm.config", "crm.errors", "crm.launcher", "hubspot_sandbox"},
    "hubspot_sandbox": set(),  # HubSpot knows nothing of us.
    "crm.sandbox": {"hubspot_sandbox"},  # The door to it under its former name.
    "migrations.env": {"crm.db"},
    # A migration is history: today's code may change under it.
    "migrations.versions": set(),
}

# What a part must know nothing of, by the beginning of the libraries' names.
STRANGERS = {
    "crm.hubspot": ("flask", "werkzeug", "marshmallow", "sqlalchemy", "psycopg", "procrastinate"),
    "crm.integrations.providers": (
        "flask",
        "werkzeug",
        "marshmallow",
        "sqlalchemy",
        "psycopg",
        "procrastinate",
    ),
    "crm.models": ("flask", "werkzeug", "marshmallow", "requests", "procrastinate"),
    **dict.fromkeys(
        DOMAINS,
        (
            *("flask_smorest", "flask_limiter", "werkzeug", "webargs", "click"),
            *("requests", "procrastinate"),
        ),
    ),
    "crm.setup": ("flask", "werkzeug", "sqlalchemy", "procrastinate"),
    "crm.tasks": ("flask", "requests", "sqlalchemy", "psycopg", "procrastinate"),
    "crm.api": ("requests", "sqlalchemy", "psycopg", "procrastinate", "alembic"),
    "crm.console": ("requests", "sqlalchemy", "psycopg", "procrastinate", "alembic"),
    "crm.cli": ("requests", "psycopg", "procrastinate"),
    "hubspot_sandbox": ("requests", "sqlalchemy", "psycopg", "marshmallow", "procrastinate"),
}

# Of Flask, a domain may know the app it belongs to, never the request that it serves.
FLASK_IN_DOMAINS = {"current_app"}


def part_of(module):
    """The nearest part of the house that a module belongs to."""
    while module and module not in HOUSE:
        module = module.rpartition(".")[0]
    return module


def ours(module):
    return module.partition(".")[0] in {"crm", "hubspot_sandbox", "run", "migrations"}


def test_every_module_belongs_to_a_part_of_the_house():
    # `crm` is its __init__ alone: a new file in it needs a line in the table.
    assert [name for name in modules() if part_of(name) in {"", "crm"} and name not in HOUSE] == []


def test_every_part_of_the_house_exists():
    assert set(HOUSE) == {part_of(name) for name in modules()}


@pytest.mark.parametrize("part", HOUSE)
def test_a_part_imports_only_what_it_may(part):
    allowed = HOUSE[part] | {part}

    assert {
        (name, imported)
        for name, tree in modules().items()
        if part_of(name) == part
        for imported in imported_modules(tree)
        if ours(imported) and part_of(imported) not in allowed
    } == set()


def test_modules_import_each_other_in_no_circle():
    graph = {
        name: {imported for imported in imported_modules(tree) if imported in modules()} - {name}
        for name, tree in modules().items()
    }

    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {error.args[1]}")


@pytest.mark.parametrize("part", STRANGERS)
def test_a_part_knows_nothing_of_its_strangers(part):
    assert {
        (name, imported)
        for name, tree in modules().items()
        if part_of(name) == part
        for imported in imported_modules(tree)
        if imported.startswith(STRANGERS[part])
    } == set()


@pytest.mark.parametrize("part", ["crm.errors", "crm.object_types"])
def test_errors_and_object_types_stand_on_the_standard_library_alone(part):
    assert {
        imported
        for imported in imported_modules(modules()[part])
        if imported.partition(".")[0] not in sys.stdlib_module_names
    } == set()


def test_domains_take_nothing_from_the_request():
    assert {
        (name, imported)
        for name, tree in modules().items()
        if part_of(name) in DOMAINS
        for module, imported in imports(tree)
        if module == "flask" and imported not in FLASK_IN_DOMAINS
    } == set()


def test_views_do_not_import_each_other():
    views = {
        name
        for name, tree in modules().items()
        if part_of(name) in {"crm.api", "crm.console"}
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "bp"
    }

    assert views
    assert {
        (name, other) for name in views for other in imported_modules(modules()[name]) & views
    } == set()


def test_nothing_is_imported_inside_a_function():
    assert [
        (name, function.name)
        for name, tree in modules().items()
        for function in functions(tree)
        for _ in imports(function)
    ] == []


def test_nothing_is_imported_by_a_computed_name_or_a_relative_one():
    assert [
        (name, imported)
        for name, tree in modules().items()
        for imported, _ in imports(tree)
        # The package itself waits until somebody wants the factory.
        if name != "crm"
        if imported.startswith(".") or imported.partition(".")[0] == "importlib"
    ] == []
    assert [
        name
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and node.id == "__import__"
    ] == []


def test_nobody_imports_what_a_module_keeps_to_itself():
    assert [
        (name, f"{module}.{imported}")
        for name, tree in modules().items()
        for module, imported in imports(tree)
        if ours(module) and imported.startswith("_")
    ] == []
