"""The family of errors that callers of the service may meet.

CRMError                      500 INTERNAL_ERROR
├── ConfigError               at start: one line, exit code 1
├── InvalidInputError         400 VALIDATION_ERROR
│   └── InvalidCancellationError  400 INVALID_CANCELLATION
├── TokenError                401 INVALID_TOKEN
│   └── MissingTokenError     401 MISSING_TOKEN
├── CredentialsError          401 INVALID_CREDENTIALS
├── ForbiddenError            403 FORBIDDEN
├── NotFoundError             404 NOT_FOUND
│   ├── ScanNotFoundError     404 SCAN_NOT_FOUND
│   └── ScanNotReadyError     404 SCAN_NOT_READY
├── ConflictError             409 CONFLICT
│   ├── UserExistsError       409 USER_EXISTS
│   └── ScanInProgressError   409 SCAN_IN_PROGRESS
├── PreconditionFailedError   412 PRECONDITION_FAILED
├── TooManyScansError         429 RATE_LIMIT_EXCEEDED
├── UnavailableError          503 UNAVAILABLE
├── HubSpotError              see crm.hubspot.errors
└── ProviderError             see crm.integrations.providers.errors

Each class carries its HTTP status and ``error_code``; its docstring is its default message.
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class CRMError(Exception):
    """Internal server error."""

    status: ClassVar[int] = 500
    error_code: ClassVar[str] = "INTERNAL_ERROR"

    def __init__(
        self,
        message: str | None = None,
        *,
        errors: Mapping[str, str] | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """Carry one sentence for people, and two mappings for programs.

        Args:
            message: what happened and what to do next; the class's docstring when left out.
            errors: validation only, dotted field path to one sentence.
            details: context such as valid values or a correlation id; never a secret.
        """
        self.message = message or (self.__doc__ or "").removesuffix(".")
        self.errors = dict(errors or {})
        self.details = dict(details or {})
        super().__init__(self.message)


class ConfigError(CRMError):
    """The configuration is not usable."""


class InvalidInputError(CRMError):
    """Validation error."""

    status = 400
    error_code = "VALIDATION_ERROR"


class InvalidCancellationError(InvalidInputError):
    """Cannot cancel completed extraction."""

    error_code = "INVALID_CANCELLATION"


class TokenError(CRMError):
    """Invalid token."""

    status = 401
    error_code = "INVALID_TOKEN"


class MissingTokenError(TokenError):
    """Invalid token."""

    error_code = "MISSING_TOKEN"


class CredentialsError(CRMError):
    """Invalid credentials."""

    status = 401
    error_code = "INVALID_CREDENTIALS"


class ForbiddenError(CRMError):
    """You may not do this."""

    status = 403
    error_code = "FORBIDDEN"


class NotFoundError(CRMError):
    """Resource not found."""

    status = 404
    error_code = "NOT_FOUND"


class ScanNotFoundError(NotFoundError):
    """Resource not found."""

    error_code = "SCAN_NOT_FOUND"


class ScanNotReadyError(NotFoundError):
    """Scan not completed yet."""

    error_code = "SCAN_NOT_READY"


class ConflictError(CRMError):
    """The resource is in another state than this call expects."""

    status = 409
    error_code = "CONFLICT"


class UserExistsError(ConflictError):
    """User already exists."""

    error_code = "USER_EXISTS"


class ScanInProgressError(ConflictError):
    """Extraction already in progress."""

    error_code = "SCAN_IN_PROGRESS"


class PreconditionFailedError(CRMError):
    """The record has changed since that version; read it again."""

    status = 412
    error_code = "PRECONDITION_FAILED"


class TooManyScansError(CRMError):
    """Too many scans at once; wait for one to end, or cancel one."""

    status = 429
    error_code = "RATE_LIMIT_EXCEEDED"


class UnavailableError(CRMError):
    """A part of the service is away; try again in a moment."""

    status = 503
    error_code = "UNAVAILABLE"
    retry_after: ClassVar[int] = 5
    """Seconds after which callers are asked to try again."""
