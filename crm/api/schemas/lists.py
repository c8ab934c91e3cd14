"""What every list takes: how many, from where on, which and in which order."""

from collections.abc import Iterable

from marshmallow import Schema, fields, validate

from crm.api.schemas.inputs import EmailAddress, Input, Line
from crm.mirror.reads.pages import MOST


class PageInput(Input):
    """How many, and from where on."""

    limit = fields.Integer(load_default=10, validate=validate.Range(min=1, max=MOST))
    cursor = Line(longest=2000)


def list_input(sorts: Iterable[str], filters: Iterable[str]) -> type[Schema]:
    """Paging, search, an order of these names, and a filter for each of those."""
    sorts = list(sorts)
    order = Line(
        load_default="",
        choices=("", *sorts, *(f"-{name}" for name in sorts)),
        metadata={"description": "A property; with - in front, the greatest first"},
    )
    return PageInput.from_dict(
        {
            "q": Line(load_default="", longest=200),
            "sort": order,
            **{name: EmailAddress() if name == "email" else Line() for name in filters},
        },
        name="ListInput",
    )
