"""Settings, for administrators: people, API keys, webhooks, and the doctor's findings."""

from collections.abc import Iterable

import orjson
from flask import Blueprint, Response, current_app, flash, redirect, render_template, url_for
from flask import request as asked
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from wtforms import SelectField

from crm.accounts import api_keys, users
from crm.console.forms import email_address, line, password
from crm.console.guards import Guard, current_caller, guarded
from crm.errors import ConfigError, ConflictError, ForbiddenError, NotFoundError, UserExistsError
from crm.inbox import subscriptions
from crm.operations import doctor, sync_status
from crm.operations.findings import Finding, Level
from crm.portals import portals

bp = Blueprint("settings", __name__, url_prefix="/console/settings")

_LEVELS = {Level.OK: ("ok", "check"), Level.WARN: ("wait", "alert"), Level.FAIL: ("bad", "cross")}


class NewUserForm(FlaskForm):  # type: ignore[misc] # Flask-WTF has no types
    """Somebody who shall sign in."""

    email = email_address()
    password = password("First password", is_new=True)
    role = SelectField(
        "Role",
        choices={"user": "User: looks", "admin": "Administrator: also changes"},
        render_kw={"class": "form-select"},
    )


class NewKeyForm(FlaskForm):  # type: ignore[misc] # Flask-WTF has no types
    """An application that shall have a key."""

    name = line("What is it for?", longest=100, placeholder="Web shop", autocomplete="off")


@bp.get("")
@guarded(Guard.ADMIN)
def show() -> ResponseReturnValue:
    """The people of the organization, and what each may do."""
    return _show_people(NewUserForm(), 200)


@bp.post("/users")
@guarded(Guard.ADMIN)
def add_user() -> ResponseReturnValue:
    """Make an account for somebody."""
    form = NewUserForm()
    if not form.validate():
        return _show_people(form, 400)
    try:
        users.add_user(
            current_caller().organization_id,
            email=form.email.data,
            password=form.password.data,
            role=form.role.data,
        )
    except UserExistsError:
        form.email.errors = ["There is an account with this e-mail already."]
        return _show_people(form, UserExistsError.status)
    flash(f"{form.email.data} may sign in. Tell them the password; it is shown nowhere.", "success")
    return redirect(url_for(".show"), 303)


@bp.post("/users/<int:user_id>/role")
@guarded(Guard.ADMIN)
def change_role(user_id: int) -> ResponseReturnValue:
    """Make somebody a user or an administrator."""
    role = asked.form.get("role", "")
    try:
        email = users.change_role(current_caller().organization_id, user_id, role)
    except ConflictError as error:
        flash(f"{error.message}: make somebody else one first.", "danger")
    else:
        flash(f"{email} is {'an administrator' if role == 'admin' else 'a user'} now.", "success")
    return redirect(url_for(".show"), 303)


@bp.get("/keys")
@guarded(Guard.ADMIN)
def show_keys() -> ResponseReturnValue:
    """The organization's API keys by how they begin."""
    return _show_keys(NewKeyForm(), 200)


@bp.post("/keys")
@guarded(Guard.ADMIN)
def create_key() -> ResponseReturnValue:
    """Make a key and show it, for the only time."""
    form = NewKeyForm()
    if not form.validate():
        return _show_keys(form, 400)
    key = api_keys.issue_key(current_caller().organization_id, form.name.data)
    return _show_keys(NewKeyForm(formdata=None), 201, key=key)


@bp.post("/keys/<prefix>/revoke")
@guarded(Guard.ADMIN)
def revoke_key(prefix: str) -> ResponseReturnValue:
    """Refuse a key from now on."""
    try:
        api_keys.revoke_key(prefix, current_caller().organization_id)
    except NotFoundError:
        flash("No key in force begins like this.", "warning")
    else:
        flash("The key is refused from now on.", "success")
    return redirect(url_for(".show_keys"), 303)


@bp.get("/webhooks")
@guarded(Guard.ADMIN)
def show_webhooks() -> ResponseReturnValue:
    """How to have HubSpot tell of changes, step by step, and which steps are done."""
    settings = current_app.extensions["crm_settings"]
    caller = current_caller()
    return render_template(
        "console/webhook_setup.html",
        is_default=_is_default(),
        address=settings.webhook_url,
        has_secret=bool(settings.hubspot_client_secret),
        status=sync_status.find_sync_status(caller.portal_id),
    )


@bp.get("/webhooks-hsmeta.json")
@guarded(Guard.ADMIN)
def download_manifest() -> Response:
    """The file that HubSpot's app wants."""
    _refuse_others()
    try:
        manifest = subscriptions.make_manifest()
    except ConfigError as error:
        raise ConflictError(error.message) from error
    return Response(
        orjson.dumps(manifest, option=orjson.OPT_INDENT_2),
        content_type="application/json",
        headers={"Content-Disposition": "attachment; filename=webhooks-hsmeta.json"},
    )


@bp.get("/doctor")
@guarded(Guard.ADMIN)
def show_doctor() -> ResponseReturnValue:
    """What is to be examined, and a button for it."""
    return _show_findings(())


@bp.post("/doctor")
@guarded(Guard.ADMIN)
def examine() -> ResponseReturnValue:
    """Examine everything between us and HubSpot, which takes some calls."""
    _refuse_others()
    return _show_findings(list(doctor.examine()))


def _show_people(form: FlaskForm, status: int) -> ResponseReturnValue:
    caller = current_caller()
    page = render_template(
        "console/users.html",
        people=users.list_members(caller.organization_id),
        form=form,
        own_id=caller.user_id,
    )
    return page, status


def _show_keys(form: FlaskForm, status: int, key: str | None = None) -> ResponseReturnValue:
    keys = api_keys.list_keys(current_caller().organization_id)
    return render_template("console/keys.html", keys=keys, form=form, key=key), status


def _show_findings(findings: Iterable[Finding]) -> str:
    return render_template(
        "console/doctor.html", findings=findings, levels=_LEVELS, is_default=_is_default()
    )


def _is_default() -> bool:
    """Whether the settings' portal is the caller's: they tell nothing of another's."""
    return portals.get_default_portal_id() == current_caller().portal_id


def _refuse_others() -> None:
    if not _is_default():
        raise ForbiddenError("This is for the organization that the service's settings belong to.")
