"""Push: what was changed here reaches HubSpot, once."""


def test_a_registration_reaches_hubspot_as_an_associated_graph(register, run_jobs, sandbox):
    ada = register()

    run_jobs()

    contact = ada.get("/contacts").json["data"]["data"]["contacts"][0]
    assert contact["sync_state"] == "synced"
    assert contact["id"]
    assert contact["deals"][0]["tickets"][0]["id"]
