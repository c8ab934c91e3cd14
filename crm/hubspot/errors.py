"""What can go wrong between us and HubSpot.

HubSpotError                     502 HUBSPOT_API_ERROR     an answer that makes no sense
├── HubSpotUnavailableError      503 HUBSPOT_UNAVAILABLE   not reached, too busy, or a 5xx
│   └── HubSpotRateLimitError    503                       429
├── HubSpotAuthError             401 HUBSPOT_AUTH_FAILED   the token is refused
│   └── HubSpotRevokedError      401                       for good: connect anew
├── HubSpotScopeError            403 FORBIDDEN             the token lacks a scope
├── HubSpotNotFoundError         404 NOT_FOUND
├── HubSpotConflictError         409 CONFLICT              ``existing_id``, if told
└── HubSpotRefusedError          400 VALIDATION_ERROR      the input is wrong in HubSpot's eyes

``retryable`` says whether the same call may succeed later with nothing changed.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from crm.errors import CRMError


class HubSpotError(CRMError):
    """HubSpot answered in a way that we do not understand."""

    status = 502
    error_code = "HUBSPOT_API_ERROR"
    retryable: ClassVar[bool] = False

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

        Of an error within a batch, ``trace_ids`` and ``ids`` tell which inputs it is about.
        """
        self.category = category
        self.correlation_id = correlation_id
        self.trace_ids: list[str] = []
        self.ids: list[str] = []
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
    never_arrived: bool = False
    """Whether it is certain that HubSpot did not even see the call."""
    may_pass_soon: bool = True
    """Whether trying again within a second makes sense: not where HubSpot asked for a pause."""
    retry_after: float | None = None
    """Seconds that HubSpot asked to wait."""


class HubSpotRateLimitError(HubSpotUnavailableError):
    """HubSpot's rate limit is reached."""

    may_pass_soon = False


class HubSpotAuthError(HubSpotError):
    """HubSpot refuses the token."""

    status = 401
    error_code = "HUBSPOT_AUTH_FAILED"


class HubSpotRevokedError(HubSpotAuthError):
    """The connection to HubSpot was revoked; connect the portal again."""


class HubSpotScopeError(HubSpotError):
    """The HubSpot token lacks a scope."""

    status = 403
    error_code = "FORBIDDEN"


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
