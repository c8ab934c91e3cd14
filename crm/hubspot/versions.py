"""HubSpot's API versions: the paths of each, and until when HubSpot stands by it.

Sources: HubSpot docs, versioning; HubSpot's changelog, "legacy APIs: what's going unsupported and
when", "CRM API write validation enforcement", "pipelines API v1 sunset".
"""

from collections.abc import Mapping
from datetime import date, timedelta
from types import MappingProxyType

LEGACY = "v3"
"""The older family: associations in v4, everything else in v3."""

TESTED = "2026-09"
"""The newest version that this service was tested with."""

_LEGACY_PATHS = {
    "objects": "/crm/v3/objects",
    "associations": "/crm/v4/associations",
    "pipelines": "/crm/v3/pipelines",
    "properties": "/crm/v3/properties",
    "owners": "/crm/v3/owners",
    "account": "/account-info/v3",
}
_DATED_PATHS = {
    "objects": "/crm/objects/{version}",
    "associations": "/crm/associations/{version}",
    "pipelines": "/crm/pipelines/{version}",
    "properties": "/crm/properties/{version}",
    "owners": "/crm/owners/{version}",
    "account": "/account-info/{version}",
}

UNSUPPORTED: Mapping[str, date] = MappingProxyType(
    {
        # The associations' v4; HubSpot names no day of September 2027 for v1 to v3.
        LEGACY: date(2027, 3, 30),
        # Eighteen months after their general availability on 30 March and 8 September 2026.
        "2026-03": date(2027, 9, 30),
        "2026-09": date(2028, 3, 8),
    }
)
"""From when on HubSpot no longer supports a version; it may answer for a while after."""

_NOTICE = timedelta(days=365)


def base_path(version: str, api: str) -> str:
    """Where an API, such as ``objects``, begins in a version."""
    paths = _LEGACY_PATHS if version == LEGACY else _DATED_PATHS
    return paths[api].format(version=version)


def sunset_warning(version: str, today: date) -> str | None:
    """What an operator should know of the configured version, in a sentence; None for nothing.

    Args:
        version: as in ``HUBSPOT_API_VERSION``.
        today: warnings begin a year before a version's end.
    """
    advice = f"set HUBSPOT_API_VERSION={TESTED}"
    if version.endswith("-beta"):
        return f"HubSpot may change its API version {version}, a beta, at any time; {advice}"
    if version > TESTED and version != LEGACY:
        return f"HubSpot's API version {version} is newer than this service knows; {advice}"
    end = UNSUPPORTED.get(version)
    if end is None:
        return f"{version} is no API version that HubSpot supports; {advice}"
    if today >= end:
        return f"HubSpot does not support its API version {version} since {end}; {advice}"
    if today >= end - _NOTICE:
        return f"HubSpot ends its support of API version {version} on {end}; {advice}"
    return None
