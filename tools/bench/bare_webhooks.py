"""A route that reads a body and drops it: what Flask and gunicorn can take at all."""

from flask import Flask, Response, request

app = Flask(__name__)


@app.post("/webhooks/hubspot")
def receive() -> Response:
    request.get_data()
    return Response(status=204)


@app.get("/health")
def health() -> str:
    return "up"
