"""Pages whose items Postgres has already written as JSON."""

from collections.abc import Sequence

import orjson
from flask import Response


def page_response(
    *, name: str, items: Sequence[str], next_after: str | None, message: str
) -> Response:
    """``{"data": {"data": {name: [...], "next_after": ...}}, "message": ...}``."""
    body = (
        f'{{"data":{{"data":{{"{name}":[{",".join(items)}],'
        f'"next_after":{orjson.dumps(next_after).decode()}}}}},'
        f'"message":{orjson.dumps(message).decode()}}}'
    )
    return Response(body, content_type="application/json")
