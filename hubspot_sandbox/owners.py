"""The owners of a portal: the users and queues that records can be assigned to.

Source: HubSpot docs, owners guide. A deactivated user is an archived owner without a user id.
"""

from dataclasses import dataclass
from typing import Any, Final

from hubspot_sandbox.clock import iso

_JOINED = 1_704_182_400_000


@dataclass(frozen=True, slots=True)
class Owner:
    """One owner; records are assigned by ``id``, never by ``user_id``."""

    id: str
    email: str
    first_name: str
    last_name: str
    user_id: int
    archived: bool = False

    def render(self) -> dict[str, Any]:
        """Return the owner as HubSpot's JSON."""
        return {
            "id": self.id,
            "email": self.email,
            "type": "PERSON",
            "firstName": self.first_name,
            "lastName": self.last_name,
            "userId": None if self.archived else self.user_id,
            "userIdIncludingInactive": self.user_id,
            "createdAt": iso(_JOINED),
            "updatedAt": iso(_JOINED),
            "archived": self.archived,
        }


STOCK_OWNERS: Final = (
    Owner("71204385", "ines.aldaba@brightharbor.example", "Ines", "Aldaba", 60318841),
    Owner("71204386", "tom.okafor@brightharbor.example", "Tom", "Okafor", 60318842),
    Owner("71204391", "mara.lindqvist@brightharbor.example", "Mara", "Lindqvist", 60318907),
    Owner(
        "71204402", "jonas.weber@brightharbor.example", "Jonas", "Weber", 60319120, archived=True
    ),
)
