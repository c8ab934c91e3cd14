"""Callers, the job and HubSpot's troubles at once: nothing is lost, nothing stands twice."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from crm.db import transaction
from tests.api.conftest import count_rows
from tests.api.test_records import RECORDS, end_pause, rows
from tests.conftest import wait_until

CALLERS = 6


@pytest.fixture
def post(app, make_key, set_up):
    key = make_key()

    def do(path, body, method="POST"):
        return app.test_client().open(path, method=method, json=body, headers=key)

    return do


def at_once(functions):
    with ThreadPoolExecutor(len(functions)) as pool:
        return [each.result() for each in [pool.submit(function) for function in functions]]


@pytest.mark.parametrize("name", RECORDS)
def test_callers_with_one_key_make_one_record(post, in_hubspot, name):
    given, _ = RECORDS[name]

    answers = at_once([lambda: post(f"/{name}", given)] * CALLERS)

    actions = [each.json.get("action") for each in answers]
    assert {each.status_code for each in answers} <= {200, 201, 202}, actions
    assert actions.count("created") == 1
    assert count_rows("records") == len(in_hubspot(name)) == 1


def test_batches_with_the_same_keys_in_any_order_do_not_block_each_other(post, in_hubspot):
    inputs = [{"email": f"a{each}@example.com"} for each in range(50)]

    answers = at_once(
        [
            lambda: post("/contacts/batch", {"inputs": inputs}),
            lambda: post("/contacts/batch", {"inputs": inputs[::-1]}),
            lambda: post("/contacts/batch", {"inputs": inputs[25:] + inputs[:25]}),
        ]
    )

    for answer in answers:
        assert {each["status"] for each in answer.json["results"]} == {"success"}
    assert count_rows("records") == len(in_hubspot("contacts")) == 50


def test_one_that_is_refused_takes_nothing_of_anothers_with_it(post, sandbox, in_hubspot):
    post("/contacts", {"email": "ada@example.com", "firstname": "Ada"})
    sandbox.set_faults([{"kind": "slow", "seconds": 0.3, "count": 1}])
    refused = {"email": "ada@example.com", "firstname": "Eve", "phone": "1", "no_such": "1"}
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(post, "/contacts", refused)
        wait_until(lambda: rows("held_until")[0][0])
        second = post("/contacts", {"email": "ada@example.com", "lastname": "Lovelace"})

    assert first.result().status_code == 400
    assert (second.status_code, second.json["action"]) == (200, "updated")
    assert in_hubspot("contacts", "firstname", "lastname", "phone")[0].items() >= {
        ("firstname", "Ada"),
        ("lastname", "Lovelace"),
        ("phone", None),
    }
    [(state, properties, unsent)] = rows("state", "properties", "unsent")
    assert (state, unsent) == ("synced", [])
    assert "no_such" not in properties
    with transaction() as session:
        names = session.scalars(text("SELECT DISTINCT name FROM record_changes")).all()
    assert "no_such" not in names


def test_a_new_one_that_is_refused_leaves_anothers_change_of_it(post, sandbox, in_hubspot):
    sandbox.set_faults([{"kind": "slow", "seconds": 0.3, "count": 1}])
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(post, "/contacts", {"email": "ada@example.com", "no_such": "1"})
        wait_until(lambda: rows("id"))
        second = post("/contacts", {"email": "ada@example.com", "lastname": "Lovelace"})

    assert first.result().status_code == 400
    assert second.status_code == 201
    assert in_hubspot("contacts", "lastname")[0]["lastname"] == "Lovelace"


@pytest.mark.parametrize("faults", [[], [{"kind": "reset_after", "probability": 0.2, "seed": 7}]])
def test_the_last_value_of_every_caller_stands_while_the_job_runs_beside(
    app, post, sandbox, in_hubspot, run_jobs, faults
):
    names = ("firstname", "lastname", "company")
    post("/contacts", {"email": "ada@example.com"})
    sandbox.set_faults(faults)
    done = threading.Event()

    def write(name):
        for number in range(6):
            answer = post("/contacts", {"email": "ada@example.com", name: f"{name} {number}"})
            assert answer.status_code in (200, 202), answer.json

    def work():
        with app.app_context():
            while not done.is_set():
                end_pause()
                run_jobs()
                done.wait(0.02)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        at_once([lambda name=name: write(name) for name in names])
    finally:
        done.set()
        worker.join()
    sandbox.set_faults([])
    end_pause()
    run_jobs()

    last = {name: f"{name} 5" for name in names}
    [(state, properties)] = rows("state", "properties")
    assert state == "synced"
    assert last.items() <= properties.items()
    assert last.items() <= in_hubspot("contacts", *names)[0].items()
