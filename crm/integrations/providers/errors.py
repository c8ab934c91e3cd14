"""What can go wrong between us and a provider other than HubSpot, whose errors are its own family.

ProviderError                    502 PROVIDER_API_ERROR     an answer that makes no sense
├── ProviderUnavailableError     503 PROVIDER_UNAVAILABLE   not reached, cut off, busy, 429, 5xx
├── ProviderAuthError            401 PROVIDER_AUTH_FAILED   the access token is refused
│   └── ProviderRevokedError     401                        for good: connect again
├── ProviderScopeError           403 FORBIDDEN              the connection may not see this
└── ProviderRefusedError         400 VALIDATION_ERROR       wrong in the provider's eyes
"""

from crm.errors import CRMError
from crm.hubspot.errors import HubSpotAuthError, HubSpotRevokedError


class ProviderError(CRMError):
    """The provider answered in a way that we do not understand."""

    status = 502
    error_code = "PROVIDER_API_ERROR"


class ProviderUnavailableError(ProviderError):
    """The provider cannot be reached."""

    status = 503
    error_code = "PROVIDER_UNAVAILABLE"


class ProviderAuthError(ProviderError):
    """The provider refuses the access token."""

    status = 401
    error_code = "PROVIDER_AUTH_FAILED"


class ProviderRevokedError(ProviderAuthError):
    """The connection has ended; connect again."""


class ProviderScopeError(ProviderError):
    """The connection may not see this."""

    status = 403
    error_code = "FORBIDDEN"


class ProviderRefusedError(ProviderError):
    """The provider refuses the input."""

    status = 400
    error_code = "VALIDATION_ERROR"


REFUSED = (ProviderAuthError, HubSpotAuthError)
"""An access token is not taken (any more); another one may be."""
REVOKED = (ProviderRevokedError, HubSpotRevokedError)
"""The person, or the provider, has ended the connection."""
