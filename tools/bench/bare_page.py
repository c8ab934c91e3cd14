"""``python -m tools.bench.bare_page FILE PATH PORT``: a Flask route that answers a file's bytes.

It is served by the very server that serves the sandbox, so that only what they do differs.
"""

import sys
from pathlib import Path

from flask import Flask, Response

from hubspot_sandbox.http_server import Listener


def main(file: str, path: str, port: str) -> None:
    body = Path(file).read_bytes()
    app = Flask(__name__, static_folder=None)
    app.add_url_rule(path, view_func=lambda: Response(body, content_type="application/json"))
    app.add_url_rule("/_sandbox/health", view_func=lambda: "up", endpoint="health")
    Listener(("127.0.0.1", int(port)), app).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
