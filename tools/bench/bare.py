"""What Flask and gunicorn can do at all: a route that returns bytes it has at hand."""

from flask import Flask, Response

from tools.bench.contacts import BODY_FILE, PATH

app = Flask(__name__)
_BODY = BODY_FILE.read_bytes()


@app.get(PATH)
def answer() -> Response:
    return Response(_BODY, content_type="application/json")


@app.get("/health")
def health() -> str:
    return "up"
