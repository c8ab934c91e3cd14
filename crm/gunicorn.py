"""How gunicorn serves the app: ``gunicorn --config python:crm.gunicorn 'crm:create_app()'``."""

import shutil
import tempfile
from typing import Any

from crm import metrics as _metrics
from crm.admission import AT_ALL_TIMES, AT_ONCE, WAITING
from crm.config import load_settings

_settings = load_settings()
_metrics_folder = tempfile.mkdtemp(prefix="crm-metrics-")

_address = _settings.listen_address
bind = f"[{_address}]:{_settings.port}" if ":" in _address else f"{_address}:{_settings.port}"
workers = _settings.web_concurrency
worker_class = "gthread"
threads = AT_ONCE + WAITING + AT_ALL_TIMES
timeout = 60
graceful_timeout = 20
keepalive = 30
# A new process now and then, so that nothing can grow for ever; not all of them at once.
max_requests = 100_000
max_requests_jitter = 10_000
worker_tmp_dir = "/dev/shm"  # noqa: S108 - heartbeats of gunicorn's own, in memory
# It would want a folder in a home that the container's user does not have.
control_socket_disable = True
# Every request has a line of our own, with its id.
accesslog = None
loglevel = "warning"
# Where Prometheus's library looks for it.
raw_env = [f"PROMETHEUS_MULTIPROC_DIR={_metrics_folder}"]


def pre_fork(server: Any, worker: Any) -> None:
    """Give a process the lowest number that no other has."""
    used = {each.number for each in server.WORKERS.values()}
    worker.number = min(set(range(len(used) + 1)) - used)


def post_fork(_server: Any, worker: Any) -> None:
    """Let each process see what all have counted."""
    _metrics.share(_metrics_folder, worker.number)


def on_exit(_server: Any) -> None:
    """Leave nothing behind."""
    shutil.rmtree(_metrics_folder, ignore_errors=True)
