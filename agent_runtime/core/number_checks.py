"""Cards and bank accounts, told from other numbers by their shape and check digits."""

from __future__ import annotations

import re

_CARD_SHAPES = frozenset({(4, 6, 5), (4, 6, 4), (8, 8), (6, 10)})
_CARD_GROUP = 4
_CARD_DIGITS = range(13, 20)
_CARD_ISSUERS = re.compile(r"3[04-9]|4|5[0-8]|6|2[2-7]|81")
_PART_OF_NUMBER = re.compile(r".*\+|\d[.,]", re.DOTALL)
_GROUPS = re.compile(r"\d+")

_IBAN_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO",
        16: "BE",
        18: "DK FI FO GL NL SD",
        19: "MK SI",
        20: "AT BA EE KZ LT LU MN XK",
        21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA",
        23: "AE GI IL IQ OM SO TL",
        24: "AD CZ DZ ES MD PK RO SA SE SK TN VG",
        25: "AO CV GW LY MZ PT ST",
        26: "IR IS TR",
        27: "BF BI CF CG CM DJ FR GA GR IT MC MG MR SM",
        28: "AL AZ BJ BY CI CY DO GT HN HU LB ML NE NI PL SN SV TD TG",
        29: "BR EG PS QA UA",
        30: "JO KW MU YE",
        31: "MT SC",
        32: "LC",
        33: "RU",
    }.items()
    for country in countries.split()
}


def passes_luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of a card."""
    total = 0
    for position, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + position % 2)
        total += value - 9 if value > 9 else value  # noqa: PLR2004 - the digits of a doubled digit are added up
    return total % 10 == 0


def card_number(text: str, before: str, after: str) -> int | None:
    """Length of the card number that the text begins with; what follows it may be another number, such as a date."""
    if _PART_OF_NUMBER.fullmatch(before) or not _CARD_ISSUERS.match("".join(_GROUPS.findall(text))):
        return None
    groups = list(_GROUPS.finditer(text))
    if _goes_on(after):
        groups.pop()
    while groups:
        if _is_card([group.group() for group in groups], text[: groups[-1].end()]):
            return groups[-1].end()
        groups.pop()
    return None


def _is_card(groups: list[str], text: str) -> bool:
    separators = {character for character in text if not character.isdigit()}
    digits = "".join(groups)
    return len(separators) <= 1 and len(digits) in _CARD_DIGITS and _grouped_as_card(groups) and passes_luhn(digits)


def _grouped_as_card(groups: list[str]) -> bool:
    shape = tuple(map(len, groups))
    fours = all(length == _CARD_GROUP for length in shape[:-1]) and shape[-1] <= _CARD_GROUP
    return len(shape) == 1 or fours or shape in _CARD_SHAPES


def iban(text: str, _before: str, after: str) -> int | None:
    """Length of the account number that the text begins with: as long as its country's, right by its check digits."""
    length = _IBAN_LENGTHS.get(text[:2].upper())
    places = [place for place, character in enumerate(text) if character.isalnum()]
    if length is None or len(places) < length:
        return None
    end = places[length - 1] + 1
    behind = text[end : end + 1] or after
    number = "".join(text[place] for place in places[:length])
    if _goes_on(behind) or not (number.isupper() or number.islower()):
        return None
    return end if _passes_mod_97(number.upper()) else None


def _passes_mod_97(number: str) -> bool:
    return int("".join(str(int(character, 36)) for character in number[4:] + number[:4])) % 97 == 1


def _goes_on(after: str) -> bool:
    return after.isascii() and (after.isalnum() or after == "_")
