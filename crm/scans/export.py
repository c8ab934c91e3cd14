"""Write all results of a scan as one CSV file or as JSON lines, in constant memory."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from crm.scans.results import COLUMNS, read_all
from crm.scans.status import ScanState

FORMATS: Mapping[str, str] = {"csv": "text/csv; charset=utf-8", "jsonl": "application/jsonl"}
"""Name to content type."""

# What a spreadsheet would take for a formula, and with it for a command. A plain number is none.
_FORMULA = re.compile(r"[=+\-@\t\r\n]")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?\Z")


def export(scan: ScanState, format_name: str) -> Iterator[bytes]:
    """The deals of a completed scan as a file, piece by piece.

    Args:
        scan: as ``results.get_completed`` gave it.
        format_name: a name of ``FORMATS``.

    Raises:
        ScanNotReadyError: the scan was purged or started again meanwhile; the file is not whole.
    """
    return _csv(scan) if format_name == "csv" else _jsonl(scan)


def _jsonl(scan: ScanState) -> Iterator[bytes]:
    for deals in read_all(scan):
        # Postgres puts a space here and there; as one line each, deals are the same without.
        yield b"".join(orjson.dumps(orjson.loads(each)) + b"\n" for each in deals)


def _csv(scan: ScanState) -> Iterator[bytes]:
    types, properties = scan.config["association_types"], scan.config["properties"]
    head = [*COLUMNS, *types, *(f"properties.{name}" for name in properties)]
    yield _lines([head])
    for deals in read_all(scan):
        yield _lines(_row(orjson.loads(each), types, properties) for each in deals)


def _row(deal: Mapping[str, Any], types: list[str], properties: list[str]) -> list[Any]:
    return [
        *(deal[name] for name in COLUMNS),
        *(";".join(_ids(deal["associations"].get(name, ()))) for name in types),
        *(deal["properties"].get(name) for name in properties),
    ]


def _ids(associated: Iterable[Mapping[str, str]]) -> Iterable[str]:
    # A pair with several labels stands there once for each.
    return dict.fromkeys(each["id"] for each in associated)


def _lines(rows: Any) -> bytes:
    written = io.StringIO()
    csv.writer(written).writerows([_harmless(cell) for cell in row] for row in rows)
    return written.getvalue().encode()


def _harmless(cell: Any) -> Any:
    """A text that no spreadsheet takes for a formula: with an apostrophe in front."""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, str) and _FORMULA.match(cell) and not _NUMBER.match(cell):
        return f"'{cell}"
    return cell
