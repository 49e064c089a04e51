"""Checksums of Chinese and international numbers, and making a number fit its checksum."""

from __future__ import annotations

from datetime import date

ID_WEIGHTS = tuple(2 ** (17 - place) % 11 for place in range(17))
"""GB 11643-1999, section 4: weight 2^(18-i) mod 11 for the i-th character, counted from 1 at the left."""
ID_CHECKS = "10X98765432"
CREDIT_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
"""GB 32100-2015: digits and capitals without I, O, S, V and Z."""
CREDIT_WEIGHTS = tuple(3**place % 31 for place in range(17))

PREFECTURES = {
    "11": "01-03 10",
    "12": "01-03",
    "13": "01-11 21-33 90",
    "14": "01-11 21-28",
    "15": "01-09 21-34",
    "21": "01-14",
    "22": "01-08 21-24",
    "23": "01-12 21-33",
    "31": "01-03",
    "32": "01-13 19-28",
    "33": "01-11 21-29",
    "34": "01-18 21-34",
    "35": "01-09 21-30",
    "36": "01-11 21-30",
    "37": "01-17 21-30",
    "41": "01-17 21-33 90",
    "42": "01-13 21-32 28 90",
    "43": "01-13 21-33",
    "44": "01-21 22-30 51-53",
    "45": "01-14 21-31",
    "46": "01-04 90",
    "50": "01-03",
    "51": "01-21 22-37",
    "52": "01-06 21-28",
    "53": "01-09 21-34",
    "54": "01-07 21-28",
    "61": "01-10 21-29",
    "62": "01-12 21-31",
    "63": "01-03 21-28",
    "64": "01-05 21-23",
    "65": "01-05 21-33 40-43 90",
    "71": "00-99",
    "81": "00-99",
    "82": "00-99",
    "83": "00-99",
}
"""Prefecture codes by province (GB/T 2260), those of earlier years included: an identity number keeps the code of its first issue."""


def _spelled(ranges: str) -> frozenset[str]:
    found: set[str] = set()
    for one in ranges.split():
        low, _, high = one.partition("-")
        found |= {f"{number:02d}" for number in range(int(low), int(high or low) + 1)}
    return frozenset(found)


_REGIONS = {province: _spelled(ranges) for province, ranges in PREFECTURES.items()}


def is_region(code: str) -> bool:
    """Tell whether six digits name a county in GB/T 2260: a known province and prefecture, and a county."""
    return code[2:4] in _REGIONS.get(code[:2], ()) and (code[4:6] != "00" or code[:2] > "70")


def is_region_or_above(code: str) -> bool:
    """Tell whether six digits name a county, prefecture or province, as credit codes also do."""
    return code[:2] == "10" or (code[:2] in _REGIONS and (code[2:4] in _REGIONS[code[:2]] or code[2:6] == "0000"))


def is_date(text: str) -> bool:
    """Tell whether eight digits are a day of the years 1900 to 2099."""
    try:
        return 1900 <= date(int(text[:4]), int(text[4:6]), int(text[6:8])).year <= 2099
    except ValueError:
        return False


def id_check(first17: str) -> str:
    """Return the check character of a resident identity number (ISO 7064 MOD 11-2)."""
    return ID_CHECKS[sum(weight * int(digit) for weight, digit in zip(ID_WEIGHTS, first17, strict=True)) % 11]


def is_resident_id(text: str) -> bool:
    """Tell whether 18 characters are a resident identity number: region, date of birth, check character."""
    return is_region(text[:6]) and is_date(text[6:14]) and id_check(text[:17]) == text[17].upper()


def credit_check(first17: str) -> str:
    """Return the check character of a unified social credit code (GB 32100-2015, MOD 31)."""
    total = sum(weight * CREDIT_ALPHABET.index(one) for weight, one in zip(CREDIT_WEIGHTS, first17, strict=True))
    return CREDIT_ALPHABET[-total % 31]


def is_credit_code(text: str) -> bool:
    """Tell whether 18 characters are a unified social credit code."""
    return all(one in CREDIT_ALPHABET for one in text) and is_region_or_above(text[2:8]) and credit_check(text[:17]) == text[17]


def luhn_check(payload: str) -> str:
    """Return the digit that completes a card number (ISO/IEC 7812-1, annex B)."""
    total = 0
    for place, digit in enumerate(reversed(payload)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


def is_luhn(digits: str) -> bool:
    """Tell whether a card number ends in its check digit."""
    return luhn_check(digits[:-1]) == digits[-1]
