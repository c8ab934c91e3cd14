"""Creating, changing and deleting pipelines and stages."""

from collections.abc import Callable
from typing import Any

import pytest

from hubspot_sandbox import SandboxServer
from hubspot_sandbox.pipeline_writes import MAX_STAGES
from hubspot_sandbox.store import Sandbox

from .client import HubSpot

MakeDeal = Callable[..., dict[str, Any]]
DEALS = "/crm/pipelines/2026-09/deals"
OLDER = "/crm/v3/pipelines/deals"
TICKETS = "/crm/pipelines/2026-09/tickets"


def stage(label: str, order: int = 0, **metadata: Any) -> dict[str, Any]:
    metadata = metadata or {"probability": 0.3}
    return {"label": label, "displayOrder": order, "metadata": metadata}


def pipeline(*stages: Any, label: str = "Renewals", order: int = 5) -> dict[str, Any]:
    return {"label": label, "displayOrder": order, "stages": list(stages or [stage("Open")])}


@pytest.fixture
def renewals(hubspot: HubSpot) -> dict[str, Any]:
    body = pipeline(stage("Open"), stage("Won", 2, probability="1"), stage("Late", 1))
    answer = hubspot.post(DEALS, body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def labels(shape: Any) -> list[str]:
    return [each["label"] for each in shape]


@pytest.mark.parametrize("base", [DEALS, OLDER])
def test_a_pipeline_is_created_with_its_stages_in_their_order(hubspot: HubSpot, base: str) -> None:
    body = pipeline(stage("Open"), stage("Won", 2, probability="1"), stage("Late", 1))
    created = hubspot.post(base, body)

    assert created.status_code == 201
    shape = created.json()
    assert labels(shape["stages"]) == ["Open", "Late", "Won"]
    assert shape["stages"][2]["metadata"] == {"probability": "1.0", "isClosed": "true"}
    assert shape["createdAt"] == shape["updatedAt"] > "2026"
    assert hubspot.get(f"{base}/{shape['id']}").json() == shape
    assert labels(hubspot.get(base).json()["results"]) == ["Sales Pipeline", "Renewals"]


def test_records_live_in_a_new_pipeline_when_they_name_it(
    hubspot: HubSpot, renewals: dict[str, Any]
) -> None:
    won = renewals["stages"][2]["id"]
    values = {"dealname": "D", "dealstage": won}
    refused = hubspot.post("/crm/v3/objects/deals", {"properties": values})

    assert refused.status_code == 400
    deal = hubspot.create("deals", **values, pipeline=renewals["id"])
    assert deal["properties"]["hs_is_closed_won"] == "true"


def test_a_tickets_stage_is_open_or_closed(hubspot: HubSpot) -> None:
    body = pipeline(stage("New", note="x"), stage("Done", 1, ticketState="CLOSED"))
    shape = hubspot.post(TICKETS, body).json()

    assert shape["stages"][0]["metadata"] == {
        "note": "x",
        "ticketState": "OPEN",
        "isClosed": "false",
    }
    assert shape["stages"][1]["metadata"]["isClosed"] == "true"
    wrong = hubspot.post(TICKETS, pipeline(stage("New", ticketState="AJAR"), label="Other"))
    assert wrong.status_code == 400


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"label": "P", "displayOrder": 0}, 400),
        ({"label": "P", "stages": [stage("S")]}, 400),
        ({"displayOrder": 0, "stages": [stage("S")]}, 400),
        ({"label": "P", "displayOrder": 0, "stages": []}, 400),
        (pipeline({"label": "S", "displayOrder": 0}), 400),
        (pipeline({"label": "S", "metadata": {"probability": "0.1"}}), 400),
        (pipeline(stage("S", probability="much")), 400),
        (pipeline(stage("S", probability="1.1")), 400),
        (pipeline(stage("S", probability="nan")), 400),
        (pipeline(stage("S", other="1")), 400),
        (pipeline(label=""), 400),
        (pipeline(label="x" * 256), 400),
        (pipeline(order=10**30), 400),
        ({**pipeline(), "displayOrder": "1.5"}, 400),
        (pipeline(stage("S"), stage("S")), 409),
        (pipeline(label="Sales Pipeline"), 409),
        (pipeline(*(stage(str(number)) for number in range(MAX_STAGES + 1))), 400),
    ],
)
def test_a_wrong_pipeline_is_refused(hubspot: HubSpot, body: Any, status: int) -> None:
    assert hubspot.post(DEALS, body).status_code == status
    assert len(hubspot.get(DEALS).json()["results"]) == 1


def test_only_types_with_stages_get_pipelines(hubspot: HubSpot) -> None:
    assert hubspot.post("/crm/v3/pipelines/line_items", pipeline()).status_code == 400


def test_a_pipeline_and_a_stage_are_patched(
    sandbox: SandboxServer, hubspot: HubSpot, renewals: dict[str, Any]
) -> None:
    sandbox.sandbox.clock.offset_ms += 60_000
    path = f"{DEALS}/{renewals['id']}"
    renamed = hubspot.patch(path, {"label": "Contracts"}).json()
    first = renewals["stages"][0]
    moved = hubspot.patch(f"{path}/stages/{first['id']}", {"metadata": {"probability": 0}}).json()

    assert (renamed["label"], renamed["displayOrder"]) == ("Contracts", 5)
    assert renamed["updatedAt"] > renamed["createdAt"] == renewals["createdAt"]
    assert moved == {
        **first,
        "metadata": {"probability": "0.0", "isClosed": "true"},
        "updatedAt": moved["updatedAt"],
    }
    assert hubspot.get(path).json()["stages"][0] == moved


def test_a_pipeline_and_a_stage_are_replaced(hubspot: HubSpot, renewals: dict[str, Any]) -> None:
    path = f"{DEALS}/{renewals['id']}"
    replaced = hubspot.put(path, pipeline(stage("Only"), label="New")).json()

    assert (replaced["id"], labels(replaced["stages"])) == (renewals["id"], ["Only"])
    only = replaced["stages"][0]
    assert only["id"] not in {each["id"] for each in renewals["stages"]}
    again = hubspot.put(f"{path}/stages/{only['id']}", stage("Else", 3)).json()
    assert (again["id"], again["label"], again["displayOrder"]) == (only["id"], "Else", 3)


def test_a_stage_is_added_and_deleted(hubspot: HubSpot, renewals: dict[str, Any]) -> None:
    path = f"{DEALS}/{renewals['id']}/stages"
    added = hubspot.post(path, stage("Extra", 9))

    assert added.status_code == 201
    assert labels(hubspot.get(path).json()["results"]) == ["Open", "Late", "Won", "Extra"]
    assert hubspot.post(path, stage("Extra", 9)).status_code == 409
    assert hubspot.delete(f"{path}/{added.json()['id']}").status_code == 204
    assert labels(hubspot.get(path).json()["results"]) == ["Open", "Late", "Won"]


def test_the_last_stage_and_the_last_pipeline_stay(hubspot: HubSpot) -> None:
    created = hubspot.post(DEALS, pipeline()).json()
    path = f"{DEALS}/{created['id']}"

    assert hubspot.delete(f"{path}/stages/{created['stages'][0]['id']}").status_code == 400
    assert hubspot.delete(path).status_code == 204
    assert hubspot.get(path).status_code == 404
    assert hubspot.delete(f"{DEALS}/default").status_code == 400


def test_a_pipeline_is_archived_by_a_patch(hubspot: HubSpot, renewals: dict[str, Any]) -> None:
    path = f"{DEALS}/{renewals['id']}"

    assert hubspot.patch(path, {"archived": True}).json()["archived"] is True
    assert hubspot.get(path).status_code == 404


@pytest.mark.parametrize(
    ("base", "query", "status"),
    [
        (DEALS, "", 400),
        (DEALS, "?validateDealStageUsagesBeforeDelete=false", 204),
        (DEALS, "?validateReferencesBeforeDelete=false", 400),
        (OLDER, "", 204),
        (OLDER, "?validateDealStageUsagesBeforeDelete=true", 400),
        (OLDER, "?validateReferencesBeforeDelete=true", 400),
    ],
)
@pytest.mark.parametrize("part", ["", "/stages/{}"])
def test_what_records_are_in_is_deleted_as_version_and_question_say(
    hubspot: HubSpot, renewals: dict[str, Any], base: str, query: str, status: int, part: str
) -> None:
    used = renewals["stages"][0]["id"]
    hubspot.create("deals", dealname="D", dealstage=used, pipeline=renewals["id"])

    answer = hubspot.delete(f"{base}/{renewals['id']}{part.format(used)}{query}")
    assert answer.status_code == status
    if status == 400:
        assert answer.json()["subCategory"] == "PipelineError.STAGE_ID_IN_USE"
        assert answer.json()["context"] == {"stageIds": [used]}


def test_tickets_have_the_general_parameter_only(
    hubspot: HubSpot, renewals: dict[str, Any]
) -> None:
    created = hubspot.post(TICKETS, pipeline(stage("New", note="x"))).json()
    values = {"subject": "T", "hs_pipeline": created["id"]}
    hubspot.create("tickets", **values, hs_pipeline_stage=created["stages"][0]["id"])
    path = f"{TICKETS}/{created['id']}"

    assert hubspot.delete(f"{path}?validateDealStageUsagesBeforeDelete=false").status_code == 400
    assert hubspot.delete(f"{path}?validateReferencesBeforeDelete=false").status_code == 204


def test_a_replacement_that_drops_a_used_stage_is_refused(
    hubspot: HubSpot, renewals: dict[str, Any]
) -> None:
    stage_id = renewals["stages"][0]["id"]
    hubspot.create("deals", dealname="D", dealstage=stage_id, pipeline=renewals["id"])

    refused = hubspot.put(f"{DEALS}/{renewals['id']}", pipeline())
    assert refused.status_code == 400
    assert hubspot.get(f"{DEALS}/{renewals['id']}").json() == renewals


def test_changes_are_audited_newest_first_and_beyond_the_end(
    hubspot: HubSpot, renewals: dict[str, Any]
) -> None:
    path = f"{DEALS}/{renewals['id']}"
    hubspot.patch(path, {"label": "Contracts"})
    stage_path = f"{path}/stages/{renewals['stages'][0]['id']}"
    hubspot.patch(stage_path, {"label": "Start"})
    hubspot.delete(path)
    changes = hubspot.get(f"{path}/audit").json()["results"]

    assert [each["action"] for each in changes] == ["DELETE", "UPDATE", "CREATE"]
    assert {each["identifier"] for each in changes} == {renewals["id"]}
    assert changes[-1]["rawObject"] == renewals
    (change,) = hubspot.get(f"{stage_path}/audit").json()["results"]
    assert (change["action"], change["rawObject"]["label"]) == ("UPDATE", "Start")


def test_pipelines_and_their_audit_last_in_a_state_file(
    sandbox: SandboxServer, renewals: dict[str, Any]
) -> None:
    copy = Sandbox()
    copy.restore(sandbox.sandbox.serialize())
    (kept,) = copy.portals.values()
    (portal,) = sandbox.sandbox.portals.values()

    assert kept.pipelines == portal.pipelines
    assert kept.setup.pipeline_changes == portal.setup.pipeline_changes
    assert [each.path for each in kept.setup.pipeline_changes] == [renewals["id"]]


def test_the_records_of_a_stage_follow_its_metadata(
    hubspot: HubSpot, renewals: dict[str, Any]
) -> None:
    before = renewals["stages"][0]["id"]
    deal = hubspot.create("deals", dealname="D", dealstage=before, pipeline=renewals["id"])
    other = hubspot.create("deals", dealname="E", dealstage="qualifiedtobuy")
    path = f"{DEALS}/{renewals['id']}/stages/{before}"
    assert hubspot.patch(path, {"metadata": {"probability": "1.0"}}).status_code == 200

    def derived(record: dict[str, Any]) -> list[str]:
        names = ("hs_is_closed", "hs_is_closed_won", "hs_deal_stage_probability")
        path = f"/crm/v3/objects/deals/{record['id']}"
        shown = hubspot.get(path, properties=",".join(names)).json()["properties"]
        return [shown[name] for name in names]

    assert derived(deal) == ["true", "true", "1.0"]
    assert derived(other) == ["false", "false", "0.4"]
