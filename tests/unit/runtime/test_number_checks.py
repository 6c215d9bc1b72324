"""Cards and bank accounts, told from numbers that only look like them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.core.number_checks import card_number, iban, passes_luhn

ACCOUNTS = """
NO9386011117947 BE68539007547034 DK5000400440116243 FI2112345600000785 NL91ABNA0417164300 SI56263300012039086
MK07250120000058984 AT611904300234573201 EE382200221020145685 KZ86125KZT5004100100 LT121000011101001000
LU280019400644750000 BA391290079401028494 XK051212012345678906 CH9300762011623852957 HR1210010051863000160
LI21088100002324013AA LV80BANK0000435195001 BG80BNBG96611020345678 CR05015202001026284066 DE89370400440532013000
GB29NWBK60161331926819 GE29NB0000000101904917 IE29AIBK93115212345678 ME25505000012345678951 RS35260005601001611379
AE070331234567890123456 GI75NWBK000000007099453 IL620108000000099999999 AD1200012030200359100100
CZ6508000000192000145399 ES9121000418450200051332 MD24AG000225100013104168 PK36SCBL0000001123456702
RO49AAAA1B31007593840000 SA0380000000608010167519 SE4550000000058398257466 SK3112000000198742637541
TN5910006035183598478831 VG96VPVG0000012345678901 PT50000201231234567890154 IS140159260076545510730339
TR330006100519786457841326 FR1420041010050500013M02606 GR1601101250000000012300695 IT60X0542811101000000123456
MC5811222000010123456789030 MR1300020001010000123456753 SM86U0322509800000000270100 AL47212110090000000235698741
AZ21NABZ00000000137010001944 CY17002001280000001200527600 DO28BAGR00000001212453611324 GT82TRAJ01020000001210029690
HU42117730161111101800000000 LB62099900000001001901229114 PL61109010140000071219812874 BR9700360305000010009795493P1
QA58DOHB00001234567890ABCDEFG PS92PALS000000000400123456702 JO94CBJO0010000000000131000302
KW81CBKU0000000000001234560101 MT84MALT011000012345MTLCAST001S SC18SSCB11010000000000001497USD
LC55HEMM000100010012001200023015 RU0304452522540817810538091310419 UA213223130000026007233566001
"""
"""Examples that the countries give of their account numbers, of every length that there is."""


@pytest.mark.parametrize("number", ACCOUNTS.split())
def test_an_account_number_ends_where_that_of_its_country_does(number):
    grouped = " ".join(number[place : place + 4] for place in range(0, len(number), 4))
    assert iban(number, "", "") == len(number)
    assert iban(number.lower(), "", " ") == len(number)
    assert iban(grouped, "", ".") == len(grouped)
    assert iban(f"{grouped} 12", "", "") == len(grouped)
    assert iban(number[:-1], "", "") is None


@pytest.mark.parametrize("number", ACCOUNTS.split())
def test_an_account_number_with_two_digits_exchanged_is_none(number):
    end = next(place for place in range(len(number) - 1, 4, -1) if number[place] != number[place - 1])
    exchanged = number[: end - 1] + number[end] + number[end - 1] + number[end + 1 :]
    assert iban(exchanged, "", "") is None


@pytest.mark.parametrize(
    ("text", "after", "length"),
    [
        ("DE89370400440532013000", "1", None),
        ("DE89370400440532013000", "x", None),
        ("DE89370400440532013000", "_", None),
        ("DE89370400440532013000", "-", 22),
        ("DE89370400440532013000", "é", 22),
        ("DE893704004405320130001", "", None),
        ("DE89370400440532013000-1", "", 22),
        ("De89370400440532013000", "", None),
        ("ZZ89370400440532013000", "", None),
        ("XX", "", None),
    ],
)
def test_an_account_number_stands_for_itself_in_one_case(text, after, length):
    assert iban(text, "", after) == length


@pytest.mark.parametrize(
    ("digits", "passes"),
    [("0", True), ("18", True), ("19", False), ("91", True), ("59", True), ("4111111111111111", True), ("26", True)],
)
def test_the_last_digit_of_a_card_checks_the_others(digits, passes):
    assert passes_luhn(digits) is passes


@given(st.text("0123456789", min_size=1, max_size=18))
def test_exactly_one_digit_completes_a_card_number(digits):
    assert sum(passes_luhn(digits + last) for last in "0123456789") == 1


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111111", "4222222222222", "5555555555554444", "378282246310005", "30569309025904",
        "6011111111111117", "3530111333300000", "2223003122003222", "6304000000000000", "8171999927660000",
        "5018000000000009",
        "4111 1111 1111 1111", "4111-1111-1111-1111", "3782 822463 10005", "3056 930902 5904", "6304 0000 0000 0000",
        "41111111 11111111", "6304 0000 0000 0000 000",
    ],
)  # fmt: skip
def test_a_card_is_known_as_it_is_written(text):
    assert card_number(text, "", "") == len(text)


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111112", "1111111111111117", "0000000000000000", "7992739871300007", "411111111117",
        "41111111111111111115", "4111 1111-1111 1111", "41 11 11 11 11 11 11 11", "411 1111 1111 11111",
        "4111 11 111111 1111", "9111111111111111",
    ],
)  # fmt: skip
def test_a_number_of_another_shape_issuer_or_check_digit_is_no_card(text):
    assert card_number(text, "", "") is None


@pytest.mark.parametrize(
    ("text", "before", "after", "length"),
    [
        ("4111111111111111 12", "", "", 16),
        ("4111 1111 1111 1111 12 27", "", "", 19),
        ("4111 1111 1111 1111 12", "", "7", 19),
        ("4111111111111111", "", "7", None),
        ("4111111111111111", "", "x", None),
        ("4111111111111111", "", "_", None),
        ("4111111111111111", "", "é", 16),
        ("4111111111111111", "", ".", 16),
        ("4111111111111111", "1.", "", None),
        ("4111111111111111", "2,", "", None),
        ("4111111111111111", " +", "", None),
        ("4111111111111111", "a.", "", 16),
        ("4111111111111111", ": ", "", 16),
    ],
)
def test_what_stands_around_a_number_tells_whether_it_is_a_part_of_another(text, before, after, length):
    assert card_number(text, before, after) == length
