"""Accounts: register, login, refresh, logout, me."""

from typing import Any

from crm import open_access
from crm.accounts import registration, sessions, users
from crm.accounts.registration import NewDeal
from crm.api.blueprints import APIBlueprint
from crm.api.guards import Guard, current_caller, current_refresh_id, current_sign_in, guarded
from crm.api.limits import limit_sign_in
from crm.api.schemas.accounts import (
    LoginInput,
    MeSchema,
    MessageSchema,
    RegisteredSchema,
    RegistrationInput,
    SignedInSchema,
    properties_of,
)
from crm.object_types import CONTACTS, DEALS, TICKETS

bp = APIBlueprint("auth", __name__, description="Accounts")


@bp.post("/register")
@guarded(Guard.PUBLIC)
@limit_sign_in
@bp.arguments(RegistrationInput)
@bp.response(201, RegisteredSchema)
@bp.alt_response(403, "FORBIDDEN")
@bp.alt_response(409, "CONFLICT")
@bp.alt_response(413, "REQUEST_ENTITY_TOO_LARGE")
def register(given: dict[str, Any]) -> dict[str, Any]:
    """Make an account, and bring the person with deals and tickets to HubSpot."""
    password, deals = given.pop("password"), given.pop("deals")
    registration.register(
        email=given["email"],
        password=password,
        contact=properties_of(CONTACTS, given),
        deals=[
            NewDeal(
                properties=properties_of(DEALS, deal),
                tickets=[properties_of(TICKETS, ticket) for ticket in deal["tickets"]],
            )
            for deal in deals
        ],
    )
    return {"message": "User registered successfully", "data": {}}


@bp.post("/login")
@guarded(Guard.PUBLIC)
@limit_sign_in
@bp.arguments(LoginInput)
@bp.response(200, SignedInSchema)
@bp.alt_response(401, "UNAUTHORIZED")
def login(given: dict[str, str]) -> dict[str, Any]:
    """Sign in."""
    tokens = sessions.login(
        email=given["email"], password=given["password"], with_demo=open_access.is_granted()
    )
    return {"message": "User authenticated successfully", "data": tokens}


@bp.post("/refresh")
@guarded(Guard.REFRESH)
@bp.response(200, SignedInSchema)
def refresh() -> dict[str, Any]:
    """Exchange the refresh token, sent as Bearer, for new tokens; it is used up by that."""
    tokens = sessions.refresh(sign_in_id=current_sign_in(), refresh_id=current_refresh_id())
    return {"message": "Token refreshed successfully", "data": tokens}


@bp.post("/logout")
@guarded(Guard.PERSON)
@bp.response(200, MessageSchema)
def logout() -> dict[str, str]:
    """End this sign-in: its access and refresh tokens are refused from now on."""
    sessions.logout(current_sign_in())
    return {"message": "User logged out successfully"}


@bp.get("/me")
@guarded(Guard.PERSON)
@bp.response(200, MeSchema)
def get_me() -> dict[str, Any]:
    """The account with its own contact, deals and tickets, and the sync state of each."""
    caller = current_caller()
    return {
        "message": "Account retrieved successfully",
        "data": users.get_account(caller.user_id),
    }
