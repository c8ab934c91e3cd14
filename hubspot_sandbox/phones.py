"""Phone numbers as HubSpot's search has them: the digits, without the code of the country.

Source: HubSpot docs, search the CRM. A number that is searched for with its country code is not
found.
"""

import re
from typing import Final

# The codes of the International Telecommunication Union with one and two digits; others have three.
_COUNTRY: Final = re.compile(
    r"\+(1|7|20|27|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]|[0-9]{3})"
)
_LOOKS_LIKE_ONE: Final = re.compile(r"\+?[0-9() ./-]*[0-9][0-9() ./-]*")


def is_phone_number(text: str) -> bool:
    """Say whether a text holds nothing but a phone number."""
    return bool(_LOOKS_LIKE_ONE.fullmatch(text))


def only_digits(text: str) -> str:
    """Return the digits of a text, and the asterisks that stand for others."""
    return "".join(each for each in text if each in "0123456789*")


def local_number(text: str) -> str:
    """Return a phone number as the index holds it."""
    compact = "+" + only_digits(text) if text.strip().startswith("+") else only_digits(text)
    return _COUNTRY.sub("", compact, count=1).lstrip("+")
