"""The form that starts an extraction: what can be chosen, and what is wrong with a choice."""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from flask_wtf import FlaskForm
from wtforms import (
    BooleanField,
    DateField,
    Field,
    PasswordField,
    SelectMultipleField,
    TextAreaField,
    ValidationError,
)
from wtforms.validators import DataRequired, Length, Optional

from crm.console.forms import line, one_line
from crm.scans.commands import ASSOCIATED, MOST_PROPERTIES, PROPERTY_NAME, ScanConfig
from crm.scans.status import SCAN_ID

_LONGEST_TOKEN = 2000
_LONGEST_LIST = 20_000
_BETWEEN_NAMES = re.compile(r"[\s,;]+")


def _day(label: str) -> Field:
    """A day, which browsers offer a calendar for."""
    return DateField(label, [Optional()])


class StartForm(FlaskForm):  # type: ignore[misc] # Flask-WTF has no types
    """Which deals of which portal, and what of them."""

    is_taken = False
    """Whether an extraction that has ended is of this name."""

    name = line("Name", autocomplete="off", spellcheck="false")
    replace = BooleanField("Replace the one of this name, with its deals")
    token = PasswordField(
        "HubSpot access token",
        [
            DataRequired("Please paste the token."),
            Length(max=_LONGEST_TOKEN, message=f"At most {_LONGEST_TOKEN} characters."),
            one_line,
        ],
        filters=[lambda text: text and text.strip()],
        render_kw={"autocomplete": "off", "spellcheck": "false"},
    )
    associations = SelectMultipleField("Associations", choices=[*ASSOCIATED])
    archived = BooleanField("Archived deals too")
    properties = TextAreaField(
        "Properties",
        [Length(max=_LONGEST_LIST, message=f"At most {_LONGEST_LIST} characters.")],
        render_kw={"rows": 2, "spellcheck": "false", "placeholder": "amount, hs_priority"},
    )
    pipeline = line("Pipeline", required=False, list="pipelines", autocomplete="off")
    stage = line("Stage", required=False, list="stages", autocomplete="off")
    date_property = line("Date", required=False, list="dates", autocomplete="off")
    since = _day("From")
    until = _day("To")

    def validate_name(self, field: Field) -> None:
        """Refuse what could not stand in an address."""
        if not SCAN_ID.fullmatch(field.data):
            raise ValidationError("Use letters, digits, hyphens and underscores, and no spaces.")

    def validate_properties(self, field: Field) -> None:
        """Refuse what is no name of a property."""
        names = self.property_names
        wrong = next((each for each in names if not PROPERTY_NAME.fullmatch(each)), None)
        if wrong is not None:
            raise ValidationError(
                f"“{wrong[:60]}” is no internal name: those are of small letters, digits and _."
            )
        if len(names) > MOST_PROPERTIES:
            raise ValidationError(f"At most {MOST_PROPERTIES} properties.")

    def validate_date_property(self, field: Field) -> None:
        """Refuse what is no property."""
        if not PROPERTY_NAME.fullmatch(field.data):
            raise ValidationError("Give the internal name, such as createdate.")

    def validate(self, extra_validators: Any = None) -> bool:
        """Each choice by itself, and then whether the three of a date go together."""
        return bool(super().validate(extra_validators)) and self._has_whole_span()

    def _has_whole_span(self) -> bool:
        since, until = self.since.data, self.until.data
        if (since or until) and not self.date_property.data:
            self.date_property.errors = ["Say which date the days are about."]
        elif self.date_property.data and not (since or until):
            self.since.errors = ["Give a first day, a last one, or both."]
        elif since and until and until < since:
            self.until.errors = ["This is before the first day."]
        else:
            return True
        return False

    @property
    def property_names(self) -> tuple[str, ...]:
        """Those that were asked for, each once."""
        names = _BETWEEN_NAMES.split(self.properties.data or "")
        return tuple(dict.fromkeys(filter(None, names)))

    @property
    def config(self) -> ScanConfig:
        """What was chosen, once it is known to be valid."""
        return ScanConfig(
            properties=self.property_names,
            association_types=tuple(dict.fromkeys(self.associations.data or ())),
            include_archived=bool(self.archived.data),
            pipeline_id=self.pipeline.data or None,
            deal_stage=self.stage.data or None,
            date_property=self.date_property.data or None,
            start_date=_written(self.since.data),
            end_date=_written(self.until.data),
        )


def usual_choices() -> dict[str, Any]:
    """What the form begins with."""
    return {
        "name": f"deals-{datetime.now(UTC):%Y-%m-%d}",
        "associations": ["contacts", "companies"],
    }


def choices_of(scan_id: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """What a scan was started with, for another one like it."""
    return {
        "name": scan_id,
        "replace": True,
        "associations": config["association_types"],
        "archived": config["include_archived"],
        "properties": ", ".join(config["properties"]),
        "pipeline": config["pipeline_id"],
        "stage": config["deal_stage"],
        "date_property": config["date_property"],
        "since": _day_of(config["start_date"]),
        "until": _day_of(config["end_date"]),
    }


def _written(day: date | None) -> str | None:
    return day.isoformat() if day else None


def _day_of(moment: str | None) -> date | None:
    """The day of what an application may have given to the second."""
    return datetime.fromisoformat(moment).date() if moment else None
