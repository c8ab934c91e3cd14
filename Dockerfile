# One image for every part: the web server by default; the worker, the migrations, the sandbox and the
# health check are other commands of it (docker-compose.yml has them all).

FROM python:3.11-slim-bookworm AS builder
# Without pip inside: the image installs nothing, so it needs no installer.
RUN python -m venv --without-pip /opt/venv
COPY requirements.txt .
RUN python -m pip --python /opt/venv/bin/python install --no-cache-dir --requirement requirements.txt

FROM python:3.11-slim-bookworm
# /data is where the sandbox keeps its state; a volume mounted there takes over its owner.
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin app \
    && install --directory --owner app --group app /data
COPY --from=builder /opt/venv /opt/venv
WORKDIR /srv/crm
COPY run.py ./
COPY migrations migrations
COPY crm crm
COPY hubspot_sandbox hubspot_sandbox
# Compiled here, because the user of the image may not write beside the code.
RUN /opt/venv/bin/python -m compileall -q crm hubspot_sandbox migrations
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    FLASK_ENV=production \
    BIND=0.0.0.0 \
    PORT=4012
# By number, so that Kubernetes sees that it is not root.
USER 10001
EXPOSE 4012
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as http; http.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/health', timeout=4)"]
CMD ["gunicorn", "--config", "python:crm.gunicorn", "crm:create_app()"]
