"""The project's own code as syntax trees, for the tests about it."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@cache
def modules() -> dict[str, ast.Module]:
    """Every module that we ship, by its dotted name."""
    folders = ("crm", "hubspot_sandbox", "migrations")
    files = [*(file for each in folders for file in (ROOT / each).rglob("*.py")), ROOT / "run.py"]
    return {module_name(file): ast.parse(file.read_text(), str(file)) for file in files}


def module_name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """What a tree imports: (module, name in it, or "" for the module itself)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((each.name, "") for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            # Relative ones keep their dots, and are refused by a test of their own.
            module = "." * node.level + (node.module or "")
            yield from ((module, each.name) for each in node.names)


@cache
def imported_modules(tree: ast.AST) -> set[str]:
    """What a tree imports, with ``from crm import models`` as ``crm.models``."""
    inside = modules()
    return {
        full if (full := f"{module}.{name}") in inside else module for module, name in imports(tree)
    }


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
