"""Versions: each API's path in both families, and the warning before HubSpot ends its support."""

from datetime import date

import pytest

from crm import create_app
from crm.hubspot.versions import TESTED, UNSUPPORTED, base_path, sunset_warning

TODAY = date(2026, 11, 21)


@pytest.mark.parametrize(
    ("version", "api", "path"),
    [
        ("2026-09", "objects", "/crm/objects/2026-09"),
        ("2026-09", "associations", "/crm/associations/2026-09"),
        ("2026-09", "pipelines", "/crm/pipelines/2026-09"),
        ("2026-09", "properties", "/crm/properties/2026-09"),
        ("2026-09", "owners", "/crm/owners/2026-09"),
        ("2026-09", "account", "/account-info/2026-09"),
        ("v3", "objects", "/crm/v3/objects"),
        ("v3", "associations", "/crm/v4/associations"),
        ("v3", "pipelines", "/crm/v3/pipelines"),
        ("v3", "properties", "/crm/v3/properties"),
        ("v3", "owners", "/crm/v3/owners"),
        ("v3", "account", "/account-info/v3"),
    ],
)
def test_each_api_has_its_path_in_both_families(version, api, path):
    assert base_path(version, api) == path


@pytest.mark.parametrize(
    ("version", "today", "words"),
    [
        ("v3", TODAY, "ends its support of API version v3 on 2027-03-30"),
        ("v3", date(2027, 3, 29), "ends its support"),
        ("v3", date(2027, 3, 30), "does not support its API version v3 since 2027-03-30"),
        ("2026-03", TODAY, "ends its support of API version 2026-03 on 2027-09-30"),
        ("2026-03", date(2026, 9, 30), "ends its support"),
        ("2026-09", date(2027, 3, 9), "ends its support of API version 2026-09 on 2028-03-08"),
        ("2026-09", date(2028, 3, 8), "does not support"),
        ("2025-09", TODAY, "no API version that HubSpot supports"),
        ("2026-05", TODAY, "no API version that HubSpot supports"),
        ("0000-00", TODAY, "no API version that HubSpot supports"),
        ("2027-03", TODAY, "newer than this service knows"),
        ("9999-12", TODAY, "newer than this service knows"),
        ("2027-03-beta", TODAY, "a beta"),
        ("2026-09-beta", TODAY, "a beta"),
    ],
)
def test_a_version_that_ends_or_is_not_known_is_warned_of(version, today, words):
    warning = sunset_warning(version, today)

    assert words in warning
    assert version in warning


@pytest.mark.parametrize(
    ("version", "today"),
    [
        ("2026-09", TODAY),
        ("2026-09", date(2027, 3, 8)),
        ("2026-03", date(2026, 9, 29)),
        ("v3", date(2026, 3, 29)),
    ],
)
def test_a_version_with_more_than_a_year_to_go_is_fine(version, today):
    assert sunset_warning(version, today) is None


def test_the_advice_is_a_version_that_is_supported_longest():
    assert UNSUPPORTED[TESTED] == max(UNSUPPORTED.values())


def test_the_service_warns_at_start(make_settings, capsys):
    create_app(make_settings(HUBSPOT_API_VERSION="v3"))

    assert "API version v3" in "".join(capsys.readouterr())
