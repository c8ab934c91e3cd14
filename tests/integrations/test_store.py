"""What is kept for a while: the same in memory as in Redis, and a 503 when Redis is away."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from crm.config import load_settings
from crm.errors import UnavailableError
from crm.integrations.store import MemoryStore, RedisStore, get_store
from tests.conftest import PASSWORD, Person, free_port, registration, wait_until
from tests.integrations.conftest import Browser, settings_of


@pytest.fixture(params=["memory", "redis"])
def store(request):
    if request.param == "memory":
        return MemoryStore()
    made = RedisStore(request.getfixturevalue("redis_url"))
    for key in made.list_keys(""):
        made.forget(key)
    return made


def test_what_was_put_is_found_until_it_is_forgotten(store):
    store.put("a", b"one", 60)

    assert (store.find("a"), store.find("b")) == (b"one", None)
    store.forget("a")
    store.forget("a")
    assert store.find("a") is None


def test_what_is_over_is_gone_by_itself(store):
    store.put("a", b"one", 0.05)
    store.claim("b", 0.05)
    time.sleep(0.1)

    assert store.find("a") is store.take("a") is None
    assert not store.replace("a", b"two")
    assert not store.swap("a", b"one", b"two")
    assert store.claim("b", 60)
    assert store.list_keys("") == ["b"]


def test_of_all_who_take_a_value_one_gets_it(store):
    store.put("a", b"one", 60)

    with ThreadPoolExecutor(8) as threads:
        taken = [*threads.map(lambda _: store.take("a"), range(8))]

    assert (taken.count(b"one"), taken.count(None)) == (1, 7)


def test_of_all_who_claim_a_key_one_has_it(store):
    with ThreadPoolExecutor(8) as threads:
        claimed = [*threads.map(lambda _: store.claim("a", 60), range(8))]

    assert claimed.count(True) == 1


def test_another_value_ends_when_the_first_would_have(store):
    store.put("a", b"one", 1)
    assert store.replace("a", b"two")
    assert store.swap("a", b"two", b"three")
    assert store.find("a") == b"three"

    wait_until(lambda: store.find("a") is None)


def test_a_value_that_changed_meanwhile_is_not_swapped(store):
    store.put("a", b"one", 60)

    assert not store.swap("a", b"other", b"two")
    assert store.find("a") == b"one"


def test_keys_are_listed_by_their_beginning(store):
    for key in ("connection:a", "connection:b", "consent:c"):
        store.put(key, b"", 60)

    assert sorted(store.list_keys("connection:")) == ["connection:a", "connection:b"]


def test_a_redis_that_is_away_is_said_without_its_address():
    store = RedisStore(f"redis://:hush@127.0.0.1:{free_port()}/0")

    with pytest.raises(UnavailableError) as caught:
        store.find("a")

    assert "hush" not in str(caught.value)
    assert caught.value.status == 503


@pytest.fixture
def shared(make_app, redis_url, sandbox):
    """Two web processes that share a Redis."""
    changes = {name.upper(): value for name, value in settings_of(sandbox).items()}
    return [make_app(REDIS_URL=redis_url, **changes) for _ in range(2)]


def test_what_one_process_began_another_one_finishes_and_a_third_reads(shared):
    one, other = (app.test_client() for app in shared)
    one.post("/register", json=registration("ada@example.com", deals=[]))
    signed_in = one.post("/login", json={"email": "ada@example.com", "password": PASSWORD})
    headers = {"Authorization": f"Bearer {signed_in.json['data']['access_token']}"}
    browser = Browser(one, Person(one, "", signed_in.json["data"]))
    back = browser.consent(browser.begin("airtable"))
    cookie = one.get_cookie("crm_consent_airtable", path=back.partition("?")[0])
    other.set_cookie(cookie.key, cookie.value, path=cookie.path)

    assert other.get(back).status_code == 200
    items = one.get("/integrations/airtable/items", headers=headers)
    assert items.status_code == 200
    assert one.get(back).status_code == 400


def test_a_service_whose_redis_is_away_answers_503(app, browser, monkeypatch):
    dead = RedisStore(f"redis://127.0.0.1:{free_port()}/0")
    monkeypatch.setitem(app.extensions, "crm_temporary_store", dead)

    answer = browser.get("")
    page = browser.client.get(f"/integrations/notion/oauth2callback?state={'a' * 43}&code=b")

    assert (answer.status_code, answer.json["error_code"]) == (503, "UNAVAILABLE")
    assert page.status_code == 503
    assert "Not connected" in page.text


def test_several_processes_without_redis_are_warned_of(tmp_path):
    settings = load_settings({"WEB_CONCURRENCY": "2"}, project=tmp_path, embedded=False)

    assert any("REDIS_URL" in each for each in settings.warnings())
    assert not any("REDIS_URL" in e for e in replace(settings, web_concurrency=1).warnings())


def test_without_redis_it_is_this_process_that_remembers(app):
    assert isinstance(get_store(), MemoryStore)
    assert get_store() is get_store()
