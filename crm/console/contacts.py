"""Contacts: found while typing, looked at with all that hangs on them, edited in place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from crm.console.guards import Guard, current_caller, guarded
from crm.errors import CRMError, PreconditionFailedError
from crm.mirror.reads import contact_tree, history, records
from crm.mirror.reads.pages import ListQuery
from crm.mirror.reads.records import FoundRecord
from crm.object_types import CONTACTS, DEALS, TICKETS
from crm.portals import pipelines, property_schemas
from crm.push import writes
from crm.push.write_inputs import Entry

bp = Blueprint("contacts", __name__, url_prefix="/console/contacts")

EDITABLE = {
    "firstname": "First name",
    "lastname": "Last name",
    "email": "Email",
    "phone": "Phone number",
    "company": "Company",
    "jobtitle": "Job title",
    "website": "Website",
    "lifecyclestage": "Lifecycle stage",
}
"""What is shown and changed, and what it is called until HubSpot has told."""
STATES = {"synced": "in step", "pending": "on its way", "rejected": "refused"}
SORTS = {
    "": "newest first",
    "-lastmodifieddate": "changed last",
    "lastname": "by last name",
    "email": "by e-mail",
}

_ON_A_PAGE = 25
_LONGEST_SEARCH = 200


@bp.get("")
@guarded(Guard.PERSON)
def show() -> ResponseReturnValue:
    """The contacts that a search and its filters find; the address tells all of them."""
    caller = current_caller()
    stages = _options(_definitions(), "lifecyclestage")
    asked = {
        "q": request.args.get("q", "")[:_LONGEST_SEARCH],
        "lifecyclestage": _one_of(stages, "lifecyclestage"),
        "state": _one_of(STATES, "state"),
        "sort": _one_of(SORTS, "sort"),
    }
    chosen: dict[str, Any] = {name: value for name, value in asked.items() if value}
    page = contact_tree.list_people(
        caller.portal_id,
        ListQuery(
            limit=_ON_A_PAGE,
            cursor=request.args.get("cursor"),
            q=asked["q"],
            sort=asked["sort"],
            filters={name: value for name, value in chosen.items() if name in contact_tree.FILTERS},
        ),
        state=asked["state"] or None,
        only_contact_id=caller.only_contact_id,
    )
    here = url_for(".show", **chosen)
    return render_template(
        "console/contacts.html",
        people=[orjson.loads(each) for each in page.items],
        asked=asked,
        is_filtered=bool(chosen.keys() - {"sort"}),
        stages=stages,
        states=STATES,
        sorts=SORTS,
        next_url=page.next_after and url_for(".show", **chosen, cursor=page.next_after),
        first_url=here if request.args.get("cursor") else None,
    )


@dataclass(frozen=True)
class Edit:
    """A contact's properties as somebody wants them, and what they had before them."""

    values: Mapping[str, str]
    was: Mapping[str, str]
    version: str
    errors: Mapping[str, str] = field(default_factory=dict)
    """By property, or by nothing for the whole."""
    theirs: Mapping[str, str] = field(default_factory=dict)
    """What others made meanwhile of properties that this edit changes too."""

    @property
    def changes(self) -> dict[str, str]:
        """What differs from before."""
        return {name: each for name, each in self.values.items() if each != self.was.get(name, "")}


@bp.get("/<record_id>")
@guarded(Guard.PERSON)
def show_contact(record_id: str) -> ResponseReturnValue:
    """A contact with its deals, tickets, history and sync state."""
    record = _find(record_id)
    wants_edit = "edit" in request.args and current_caller().is_admin
    return _render(record, _edit_of(record) if wants_edit else None)


@bp.post("/<record_id>")
@guarded(Guard.ADMIN)
def change_contact(record_id: str) -> ResponseReturnValue:
    """Change a contact here and in HubSpot, unless somebody else has changed the same."""
    edit = Edit(
        values={name: request.form.get(name, "").strip() for name in EDITABLE},
        was={name: request.form.get(f"was-{name}", "") for name in EDITABLE},
        version=request.form.get("version", ""),
    )
    try:
        _save(record_id, edit)
    except PreconditionFailedError:
        return _meet_others(record_id, edit)
    except CRMError as error:
        if error.status == CRMError.status:
            raise
        return _show_refusal(record_id, edit, error)
    return redirect(url_for(".show_contact", record_id=record_id), 303)


def _save(record_id: str, edit: Edit) -> None:
    if not edit.changes:
        flash("Nothing was changed.")
        return
    portal_id = current_caller().portal_id
    properties = property_schemas.check_properties(portal_id, CONTACTS, edit.changes)
    written = writes.change(portal_id, CONTACTS, record_id, Entry(properties), {edit.version})
    if written.action == "queued":
        flash(
            "Saved here. HubSpot cannot be reached right now, and gets it as soon as it can.",
            "warning",
        )
    else:
        flash("Saved, here and in HubSpot.", "success")


def _meet_others(record_id: str, edit: Edit) -> ResponseReturnValue:
    """Save after all where others changed something else; let somebody choose where the same."""
    record = _find(record_id)
    now = _edit_of(record)
    theirs = {
        name: now.values[name] for name in edit.changes if now.values[name] != edit.was.get(name)
    }
    merged = Edit({**now.values, **edit.changes}, now.was, now.version, theirs=theirs)
    if theirs:
        return _render(record, merged), PreconditionFailedError.status
    try:
        _save(record_id, merged)
    except CRMError as error:
        return _show_refusal(record_id, merged, error)
    return redirect(url_for(".show_contact", record_id=record_id), 303)


def _show_refusal(record_id: str, edit: Edit, error: CRMError) -> ResponseReturnValue:
    errors = {name.removeprefix("properties."): each for name, each in error.errors.items()}
    at_fields = {name: each for name, each in errors.items() if name in EDITABLE}
    refused = Edit(edit.values, edit.was, edit.version, at_fields or {"": error.message})
    return _render(_find(record_id), refused), error.status


def _find(record_id: str) -> FoundRecord:
    caller = current_caller()
    return records.find_record(
        caller.portal_id, CONTACTS, record_id, only_contact_id=caller.only_contact_id
    )


def _edit_of(record: FoundRecord) -> Edit:
    properties = orjson.loads(record.item)["properties"]
    values = {name: properties.get(name) or "" for name in EDITABLE}
    return Edit(values, values, record.etag)


def _render(record: FoundRecord, edit: Edit | None) -> str:
    caller, contact = current_caller(), orjson.loads(record.item)
    associated = contact_tree.list_associated(
        caller.portal_id, contact["uuid"], only_contact_id=caller.only_contact_id
    )
    changes = None
    if caller.is_admin:
        changes = history.list_changes(
            caller.portal_id,
            CONTACTS,
            contact["uuid"],
            limit=12,
            cursor=request.args.get("changes"),
        )
    definitions = _definitions()
    return render_template(
        "console/contact.html",
        contact=contact,
        properties=contact["properties"],
        name=name_of(contact["properties"]),
        edit=edit,
        editable=EDITABLE,
        labels=EDITABLE | {name: each.label for name, each in definitions.items()},
        options={name: options for name in EDITABLE if (options := _options(definitions, name))},
        deals=[each for each in associated if each.object_type == DEALS.name],
        tickets=[each for each in associated if each.object_type == TICKETS.name],
        companies=[each for each in associated if each.object_type == "companies"],
        stages=_stage_labels(caller.portal_id),
        changes=[orjson.loads(each) for each in changes.items] if changes else [],
        older_changes=changes and changes.next_after,
    )


def name_of(properties: Mapping[str, str | None]) -> str:
    """What to call somebody."""
    names = filter(None, (properties.get("firstname"), properties.get("lastname")))
    return " ".join(names) or properties.get("email") or "Without a name"


def _definitions() -> property_schemas.Definitions:
    return property_schemas.find_schema(current_caller().portal_id, CONTACTS).definitions


def _options(definitions: property_schemas.Definitions, name: str) -> dict[str, str]:
    """The values that a property may have, with what people call them."""
    if name not in definitions:
        return {}
    return {each.value: each.label for each in definitions[name].options if not each.hidden}


def _stage_labels(portal_id: int) -> dict[str, dict[str, str]]:
    """Of each type with stages, what they are called, by their ids."""
    return {
        name: {
            stage["id"]: stage["label"]
            for pipeline in pipelines.find_pipelines(portal_id, name) or ()
            for stage in pipeline["stages"]
        }
        for name in (DEALS.name, TICKETS.name)
    }


def _one_of(known: Mapping[str, Any] | Sequence[str], name: str) -> str:
    """A choice of the address, or none: what is unknown is as if it had not been made."""
    given = request.args.get(name, "")
    return given if given in known else ""
