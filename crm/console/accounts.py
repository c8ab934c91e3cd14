"""Sign up, sign in, sign out."""

from urllib.parse import urlsplit

from flask import Blueprint, current_app, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_limiter.util import get_remote_address
from flask_wtf import FlaskForm
from werkzeug.exceptions import HTTPException

from crm import open_access
from crm.accounts import registration, sessions
from crm.console.forms import email_address, line, password
from crm.console.guards import Guard, begin_session, end_session, find_signed_in_caller, guarded
from crm.errors import CredentialsError, ForbiddenError, UserExistsError
from crm.extensions import limiter, sign_in_rate

bp = Blueprint("accounts", __name__, url_prefix="/console")

# By address alone: an account, which anybody may make, must not buy more guesses.
_limit_guesses = limiter.shared_limit(
    sign_in_rate, scope="console sign-in", key_func=get_remote_address, methods=["POST"]
)


class SignInForm(FlaskForm):  # type: ignore[misc] # Flask-WTF has no types
    """What a person signs in with."""

    email = email_address()
    password = password()


class SignUpForm(FlaskForm):  # type: ignore[misc] # Flask-WTF has no types
    """A new account, and the contact of the same person."""

    firstname = line("First name", autocomplete="given-name")
    lastname = line("Last name", autocomplete="family-name")
    email = email_address()
    phone = line("Phone", longest=64, required=False, type="tel", autocomplete="tel")
    password = password(is_new=True)


@bp.route("/sign-in", methods=["GET", "POST"])
@guarded(Guard.ANYONE)
@_limit_guesses
def sign_in() -> ResponseReturnValue:
    """Show the form, or begin a session."""
    form, status = SignInForm(), 200
    if request.method == "GET" and find_signed_in_caller():
        return redirect(_way_on())
    if form.is_submitted():
        status = 400
    if form.validate_on_submit():
        try:
            _begin(form)
        except CredentialsError:
            form.form_errors.append(
                "No account has this e-mail and password. Look at both again; capital letters"
                " count in the password."
            )
            status = 401
        else:
            return redirect(_way_on(), 303)
    return render_template("console/sign_in.html", form=form, is_open=_is_open()), status


@bp.route("/sign-up", methods=["GET", "POST"])
@guarded(Guard.ANYONE)
@_limit_guesses
def sign_up() -> ResponseReturnValue:
    """Show the form, or make an account and begin a session."""
    form, status = SignUpForm(), 200
    if not _is_open():
        raise ForbiddenError("Registration is closed. Ask an administrator for an account.")
    if form.is_submitted():
        status = 400
    if form.validate_on_submit():
        person = {
            name: form[name].data for name in ("firstname", "lastname", "phone") if form[name].data
        }
        try:
            registration.register(
                email=form.email.data, password=form.password.data, contact=person
            )
        except UserExistsError:
            form.email.errors = ["There is an account with this e-mail already. Sign in instead."]
            status = 409
        else:
            _begin(form)
            flash("Welcome. Your account is made, and you will be a contact in HubSpot soon.")
            return redirect(url_for("console.overview.show"), 303)
    return render_template("console/sign_up.html", form=form), status


@bp.post("/sign-out")
@guarded(Guard.ANYONE)
def sign_out() -> ResponseReturnValue:
    """End the session here and on the server."""
    if sign_in_id := end_session():
        sessions.logout(sign_in_id)
    flash("You are signed out.")
    return redirect(url_for("console.accounts.sign_in"), 303)


def _begin(form: FlaskForm) -> None:
    email = form.email.data
    signed_in = sessions.sign_in_browser(
        email=email, password=form.password.data, with_demo=open_access.is_granted()
    )
    begin_session(signed_in, email)


def _is_open() -> bool:
    return bool(current_app.extensions["crm_settings"].registration == "open")


def _way_on() -> str:
    """The page that was asked for before the sign-in, if it is one of ours; else the overview."""
    wanted = request.args.get("next", "")
    overview = url_for("console.overview.show")
    try:
        parts = urlsplit(wanted)
        endpoint, _ = current_app.url_map.bind("").match(parts.path, method="GET")
    except (HTTPException, ValueError):
        return overview
    is_ours = not (parts.scheme or parts.netloc) and wanted.startswith("/")
    is_plain = not wanted.startswith(("//", "/\\")) and wanted.isprintable()
    return wanted if is_ours and is_plain and endpoint.startswith("console.") else overview
