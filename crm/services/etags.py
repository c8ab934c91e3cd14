"""ETags: by what a caller tells one version of a record from another."""

from datetime import datetime
from typing import Protocol


class Version(Protocol):
    """A row of ``records``, or the part of one that makes a version."""

    @property
    def revision(self) -> int:
        """Counts the changes made here."""

    @property
    def hs_modified_at(self) -> datetime | None:
        """When HubSpot last changed it."""


def etag_of(row: Version) -> str:
    """The tag of a row's version, without quotes: it moves with every change on either side."""
    modified = row.hs_modified_at
    return f"{row.revision}-{round(modified.timestamp() * 1000) if modified else 0}"
