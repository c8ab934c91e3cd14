"""Decide which side wins a property that was changed here, unsent as yet, and in HubSpot too.

A value written here stands until HubSpot has answered. Where HubSpot's value has meanwhile become
another than the one it was to replace, the policy of that property decides; whichever way, the
history of the row names the winner and the reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal

from crm.hubspot.answers import HubSpotRecord, parse_time

Policy = Literal["hubspot", "local", "newest"]
POLICIES: tuple[Policy, ...] = ("hubspot", "local", "newest")


@dataclass(frozen=True)
class Policies:
    """Which side wins, by property."""

    default: Policy = "newest"
    by_property: Mapping[str, Policy] | None = None
    """``{"contacts.phone": "local"}``."""

    @staticmethod
    @lru_cache
    def parse(described: str) -> "Policies":
        """Read ``newest,contacts.phone=local``: the default, then exceptions, in any order.

        Raises:
            ValueError: it is not written so.
        """
        default: Policy = "newest"
        exceptions: dict[str, Policy] = {}
        for part in filter(None, (each.strip() for each in described.split(","))):
            name, equals, policy_name = part.rpartition("=")
            policy = next((each for each in POLICIES if each == policy_name.strip()), None)
            if policy is None or (equals and name.count(".") != 1):
                raise ValueError(f"{part!r} is not like contacts.phone={'|'.join(POLICIES)}")
            if equals:
                exceptions[name.strip()] = policy
            else:
                default = policy
        return Policies(default, exceptions)

    def of(self, object_type: str, name: str) -> Policy:
        """The policy of a property."""
        return (self.by_property or {}).get(f"{object_type}.{name}", self.default)


@dataclass(frozen=True)
class UnsentValue:
    """A row's value that waits to be sent."""

    name: str
    value: str | None
    at: datetime | None
    replaced: str | None
    knows_replaced: bool
    is_cleared: bool = False
    """Whether we had HubSpot clear it, so that another record can have HubSpot's value first."""

    @classmethod
    def read(cls, name: str, row: Mapping[str, Any]) -> "UnsentValue":
        """Read one property of a row with its ``properties`` and ``drafts``."""
        ours = row["drafts"].get(name, {})
        return cls(
            name=name,
            value=row["properties"].get(name),
            at=parse_time(ours.get("at")),
            replaced=ours.get("over"),
            knows_replaced="over" in ours,
            is_cleared="cleared" in ours,
        )

    def is_contested(self, theirs: HubSpotRecord) -> bool:
        """Whether the property was changed in HubSpot too, to something else."""
        if not self.knows_replaced or self.name not in theirs.properties:
            return False
        value = theirs.properties[self.name]
        if self.is_cleared and not value:
            return False
        return not (_is_same(value, self.replaced) or _is_same(value, self.value))


@dataclass(frozen=True)
class Resolution:
    """Who has won a property, and why."""

    name: str
    hubspot_wins: bool
    value: str | None
    """HubSpot's."""
    replaced: str | None
    changed_at: datetime | None
    """When it was changed there."""
    reason: str


def resolve(
    policy: Policy, ours: UnsentValue, value: str | None, changed_at: datetime
) -> Resolution:
    """Decide about a contested property.

    Args:
        policy: of the property.
        ours: this side's value.
        value: HubSpot's.
        changed_at: when HubSpot's value was set.
    """
    is_newer = ours.at is None or changed_at > ours.at
    hubspot_wins = policy == "hubspot" or (policy == "newest" and is_newer)
    reason = f"policy {policy}"
    if policy == "newest":
        here = ours.at.isoformat() if ours.at else "before"
        reason += f": changed in HubSpot at {changed_at.isoformat()}, here at {here}"
    return Resolution(ours.name, hubspot_wins, value, ours.replaced, changed_at, reason)


def _is_same(one: str | None, other: str | None) -> bool:
    # HubSpot does not tell an empty value from none.
    return (one or None) == (other or None)
