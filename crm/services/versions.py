"""Versions of records: what ``ETag`` says of one, and ``If-Match`` of the one that is meant."""

from datetime import datetime


def etag_of(revision: int, hs_modified_at: datetime | None) -> str:
    """What tells one version of a record from another, whichever side has changed it."""
    milliseconds = round(hs_modified_at.timestamp() * 1000) if hs_modified_at else 0
    return f"{revision}-{milliseconds}"
