"""The sandbox by itself: loading 100,000 deals, listing and searching them.

The bare route answers the bytes of one page of the list, and is served by the same server in a
process of its own. Every request asks for another page, as a client that reads them all does.
"""

import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any

import orjson
import requests

from tools.bench.figures import Figure, median_ratio
from tools.bench.load import get_request, rate
from tools.stage import Stage

DEALS, CONTACTS, COMPANIES, BATCH = 100_000, 10_000, 1_000, 100
ROUNDS, SECONDS = 5, 3.0
OBJECTS = "/crm/objects/2026-09"
DEALS_PATH = f"{OBJECTS}/deals"
TOKEN = {"Authorization": "Bearer pat-na1-sandbox"}
PROPERTIES = "dealname,amount,dealstage,pipeline,closedate,hubspot_owner_id"
PAGE = f"{DEALS_PATH}?limit=100&associations=contacts,companies&properties={PROPERTIES}"
TO_CONTACT, TO_COMPANY = 3, 341


def measure(stage: Stage) -> list[Figure]:
    """Load, then list in turn with the bare route, then search."""
    client = Client(stage.start_sandbox())
    client.lift_limits()
    contacts = client.create("contacts", ({"email": f"p{n}@example.com"} for n in range(CONTACTS)))
    companies = client.create("companies", ({"name": f"Company {n}"} for n in range(COMPANIES)))
    began = time.perf_counter()
    client.load(_deals(contacts, companies))
    loading = time.perf_counter() - began
    return [
        Figure("seconds to load 100,000 associated deals", loading, 20, at_most=True),
        Figure("list of deals against a bare route", _list_ratio(stage, client), 0.25),
        Figure("seconds of the slowest search", _slowest_search(client), 0.5, at_most=True),
    ]


class Client:
    """Writes and reads as a client of HubSpot's does, over one kept connection."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._session = requests.Session()
        self._session.headers.update({**TOKEN, "Content-Type": "application/json"})

    def get(self, path: str) -> bytes:
        """The body of an answer."""
        answer = self._session.get(self.address + path, timeout=60)
        answer.raise_for_status()
        return answer.content

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The JSON of an answer."""
        answer = self._session.post(self.address + path, orjson.dumps(body), timeout=60)
        answer.raise_for_status()
        return orjson.loads(answer.content)

    def lift_limits(self) -> None:
        """Have the sandbox let us call as often as we like."""
        self.set(limit_ten_secondly=0, limit_search=0, limit_daily=0)

    def set(self, **settings: int) -> None:
        """Change settings of the sandbox."""
        url = f"{self.address}/_sandbox/settings"
        self._session.put(url, orjson.dumps(settings), timeout=60).raise_for_status()

    def count_requests(self) -> int:
        """How many requests it has answered."""
        return int(orjson.loads(self.get("/_sandbox/requests"))["total"])

    def create(self, object_type: str, records: Iterator[Mapping[str, str]]) -> list[str]:
        """Create records in batches; returns their ids."""
        return list(
            chain.from_iterable(
                [result["id"] for result in self._create(object_type, inputs)["results"]]
                for inputs in _batches({"properties": each} for each in records)
            )
        )

    def load(self, deals: Iterator[Mapping[str, Any]]) -> None:
        """Create deals in batches, as fast as it goes."""
        for inputs in _batches(deals):
            self._create("deals", inputs)

    def _create(self, object_type: str, inputs: list[Any]) -> Any:
        return self.post(f"{OBJECTS}/{object_type}/batch/create", {"inputs": inputs})


def _batches(inputs: Iterator[Any]) -> Iterator[list[Any]]:
    return iter(lambda: list(islice(inputs, BATCH)), [])


def _deals(contacts: list[str], companies: list[str]) -> Iterator[dict[str, Any]]:
    for n in range(DEALS):
        yield {
            "properties": {
                "dealname": f"Deal {n}",
                "dealstage": "qualifiedtobuy",
                "amount": str(n),
                "closedate": "2026-12-01T00:00:00Z",
            },
            "associations": [
                _association(contacts[n % CONTACTS], TO_CONTACT),
                _association(companies[n % COMPANIES], TO_COMPANY),
            ],
        }


def _association(target: str, type_id: int) -> dict[str, Any]:
    types = [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": type_id}]
    return {"to": {"id": target}, "types": types}


def _list_ratio(stage: Stage, client: Client) -> float:
    cursors = list(_cursors(client))
    body = Path(tempfile.gettempdir()) / "crm-bench-page.json"
    body.write_bytes(client.get(f"{PAGE}&after={cursors[1]}"))
    bare = stage.start_bare_page(body, DEALS_PATH)

    def request(number: int) -> bytes:
        return get_request(f"{PAGE}&after={cursors[number % len(cursors)]}", TOKEN)

    pairs = []
    for _ in range(ROUNDS):
        of_bare = rate(bare, request, seconds=SECONDS)
        of_sandbox = rate(client.address, request, seconds=SECONDS)
        pairs.append((of_sandbox, of_bare))
        print(f"  bare {of_bare:.0f}/s  sandbox {of_sandbox:.0f}/s", file=sys.stderr)
    return median_ratio(pairs)


def _cursors(client: Client) -> Iterator[str]:
    """Where each page begins, in the order of reading."""
    after = "0"
    while after:
        yield after
        page = orjson.loads(client.get(f"{DEALS_PATH}?limit=100&after={after}"))
        after = page.get("paging", {}).get("next", {}).get("after")


def _slowest_search(client: Client) -> float:
    """The slowest of the searches by which clients page through more than 10,000 deals."""
    middle = orjson.loads(client.get(f"{DEALS_PATH}?limit=1&after=18000250000"))["results"][0]
    cursors = {
        "hs_object_id": middle["id"],
        "hs_lastmodifieddate": middle["updatedAt"],
        "createdate": middle["createdAt"],
    }
    durations = []
    for name, value in cursors.items():
        newer = {"propertyName": name, "operator": "GT", "value": value}
        for sort in (name, "hs_object_id"):
            body = {
                "filterGroups": [{"filters": [newer]}],
                "sorts": [{"propertyName": sort, "direction": "ASCENDING"}],
                "properties": PROPERTIES.split(","),
                "limit": 200,
            }
            began = time.perf_counter()
            found = client.post(f"{DEALS_PATH}/search", body)
            durations.append(time.perf_counter() - began)
            if not 0 < found["total"] < DEALS:
                raise RuntimeError(f"{name} after {value}: {found['total']} deals")
            print(f"  {name}, by {sort}: {durations[-1]:.3f} s", file=sys.stderr)
    return max(durations)
