"""Callers' values become HubSpot's strings, or a sentence that says why not."""

import pytest

from crm.hubspot.properties import Option, Property
from crm.property_values import ValueProblem, as_email, as_hubspot_writes


def of(type_, *options, has_many=False):
    return Property(
        name="p",
        label="P",
        type=type_,
        options=tuple(Option(each, each.title(), hidden=False) for each in options),
        has_unique_value=False,
        calculated=False,
        read_only=False,
        hidden=False,
        has_many=has_many,
    )


CHOICE = of("enumeration", "low", "high")
CHOICES = of("enumeration", "low", "high", has_many=True)
OWNER = of("enumeration")
FLAG = of("bool", "true", "false")


@pytest.mark.parametrize(
    ("definition", "given", "written"),
    [
        (of("string"), "Ada", "Ada"),
        (of("string"), "two\nlines", "two\nlines"),
        (of("string"), "x" * 65_536, "x" * 65_536),
        (of("phone_number"), "+44 20", "+44 20"),
        *((each, nothing, "") for each in (of("number"), CHOICE, FLAG) for nothing in (None, "")),
        (of("number"), 12, "12"),
        (of("number"), 12.0, "12"),
        (of("number"), 12.5, "12.5"),
        (of("number"), "-0.10", "-0.10"),
        (of("number"), 1e-7, "0.0000001"),
        (FLAG, True, "true"),
        (FLAG, "false", "false"),
        (of("date"), "2026-12-31", "2026-12-31"),
        (of("date"), "2026-12-31T23:30:00-02:00", "2027-01-01"),
        (of("date"), 1798675200000, "2026-12-31"),
        (of("datetime"), "2026-12-31", "2026-12-31T00:00:00.000Z"),
        (of("datetime"), "2026-12-31T17:00:00+01:00", "2026-12-31T16:00:00.000Z"),
        (of("datetime"), 1798675200123, "2026-12-31T00:00:00.123Z"),
        (CHOICE, "low", "low"),
        (CHOICES, "low;high", "low;high"),
        (CHOICES, ";high", ";high"),
        (OWNER, "12345", "12345"),
        (OWNER, 12345, "12345"),
        (None, "anything", "anything"),
        (None, 5, "5"),
        (None, False, "false"),
    ],
)
def test_a_value_is_written_as_hubspot_wants_it(definition, given, written):
    assert as_hubspot_writes(definition, given) == written


WRONG = [[], ["low"], {}, {"a": 1}]


@pytest.mark.parametrize(
    ("definition", "given"),
    [
        *((each, value) for each in (of("string"), CHOICE, FLAG, OWNER, None) for value in WRONG),
        *((of(each), value) for each in ("number", "date", "datetime") for value in WRONG),
        (of("string"), 5),
        (of("string"), True),
        (of("string"), "x" * 65_537),
        *((of("string"), each) for each in ("\x00", "\x1b[31m", "\ud800")),
        *((of("number"), each) for each in (True, "1,000", "1e3", "NaN", 1e300, 10**30, "٣")),
        *((FLAG, each) for each in (0, 1, "yes", "True")),
        *((of("date"), each) for each in ("soon", "2026-02-30", True, 1.5, 10**30, -(10**30))),
        *((of("datetime"), each) for each in ("", "9999-12-31T23:59:59-14:00", "\x00") if each),
        (CHOICE, "LOW"),
        (CHOICE, "low;high"),
        (CHOICES, "low;middle"),
        (None, "\x00"),
        (None, 1e300),
    ],
)
def test_a_value_that_a_property_cannot_have_is_refused(definition, given):
    with pytest.raises(ValueProblem):
        as_hubspot_writes(definition, given)


def test_an_email_is_trimmed_and_in_lower_case():
    assert as_email(" Ada@Example.com ") == "ada@example.com"


@pytest.mark.parametrize("given", ["", "ada", "a@b", "a b@c.ch", None, 5, "a" * 250 + "@b.ch"])
def test_a_string_that_is_no_email_is_refused(given):
    with pytest.raises(ValueProblem):
        as_email(given)


def test_a_refusal_names_only_some_of_many_options():
    definition = of("enumeration", *(f"option{each}" for each in range(1000)))

    with pytest.raises(ValueProblem) as caught:
        as_hubspot_writes(definition, "none")

    assert str(caught.value).endswith("option19 and 980 more")
