"""A small HTTP load: several connections kept alive, each sending its next request on an answer.

It costs so little itself that two cores are enough to compare servers with it.
"""

import socket
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from urllib.parse import urlsplit

import orjson

CONNECTIONS = 8


@dataclass(frozen=True)
class Load:
    """What a server made of a load."""

    rate: float
    """Answers a second."""
    p99: float
    """Seconds within which 99 of 100 answers came."""


def rate(url: str, make_request: Callable[[int], bytes], *, seconds: float) -> float:
    """Answers a second; see ``load``."""
    return load(url, make_request, seconds=seconds).rate


def load(
    url: str,
    make_request: Callable[[int], bytes],
    *,
    seconds: float,
    connections: int = CONNECTIONS,
) -> Load:
    """Send requests; each answer must be a success with a Content-Length, or without content.

    Args:
        url: where to connect to.
        make_request: makes the n-th request, as sent.
        seconds: how long.
        connections: how many requests at once.
    """
    parts = urlsplit(url)
    numbers = count()
    deadline = time.perf_counter() + seconds

    def run(_: int) -> list[float]:
        waits = []
        with socket.create_connection((parts.hostname, parts.port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while (sent := time.perf_counter()) < deadline:
                connection.sendall(make_request(next(numbers)))
                _read_answer(connection)
                waits.append(time.perf_counter() - sent)
        return waits

    began = time.perf_counter()
    with ThreadPoolExecutor(connections) as pool:
        waits = sorted(wait for each in pool.map(run, range(connections)) for wait in each)
    return Load(len(waits) / (time.perf_counter() - began), waits[len(waits) * 99 // 100])


def get_request(path: str, headers: Mapping[str, str]) -> bytes:
    """A GET as it is sent."""
    return _request("GET", path, headers, b"")


def post_request(path: str, body: Mapping[str, object]) -> bytes:
    """A POST of JSON as it is sent."""
    return post_bytes(path, orjson.dumps(body), {})


def post_bytes(path: str, content: bytes, headers: Mapping[str, str]) -> bytes:
    """A POST of JSON that is written already, as it is sent."""
    all_headers = {
        "Content-Type": "application/json",
        "Content-Length": str(len(content)),
        **headers,
    }
    return _request("POST", path, all_headers, content)


def _request(method: str, path: str, headers: Mapping[str, str], content: bytes) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: bench"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + content


def _read_answer(connection: socket.socket) -> None:
    received = connection.recv(65536)
    while b"\r\n\r\n" not in received:
        received += connection.recv(65536)
    head, _, body = received.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 2"):
        raise RuntimeError(received.decode("utf-8", "replace")[:500])
    if head.startswith(b"HTTP/1.1 204"):
        return
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    missing = length - len(body)
    while missing > 0:
        missing -= len(connection.recv(65536))
