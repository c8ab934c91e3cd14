"""What Flask and gunicorn can do at all: a route that returns a status it has at hand."""

from flask import Flask, Response

from tools.bench.scan_reads import BODY_FILE, STATUS

app = Flask(__name__)
_BODY = BODY_FILE.read_bytes()


@app.get(STATUS)
def answer() -> Response:
    return Response(_BODY, content_type="application/json")


@app.get("/health")
def health() -> str:
    return "up"
