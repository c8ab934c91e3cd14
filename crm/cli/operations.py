"""``flask worker`` and ``flask health``: the parts of the service, and how they are."""

import sys
from pathlib import Path
from typing import Any

import click
import structlog
from flask import current_app

from crm.cli.commands import Command
from crm.operations import health
from crm.push import job
from crm.queue import run_worker

log = structlog.get_logger(__name__)


@click.command("worker", cls=Command)
@click.option(
    "--heartbeat",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Touch this file every two seconds while the worker and its database are alive.",
)
def worker(heartbeat: Path | None) -> None:
    """Work on background jobs until stopped: pushes to HubSpot, and what is scheduled."""
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    settings = app.extensions["crm_settings"]

    def within_app(call_next: Any, context: Any, _worker: Any) -> Any:
        with (
            app.app_context(),
            structlog.contextvars.bound_contextvars(
                job_id=context.job.id, task=context.job.task_name
            ),
        ):
            try:
                return call_next()
            except Exception:
                log.exception("job failed")
                raise

    job.begin()
    run_worker(
        settings.database_url,
        concurrency=settings.worker_concurrency,
        around=within_app,
        heartbeat=heartbeat,
    )


@click.command("health", cls=Command)
def check_health() -> None:
    """Exit with 0 if the dependencies are up and a worker is alive, else with 1."""
    found = health.check()
    for name, dependency in found["dependencies"].items():
        click.echo(f"{name}: {dependency['status']}")
    if found["status"] != "healthy":
        sys.exit(1)
    alive = health.has_live_worker()
    click.echo(f"worker: {'healthy' if alive else 'unhealthy'}")
    sys.exit(0 if alive else 1)
