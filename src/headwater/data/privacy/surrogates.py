"""Invented values of each kind, drawn from a keyed stream: the same value and key give the same surrogate.

Where a range is reserved for examples it is used (RFC 2606 domains, RFC 5737 and 3849 addresses, NANP 555-01xx),
and Chinese mobiles have 0000 in the middle block, which no operator assigns. Check digits are valid.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta

from headwater.data.privacy.checksums import CREDIT_ALPHABET, credit_check, id_check, luhn_check
from headwater.data.privacy.recogniser import Label
from headwater.data.privacy.words import words

REGIONS = ("110101", "310115", "440305", "330106", "320106", "420111", "510107", "610113", "120101", "500103")
ROADS = ("人民路", "建设路", "解放路", "中山路", "和平路", "新华路", "文化路", "青年路", "长江路", "学院路")
CITIES = ("北京市海淀区", "上海市浦东新区", "广州市天河区", "杭州市西湖区", "南京市鼓楼区", "武汉市洪山区", "成都市武侯区", "西安市雁塔区")
STREETS = ("Maple Street", "Oak Avenue", "Cedar Lane", "Elm Road", "Birch Drive", "Willow Court")
TOWNS = ("Springfield, IL 62704", "Austin, TX 78701", "Leeds LS1 4AP", "Toronto, ON M5V 2T6")
PLATE_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"
FIRST_BIRTH, BIRTH_DAYS = date(1950, 1, 1), 20_000


class Draw:
    """A stream of numbers that follows from a key, a purpose and a value: HMAC-SHA-256 with a counter."""

    def __init__(self, key: bytes, purpose: str, value: str) -> None:
        self._key = hmac.new(key, f"{purpose}\0{value}".encode("utf-8", "surrogatepass"), hashlib.sha256).digest()
        self._count = 0

    def below(self, limit: int) -> int:
        """Return the next number from 0 to limit - 1; its bias is below 2^-48."""
        self._count += 1
        drawn = hmac.new(self._key, self._count.to_bytes(8, "big"), hashlib.sha256).digest()
        return int.from_bytes(drawn[:8], "big") % limit

    def of(self, choices: Sequence[str]) -> str:
        """Return one of the choices."""
        return choices[self.below(len(choices))]

    def digits(self, count: int) -> str:
        """Return that many digits."""
        return "".join(str(self.below(10)) for _ in range(count))

    def token(self, digits: int) -> str:
        """Return hexadecimal digits that stand for the value."""
        return hmac.new(self._key, b"token", hashlib.sha256).hexdigest()[:digits]


def laid_out(value: str, characters: str) -> str:
    """Return characters in the layout of a value: its separators stay where they are."""
    drawn = iter(characters)
    return "".join(next(drawn, "") if one.isalnum() else one for one in value) + "".join(drawn)


def resident_id(value: str, draw: Draw) -> str:
    """Return an identity number with a valid region, date and check character; 18 characters also for one of 15 digits."""
    born = FIRST_BIRTH + timedelta(days=draw.below(BIRTH_DAYS))
    first17 = draw.of(REGIONS) + born.strftime("%Y%m%d") + draw.digits(3)
    return laid_out(value, first17 + id_check(first17))


def credit_code(value: str, draw: Draw) -> str:
    """Return a company's credit code with a valid check character."""
    first17 = "91" + draw.of(REGIONS) + "MA" + "".join(draw.of(CREDIT_ALPHABET) for _ in range(7))
    return laid_out(value, first17 + credit_check(first17))


def bank_card(value: str, draw: Draw) -> str:
    """Return a UnionPay number of the same length with a valid check digit."""
    length = max(16, sum(one.isalnum() for one in value))
    payload = "620000" + draw.digits(length - 7)
    return laid_out(value, payload + luhn_check(payload))


def phone(value: str, draw: Draw) -> str:
    """Return a number in the same layout: Chinese mobile, landline, or another, whose exchange is 555-01."""
    digits = "".join(one for one in value if one.isdigit())
    local = digits.removeprefix("00").removeprefix("86")
    if len(local) == 11 and local[0] == "1" and local[1] in "3456789":
        return laid_out(value, digits[: len(digits) - 11] + local[:3] + "0000" + draw.digits(4))
    if digits[0] == "0" or digits[:2] == "86":
        return (
            laid_out(value, digits[: len(digits) - 7] + "000" + draw.digits(4))
            if len(digits) > 9
            else laid_out(value, draw.digits(len(digits)))
        )
    if len(digits) in (10, 11):
        return laid_out(value, digits[:-10] + "2" + draw.digits(2) + "55501" + draw.digits(2))
    return laid_out(value, digits[:3] + draw.digits(len(digits) - 3))


def email(value: str, draw: Draw) -> str:
    """Return an address at a domain reserved for examples."""
    del value
    return f"{draw.of(sorted(words('names_en', 'first'))).lower()}.{draw.token(6)}@{draw.of(('example.com', 'example.org', 'example.net'))}"


def ip_address(value: str, draw: Draw) -> str:
    """Return an address of a range kept for documentation, of the same version."""
    if ":" in value:
        return f"2001:db8::{draw.below(1 << 16):x}:{draw.below(1 << 16):x}"
    return f"{draw.of(('192.0.2', '198.51.100', '203.0.113'))}.{1 + draw.below(254)}"


def plate(value: str, draw: Draw) -> str:
    """Return a plate of the same province, length and class of each character."""
    drawn = "".join(
        draw.of(PLATE_LETTERS) if one.isalpha() and one.isascii() else draw.digits(1) if one.isdigit() else one for one in value[2:]
    )
    return value[0] + draw.of("ABCDEF") + drawn


def passport(value: str, draw: Draw) -> str:
    """Return a number with the same letters and other digits."""
    return "".join(draw.digits(1) if one.isdigit() else one for one in value)


def social_security(value: str, draw: Draw) -> str:
    """Return a number of the same layout outside the ranges that were never issued."""
    return laid_out(value, f"{1 + draw.below(665):03d}{1 + draw.below(99):02d}{1 + draw.below(9999):04d}")


def person(value: str, draw: Draw) -> str:
    """Return a name in the same script."""
    if value.isascii():
        return f"{draw.of(sorted(words('names_en', 'first')))} {draw.of(sorted(words('names_en', 'last')))}"
    return draw.of("王李张刘陈杨赵吴周徐孙朱胡郭何林罗郑梁谢") + draw.of(sorted(words("names_zh", "given")))


def address(value: str, draw: Draw) -> str:
    """Return an address in the same language; the road may well not be in that town."""
    if value.isascii():
        return f"{1 + draw.below(9999)} {draw.of(STREETS)}, {draw.of(TOWNS)}"
    return f"{draw.of(CITIES)}{draw.of(ROADS)}{1 + draw.below(999)}号"


SURROGATES: Mapping[str, Callable[[str, Draw], str]] = {
    Label.PERSON: person,
    Label.PHONE: phone,
    Label.EMAIL: email,
    Label.ADDRESS: address,
    Label.CN_ID_CARD: resident_id,
    Label.CN_USCC: credit_code,
    Label.BANK_CARD: bank_card,
    Label.CN_LICENSE_PLATE: plate,
    Label.PASSPORT: passport,
    Label.IP_ADDRESS: ip_address,
    Label.US_SSN: social_security,
}
