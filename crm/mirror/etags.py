"""Tag versions of a record, so that a caller tells one from another."""

from datetime import datetime


def etag_of(revision: int, hs_modified_at: datetime | None) -> str:
    """The tag of a row's version, without quotes: it moves with every change on either side."""
    milliseconds = round(hs_modified_at.timestamp() * 1000) if hs_modified_at else 0
    return f"{revision}-{milliseconds}"
