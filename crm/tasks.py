"""Every background task and its schedule; each calls a domain and nothing more.

The schedules are cron lines with seconds in the sixth field.
"""

from typing import Any

from crm.accounts import sessions
from crm.inbox import process, receive
from crm.portals import pipelines, property_schemas
from crm.pull import runner, runs
from crm.push import customers, job
from crm.queue import app, forget_failed_jobs, give_back_stalled_jobs
from crm.scans import commands, retention, work


@app.task(name=job.TASK)
def push_portal(key: int) -> None:
    """Send everything that waits for a portal; ``key`` is the portal's id."""
    job.push(key)


@app.task(name=customers.WITHDRAW_TASK)
def withdraw_customer(key: str, **customer: Any) -> None:
    """Take back in HubSpot what a failed creation may have left there."""
    customers.withdraw(**customer)


@app.periodic(cron="* * * * * 0,15,30,45")
@app.task(name="sweep_unsent", queueing_lock="sweep_unsent")
def sweep_unsent(timestamp: int) -> None:
    """Find what waits for being sent although its job was lost."""
    job.sweep()


@app.task(name=receive.TASK)
def read_inbox(key: int, failures: int = 0) -> None:
    """Act on what HubSpot told of a portal; ``key`` is the portal's id."""
    process.process(key, failures)


@app.periodic(cron="* * * * * 1-59/3")
@app.task(name="sweep_inbox", queueing_lock="sweep_inbox")
def sweep_inbox(timestamp: int) -> None:
    """Find events that are due, because their time has come or their job was lost."""
    process.sweep()


@app.task(name=runner.TASK)
def sync_portal(key: str) -> None:
    """Go on with backfilling, searching or reconciling a portal; ``key`` is kind:portal id."""
    runner.work(key)


@app.periodic(cron="* * * * * 3,18,33,48")
@app.task(name="sweep_sync", queueing_lock="sweep_sync")
def sweep_sync(timestamp: int) -> None:
    """Backfill new portals, and go on with what was interrupted."""
    runner.sweep()


@app.periodic(cron="* * * * * 25")
@app.task(name="search_portals", queueing_lock="search_portals")
def search_portals(timestamp: int) -> None:
    """Take in what was changed in HubSpot within the last minute."""
    runner.begin_for_all_portals("incremental")


@app.periodic(cron="41 2 * * * 0")
@app.task(name="reconcile_portals", queueing_lock="reconcile_portals")
def reconcile_portals(timestamp: int) -> None:
    """Compare every mirror with its portal, which also finds what no search tells of."""
    runner.begin_for_all_portals("reconcile")


@app.task(name=commands.TASK)
def scan_deals(key: int) -> None:
    """Go on with a scan; ``key`` is its row's id."""
    work.work(key)


@app.periodic(cron="* * * * * 8,23,38,53")
@app.task(name="sweep_scans", queueing_lock="sweep_scans")
def sweep_scans(timestamp: int) -> None:
    """Find scans that nobody works on although their job was lost."""
    work.sweep()


@app.periodic(cron="* * * * * */5")
@app.task(name="give_back_stalled_jobs", queueing_lock="give_back_stalled_jobs")
def give_back_stalled(timestamp: int) -> None:
    """Let others do the jobs of workers that died."""
    give_back_stalled_jobs()


@app.periodic(cron="* * * * * 10,40")
@app.task(name="refresh_pipelines", queueing_lock="refresh_pipelines")
def refresh_pipelines(timestamp: int) -> None:
    """Keep the pipelines young, so that registrations are checked against today's stages."""
    pipelines.refresh_stale_pipelines()


@app.periodic(cron="* * * * * 20,50")
@app.task(name="refresh_schemas", queueing_lock="refresh_schemas")
def refresh_schemas(timestamp: int) -> None:
    """Keep the property definitions young, so that writes are checked against today's."""
    property_schemas.refresh_stale_schemas()


@app.periodic(cron="17 3 * * * 0")
@app.task(name="forget_the_old", queueing_lock="forget_the_old")
def forget_the_old(timestamp: int) -> None:
    """Delete what nobody needs any more: ended sign-ins, old events, runs, scans, failed jobs."""
    everything = (
        sessions.forget_ended,
        process.forget_processed,
        runs.forget_old,
        retention.forget_old,
        forget_failed_jobs,
    )
    for forget in everything:
        forget()
