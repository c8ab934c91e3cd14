"""Working: a job that goes on with a scan."""


def work(row_id: int) -> None:
    """Go on with a scan."""
