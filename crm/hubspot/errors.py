"""What can go wrong between us and HubSpot.

HubSpotError                     502 HUBSPOT_API_ERROR     an answer that makes no sense; a redirect
├── HubSpotUnavailableError      503 HUBSPOT_UNAVAILABLE   not reached, cut off, 408, 423, 477, 5xx
│   └── HubSpotRateLimitError    503                       429, with its ``policy``
├── HubSpotAuthError             401 HUBSPOT_AUTH_FAILED   401; ``is_expired``, or else invalid
│   └── HubSpotRevokedError      401                       for good: connect the portal anew
├── HubSpotScopeError            403 FORBIDDEN             403, with the ``scopes`` it asks for
├── HubSpotNotFoundError         404 NOT_FOUND             404
├── HubSpotConflictError         409 CONFLICT              409, with ``existing_id``, if told
└── HubSpotRefusedError          400 VALIDATION_ERROR      400, 413, 414, 422: wrong in its eyes

All carry what HubSpot's envelope told: ``message``, ``category``, ``sub_category``,
``correlation_id`` (else from the header), ``context``, and ``errors`` by property, from
``errors[]`` or from the JSON inside the message. ``met`` names what was met on the wire, for the
decision list in ``crm.hubspot.retries``.

``retryable`` says whether the same call may succeed later with nothing changed. It is true of
HubSpotUnavailableError and its family alone; their ``retry_after`` says from when on.

An error of a single row in a 207 is of the same classes, by its category; ``trace_ids`` and ``ids``
tell which inputs it is about.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from crm.errors import CRMError

RateLimitPolicy = Literal["TEN_SECONDLY_ROLLING", "SECONDLY", "DAILY"]

_EXPIRED = "EXPIRED_AUTHENTICATION"


class HubSpotError(CRMError):
    """HubSpot answered in a way that we do not understand."""

    status = 502
    error_code = "HUBSPOT_API_ERROR"
    retryable: ClassVar[bool] = False

    sub_category: str | None = None
    """Such as ``crm.associations.NO_ASSOCIATIONS_FOUND``."""
    context: Mapping[str, Sequence[str]] = MappingProxyType({})
    """What HubSpot named beside its message, such as ``{"ids": ["1", "2"]}``."""
    trace_ids: Sequence[str] = ()
    ids: Sequence[str] = ()
    met: str = ""
    """What was met on the wire; empty for a row's error and for one of our own."""

    def __init__(
        self,
        message: str | None = None,
        *,
        category: str | None = None,
        correlation_id: str | None = None,
        errors: Mapping[str, str] | None = None,
    ) -> None:
        """Carry HubSpot's own words and the correlation id that its support asks for.

        Args:
            message: HubSpot's message, as given.
            category: such as VALIDATION_ERROR.
            correlation_id: HubSpot's id of the request.
            errors: property name to HubSpot's sentence, where it named any.
        """
        self.category = category
        self.correlation_id = correlation_id
        super().__init__(
            message,
            errors=errors,
            details={"correlation_id": correlation_id} if correlation_id else {},
        )

    def as_rejection(self) -> dict[str, Any]:
        """HubSpot's reason in the shape in which the mirror keeps it."""
        return {
            "message": self.message,
            "category": self.category,
            "correlation_id": self.correlation_id,
            "errors": self.errors,
        }


class HubSpotUnavailableError(HubSpotError):
    """HubSpot cannot be reached."""

    status = 503
    error_code = "HUBSPOT_UNAVAILABLE"
    retryable = True
    retry_after: float | None = None
    """Seconds to wait before the next call: as HubSpot asked, else as the decision list says."""


class HubSpotRateLimitError(HubSpotUnavailableError):
    """HubSpot's rate limit is reached."""

    policy: RateLimitPolicy | None = None
    """Which limit it is, where HubSpot tells."""


class HubSpotAuthError(HubSpotError):
    """HubSpot refuses the token."""

    status = 401
    error_code = "HUBSPOT_AUTH_FAILED"

    @property
    def is_expired(self) -> bool:
        """Whether the token was good once; an invalid one never was, or was revoked."""
        return self.category == _EXPIRED


class HubSpotRevokedError(HubSpotAuthError):
    """The connection to HubSpot was revoked; connect the portal again."""


class HubSpotScopeError(HubSpotError):
    """The HubSpot token lacks a scope."""

    status = 403
    error_code = "FORBIDDEN"
    scopes: Sequence[str] = ()
    """Of which at least one is wanted, where HubSpot tells."""


class HubSpotNotFoundError(HubSpotError):
    """HubSpot has no such resource."""

    status = 404
    error_code = "NOT_FOUND"


class HubSpotConflictError(HubSpotError):
    """HubSpot has a record with this unique value already."""

    status = 409
    error_code = "CONFLICT"
    existing_id: str | None = None


class HubSpotRefusedError(HubSpotError):
    """HubSpot refuses the input."""

    status = 400
    error_code = "VALIDATION_ERROR"
