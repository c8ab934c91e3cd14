"""What git keeps: no secret, no drawer for odds and ends, no line about somebody's machine."""

import math
import re
import subprocess
from collections import Counter

import pytest

from tests.contracts.source import ROOT

DRAWERS = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "managers"}

SHAPES = {
    "a HubSpot token": r"\bpat-[a-z]{2}\d-[0-9a-f]{8}-[0-9a-f-]{20,}",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "a signed token": r"\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{20,}",
    "a cloud's key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "a key of GitHub, Slack, OpenAI or Stripe": (
        r"\b(?:gh[oprsu]_\w{30,}|xox[abp]-[\w-]{20,}|sk-[\w-]{32,}|[rs]k_live_\w{20,})"
    ),
    "a key of ours": r"\bcrm_[\w-]{43}\b",
}
# A value that is given to a name like these, with or without quotes.
NAMED = re.compile(
    r"(?i)[\w-]*(?:secret|token|password|api_?key|encryption_keys?|private_key)[\w-]*"
    r"""["']?\s*[:=]\s*["']?([A-Za-z0-9+/_=-]{20,})["']?(?=[\s"',;)]|$)"""
)
# Words that somebody wrote stay below; 20 random characters are above.
MOST_BITS = 3.7
SHORTEST = 8
IN_ADDRESS = re.compile(r"\w+://[^\s:/@\"'`]+:([^\s:/@\"'`${}<>]+)@[\w.-]")


def git_files():
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = (ROOT / name for name in listed.stdout.split("\0") if name)
    return [path for path in paths if path.is_file()]


def texts():
    for path in git_files():
        try:
            yield path, path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def secrets_in(text):
    """What looks like a secret: (why, where it begins)."""
    for why, shape in SHAPES.items():
        for found in re.finditer(shape, text):
            yield why, found[0][:12]
    for found in NAMED.finditer(text):
        if bits_of(found[1]) > MOST_BITS and re.search(r"\d", found[1]):
            yield "a random value with a telling name", found[0][:24]
    for found in IN_ADDRESS.finditer(text):
        # A plain or a short word stands for a password in examples and tests.
        if len(found[1]) >= SHORTEST and not found[1].isalpha():
            yield "a password in an address", found[0][:16]


def bits_of(text):
    """The entropy of a character of a text."""
    counts = Counter(text).values()
    return -sum(count / len(text) * math.log2(count / len(text)) for count in counts)


def test_no_file_holds_a_secret():
    found = {
        (str(path.relative_to(ROOT)), *secret)
        for path, text in texts()
        for secret in secrets_in(text)
    }

    assert found == set()


@pytest.mark.parametrize(
    "line",
    [
        # Put together here, so that this file passes its own test.
        "HUBSPOT_PRIVATE_APP_TOKEN=" + "pat-na1-" + "1b4fa9c0-77aa-4c0e-9d3f-0a1b2c3d4e5f",
        "-----BEGIN " + "RSA PRIVATE KEY-----",
        "SECRET_KEY=" + "vQ0f9yQ1kz7Xw3uV2pT8sL5r" + "B6nM4cJ0aHdGeKiYqWE=",
        'api_key = "' + "Zx81kLm29QpVt63RwYb7" + '"',
        "DATABASE_URL=" + "postgresql://crm:" + "tr0ub4dor@db.example.com/crm",
        "token: " + ".".join(["eyJhbGciOiJIUzI1NiJ9", "eyJzdWIiOiIxMjM0NSJ9", "a" * 43]),
    ],
)
def test_a_secret_would_be_noticed(line):
    assert list(secrets_in(line))


@pytest.mark.parametrize("name", [".env.local", ".data/embedded.env"])
def test_git_ignores_what_holds_secrets(name):
    ignored = subprocess.run(["git", "check-ignore", "-q", name], cwd=ROOT, check=False)

    assert ignored.returncode == 0


def test_no_module_is_a_drawer():
    assert [path for path in git_files() if path.suffix == ".py" and DRAWERS & words(path)] == []


def words(path):
    """The names of a module and of the folders that it is in."""
    return {path.stem, *path.relative_to(ROOT).parts[:-1]}
