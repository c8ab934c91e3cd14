"""Every text that people write is stored and handed on as it is."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from crm.db import transaction
from crm.mirror.rows import write_contact
from tests.conftest import registration

from .conftest import contacts_in

TEXTS = {
    "emoji": "👩‍🚀🇨🇭 🏳️‍🌈",
    "four bytes": "𠜎𠜱 𓀀 𝄞",
    "right to left": "שלום עולם — مرحبا بالعالم",
    "direction marks": "\u202eabc\u202c \u200fx\u200e",
    "combining": "e\u0301cole Z\u0351\u036b\u0343algo",
    "composed": "école",
    "hindi": "हिन्दी",
    "zero width": "a\u200bb\u200d\ufeff",
    "quotes": 'O\'Brien "Bob" `x` «y» „z“',
    "html": "<script>alert(1)</script> &amp; <b>",
    "sql": "'; DROP TABLE users; -- \\' %s %(x)s :name $1 ?",
    "json": '{"a": [1, null]} \\u0041 \\n',
    "format": "{0} {name} %d ${HOME} #{1}",
    "backslashes": "\\\\server\\share\\",
    "spaces": "  two  spaces  ",
    "no character": "\ufffe\uffff\U0010ffff",
    "separators": "a\u2028b\u2029c\u00a0d",
    "long": "é" * 255,
}


def test_texts_come_back_as_they_were_written(register):
    ada = register(deals=_deals())

    deals = contacts_in(ada.get("/contacts"))[0]["deals"]

    tickets = [deal["tickets"][0] for deal in deals]
    assert [deal["dealname"] for deal in deals] == [*TEXTS.values()]
    assert [ticket["subject"] for ticket in tickets] == [*TEXTS.values()]
    assert [ticket["description"] for ticket in tickets] == [*TEXTS.values()]


@pytest.mark.parametrize("text", [TEXTS["emoji"], TEXTS["sql"], TEXTS["long"]])
def test_names_come_back_as_they_were_written(register, text):
    ada = register(firstname=text, lastname=text)

    contact = contacts_in(ada.get("/contacts"))[0]

    assert [contact["firstname"], contact["lastname"]] == [text, text]


def test_texts_reach_hubspot_as_they_were_written(client, portal_id, run_jobs, in_hubspot):
    with transaction():
        for number, text in enumerate(TEXTS.values()):
            properties = {"email": f"{number}@example.com", "firstname": text, "lastname": text}
            write_contact(portal_id, properties)
    body = registration("0@example.com", deals=_deals(), firstname=next(iter(TEXTS.values())))
    client.post("/register", json=body | {"lastname": body["firstname"]})

    run_jobs()

    for object_type, names in (
        ("contacts", ("firstname", "lastname")),
        ("deals", ("dealname", "description")),
        ("tickets", ("subject", "content")),
    ):
        records = in_hubspot(object_type, *names)
        for name in names:
            assert sorted(each[name] for each in records) == sorted(TEXTS.values())


def test_descriptions_keep_their_lines(register):
    text = "First.\n\tSecond.\r\nThird."
    body = registration("ada@example.com")
    body["deals"][0]["tickets"][0]["description"] = text

    ada = register(deals=body["deals"])

    contact = contacts_in(ada.get("/contacts"))[0]
    assert contact["deals"][0]["tickets"][0]["description"] == text


def test_any_text_comes_back_as_it_was_written(register, portal_id):
    ada = register()
    letters = some.characters(exclude_categories=["Cc", "Cs"])

    @settings(max_examples=50, deadline=None)
    @given(text=some.text(letters, min_size=1, max_size=60))
    def check(text):
        # Straight to where a registration writes, since its password takes its time to hash.
        with transaction():
            write_contact(portal_id, {"email": ada.email, "firstname": text})
        assert contacts_in(ada.get("/contacts"))[0]["firstname"] == text

    check()


@pytest.mark.parametrize(
    "word", ["école", "ÉCOLE", "Straße", "ΣΊΣΥΦΟΣ", "हिन्दी", "日本", "O'Brien"]
)
def test_a_text_is_found_by_itself(register, word):
    ada = register(firstname=word)

    assert len(contacts_in(ada.get("/contacts", q=word))) == 1


def _deals():
    deal = registration("ada@example.com")["deals"][0]
    ticket = deal["tickets"][0]
    return [
        deal
        | {"dealname": text, "description": text}
        | {"tickets": [ticket | {"subject": text, "description": text}]}
        for text in TEXTS.values()
    ]
