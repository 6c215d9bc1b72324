"""Every sort of secret is blotted out where it stands, and what is too short or differs in form is not."""

from __future__ import annotations

import pytest

from agent_api.v1alpha1.guards import Redaction
from agent_runtime.core.redaction import Redactor, replacement

ALL = Redactor(Redaction)
MIXED = "Zk3vR9pL1xT7qW5mB2nC8dF4gH6jK0sY" * 3
HEX = "0a1b2c3d4e5f60718293a4b5c6d7e8f9" * 2
UPPER = "Q7ZK3VR9PL1XT5WMB2NC8DF4GH6JK0SY"

ISSUED = {
    "sk-ant- sk-proj- sk-svcacct- sk-admin- sk-or-v1- sk-lf- pk-lf-": MIXED[:16],
    "sk- xai- gsk_ pplx- r8_ nvapi- fw_ tvly- pypi-": MIXED[:16],
    "sk_live_ sk_test_ sk_prod_ rk_live_ rk_test_ rk_prod_ whsec_": MIXED[:16],
    "AIza": MIXED[:30],
    "ya29. GOCSPX- AQ.Ab": MIXED[:20],
    "ghp_ gho_ ghu_ ghs_ ghr_": MIXED[:30],
    "github_pat_": f"{MIXED[:11]}_{MIXED[:10]}",
    "glpat- gldt- glrt- glptt- glcbt- glft- glimt- glagent- glsoat- gloas-": MIXED[:16],
    "xoxb- xoxp- xoxa- xoxr- xoxs- xoxo- xoxe- xoxc- xoxd- xoxe. xapp-": "1-2-3-ab%c",
    "hooks.slack.com/services/ hooks.slack.com/workflows/ hooks.slack.com/triggers/": "T0000/B0000/XXXXXXXX",
    "discord.com/api/webhooks/": "1234567890/abc_DEF-gh",
    "hf_ npm_ api_org_": MIXED[:30],
    "pypi-AgE": MIXED[:16],
    "dop_v1_ doo_v1_ dor_v1_ shpat_ shpss_ shpca_ shppa_ dapi": HEX[:32],
    "SK key-": HEX[:32],
    "v1.0- s-s4t2ud- s-s4t2af- rootly_ sntryu_": f"{HEX[:20]}-{HEX[:19]}",
    "LTAI 4b1d csk- waka_ bkua_ cog_ unkey_ ucat_ rdme_ ramp_sec_ xnd_production_": MIXED[:20],
    "EAAM EAAC EAAG AKCp": MIXED[:60],
    "ops_eyJ ABSK apk_ fm1r_ fm1a_ fm2_ BBDC- AstraCS: bedrock-api-key-": MIXED[:24],
    "dckr_pat_ dckr_oat_ lin_api_ rubygems_ figd_ glsa_ glc_ sntrys_ tskey- hvs. hvb. pul-": MIXED[:20],
    "vcp_ sb_secret_ CCIPAT_ lsv2_pt_ pscale_pw_ xkeysib- SWMKEY-1- shippo_live_ sq0csp- FLWSECK_TEST- p8e-": MIXED[
        :16
    ],
    "dp.pt. dp.st. dp.ct. dt0c01.": f"{MIXED[:15]}.{MIXED[:14]}",
    "ATATT3 ATCTT3 NRAK- PMAK- AGE-SECRET-KEY-1 sgp_ secret_ ntn_": MIXED[:24],
    "AKIA ASIA ABIA ACCA": UPPER[:16],
    "A3-": f"{UPPER[:6]}-{UPPER[:6]}-{UPPER[:9]}",
    "SG.": f"{MIXED[:16]}.{MIXED[:16]}",
    "1234567890:AA 12345678:AA": MIXED[:30],
    "abc1Q~ .-_2Q~": MIXED[:31],
}
KEYS = [(prefix, key) for prefixes, key in ISSUED.items() for prefix in prefixes.split()]


@pytest.mark.parametrize(("prefix", "key"), KEYS)
def test_a_key_is_blotted_out_by_the_prefix_of_who_issued_it(prefix, key):
    assert ALL.redact(f"is {prefix}{key} here") == ("is [redacted:apiKeys] here", {Redaction.API_KEYS: 1})
    assert ALL.redact(f"is {prefix}{key}{key[:1]}\nhere")[0] == "is [redacted:apiKeys]\nhere"


@pytest.mark.parametrize(("prefix", "key"), KEYS)
def test_a_prefix_with_little_behind_it_is_no_key(prefix, key):
    text = f"is {prefix}{key[: len(key) // 4]} here"
    assert ALL.redact(text) == (text, {})


@pytest.mark.parametrize("prefix", ["sk-ant-", "ghp_", "AKIA", "SK", "dapi", "hf_", "xoxb-"])
def test_a_prefix_in_the_middle_of_a_word_begins_no_key(prefix):
    text = f"disk{prefix}{'a' * 9}"
    assert ALL.redact(text) == (text, {})


NAMES = {
    Redaction.API_KEYS: "api_key api-key apikey api_token access_key accesskey access_key_id secret_key"
    " secretkey aws_secret account_key sharedaccesskey subscription-key client_secret clientSecret"
    " private_key signing_key encryption_key webhook_secret app_secret application_key"
    " app_key service_key license_key licence_key platform_key project_key"
    " server_key master_key admin_key auth_key deploy_key sdk_key service_role_key credential credentials user_auth"
    " secret sharedaccesssignature SECRET My-Api-Key",
    Redaction.TOKENS: "token access_token session_id sessionid session-id jsessionid phpsessid PHPSESSID",
}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in NAMES.items() for name in names.split()])
@pytest.mark.parametrize(
    "form",
    ["{}={}", "{}: {}", '{}: "{}"', "{} => '{}'", '"{}": "{}"', '\\"{}\\": \\"{}\\"', "**{}:** `{}`", "{}:={}",
     "{}\uff1a{}", "(`{}`) = {}", "{} ?: {}"],
)  # fmt: skip
def test_a_value_that_looks_random_is_blotted_out_by_its_name(kind, name, form):
    text, expected = form.format(name, MIXED[:16]), form.format(name, replacement(kind))
    assert ALL.redact(f"{text} ok")[0] == f"{expected} ok"


@pytest.mark.parametrize("value", [MIXED[:15], "the-name-of-a-thing", "0123456789012345", "getSecretValue42x("])
def test_a_value_that_is_short_or_reads_as_words_is_not_blotted_out_by_its_name(value):
    assert ALL.redact(f"api_key = {value}") == (f"api_key = {value}", {})


@pytest.mark.parametrize(
    ("before", "secret", "after"),
    [
        ("Authorization: Bearer ", "a1b2c3", ""),
        ("authorization: Basic ", "a1b2c3", " x"),
        ("Authorization: token ", "a1b2c3", ""),
        ("Authorization: ApiKey ", "a1b2c3", ""),
        ("Authorization: api-key ", "a1b2c3", ""),
        ("Authorization: Bot ", "a1b2c3", ""),
        ('"authorization": "key ', "a1b2c3", '"'),
        ("Authorization: Custom ", MIXED[:16], ""),
        ("Authorization: ", MIXED[:16], "\n"),
        ("bearer ", MIXED[:16], ""),
        ("Bearer+", MIXED[:16], ""),
        ("Bearer '", MIXED[:16], "'"),
        ("basic ", "dXNlcjpwYXNz", ""),
        ("", "eyJ" + "a" * 8 + "." + "b" * 8, " x"),
        ("", "eyJ" + "a" * 8 + "." + "b" * 8 + "." + "c" * 30, "."),
    ],
)
def test_credentials_of_requests_are_blotted_out(before, secret, after):
    assert ALL.redact(before + secret + after)[0] == f"{before}[redacted:tokens]{after}"


@pytest.mark.parametrize(
    "text",
    ["Authorization: Bearer abcdef", "Authorization: Bearer a1b2", "bearer of bad news in 2024", "Bearer a1b2c3",
     "basic knowledge", "basic abcdefgh", "eyJhbG.eyJzdWI", "authorization: none", "authorization is 100% needed"],
)  # fmt: skip
def test_words_of_requests_without_credentials_stay(text):
    assert ALL.redact(text) == (text, {})


@pytest.mark.parametrize(
    "name",
    ["password", "Passwd", "passphrase", "passwort", "kennwort", "pwd", "psw", "DB_PASS", "my_pw", "my-pw", "password1",
     "password12", "PASSWORD"],
)  # fmt: skip
@pytest.mark.parametrize(
    ("form", "end"),
    [("{}=", ""), ("{}: ", ""), ("{}: ", "\n"), ('{}: "', '"'), ("{} = '", "'"), ("{}=`", "`"), ('"{}": "', '",'),
     ("{}:", ";x"), ("?{}=", "&x=1"), ('\\"{}\\": \\"', '\\"'), ("{} => '", "'"), ("`{}`: ", ""),
     ('"name":"{}","value":"', '"')],
)  # fmt: skip
def test_a_password_is_blotted_out_by_its_name_in_whatever_stands_around_it(name, form, end):
    before = form.format(name)
    assert ALL.redact(f"{before}hunter2{end}")[0] == f"{before}[redacted:passwords]{end}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("curl -u bob:hunter2 http://x", "curl -u bob:[redacted:passwords] http://x"),
        ("curl --user bob:hunter2", "curl --user bob:[redacted:passwords]"),
        ("curl --user=bob:hunter2", "curl --user=bob:[redacted:passwords]"),
        ("curl -u 'bob:hunter2'", "curl -u 'bob:[redacted:passwords]'"),
        ("docker run -u 1000:1000 x", "docker run -u 1000:1000 x"),
        ("ftp://bob:hunter2@host/x", "ftp://bob:[redacted:passwords]@host/x"),
        ("git+ssh://bob:hunter2@host", "git+ssh://bob:[redacted:passwords]@host"),
        ("redis://:hunter2@host", "redis://:[redacted:passwords]@host"),
        ("http://host:8080/a@b", "http://host:8080/a@b"),
        ("http://bob@host/x", "http://bob@host/x"),
        ('password: "a\\"b" x', 'password: "[redacted:passwords]" x'),
        ("password: 'a\"b' x", "password: '[redacted:passwords]' x"),
        ("password: " + "a1" * 100 + " x", "password: [redacted:passwords] x"),
        ('password: "' + "a1 " * 100 + '" x', 'password: "[redacted:passwords]" x'),
    ],
)
def test_a_password_ends_where_its_quotes_its_address_or_its_word_do(text, expected):
    assert ALL.redact(text)[0] == expected


PEM = "-----BEGIN {0}PRIVATE KEY{1}-----\n{2}\n-----END {0}PRIVATE KEY{1}-----"


@pytest.mark.parametrize("sort", ["", "RSA ", "EC ", "DSA ", "OPENSSH ", "ENCRYPTED "])
@pytest.mark.parametrize(
    "body", [MIXED[:64], f"{MIXED[:64]}\n{MIXED[:64]}\n{MIXED[:20]}==", f"{MIXED[:64]}\r\n{MIXED[:30]}"]
)
def test_a_private_key_is_blotted_out_from_its_first_to_its_last_line(sort, body):
    text = PEM.format(sort, "", body)
    assert ALL.redact(f"see {text}\nthat")[0] == "see [redacted:tokens]\nthat"
    assert ALL.redact(text.replace("\n", "\\n"))[0] == "[redacted:tokens]"


@pytest.mark.parametrize(
    "header", ["Proc-Type: 4", "DEK-Info: AES", "Version: 1", "Comment: x", "Charset: y", "Hash: z"]
)
def test_a_private_key_with_headers_is_blotted_out(header):
    text = PEM.format("PGP ", " BLOCK", f"{header}\n\n{MIXED[:64]}")
    assert ALL.redact(f"{text} end")[0] == "[redacted:tokens] end"


def test_a_public_key_stays():
    text = PEM.format("", "", MIXED[:64]).replace("PRIVATE", "PUBLIC")
    assert ALL.redact(text) == (text, {})


def test_the_secret_half_of_a_key_goes_with_its_id():
    text = f"AKIA{UPPER[:16]}:{MIXED[:40]} x"
    assert ALL.redact(text)[0] == "[redacted:apiKeys] x"


@pytest.mark.parametrize(
    "prefix",
    ["sk-", "r8_", "fw_", "pypi-", "LTAI", "csk-", "cog_", "EAAM", "vcp_", "rpa_", "sgp_", "secret_", "ntn_", "dp.pt."],
)
def test_behind_a_prefix_that_words_begin_with_only_what_looks_random_is_a_key(prefix):
    text = f"{prefix}{'abcdefghij' * 7}"
    assert ALL.redact(text) == (text, {})


@pytest.mark.parametrize(
    ("kind", "secret"),
    [
        *(
            (Redaction.CREDIT_CARDS, card)
            for card in ("4222222222222", "4111 1111 1111 1111", "6304 0000 0000 0000 000")
        ),
        *((Redaction.CREDIT_CARDS, f"4111{gap}1111{gap}1111{gap}1111") for gap in "-\u00a0\u2009\u202f"),
        *((Redaction.IBANS, account) for account in ("NO9386011117947", "de89370400440532013000")),
        *((Redaction.IBANS, f"DE89{gap}3704{gap}0044{gap}0532{gap}0130{gap}00") for gap in " -\u00a0\u2009\u202f"),
        (Redaction.IBANS, "RU0304452522540817810538091310419"),
        *((Redaction.EMAILS, address) for address in ("a@b.io", "a.b_c%d+e'f-1@x-1.y.z.example", "a@1.museum")),
    ],
)
def test_numbers_and_addresses_are_blotted_out_as_people_write_them(kind, secret):
    assert ALL.redact(f"see {secret}, please") == (f"see {replacement(kind)}, please", {kind: 1})
    assert ALL.redact(f"({secret})")[0] == f"({replacement(kind)})"


@pytest.mark.parametrize(
    "text", ["a@b", "@b.io", "a@b.c", "a@b.1", "4111", "DEX9370400440532013000", "D189370400440532013000"]
)
def test_what_has_a_part_too_few_is_no_number_and_no_address(text):
    assert ALL.redact(text) == (text, {})


@pytest.mark.parametrize(
    "text",
    [f"A3-{UPPER[:7]}-{UPPER[:16]}", f"A3-{UPPER[:5]}-{UPPER[:16]}", f"12345678901:AA{MIXED[:30]}",
     f"1234567:AA{MIXED[:30]}", f"SG.{MIXED[:33]}.{MIXED[:16]}", f"SG.{MIXED[:15]}.{MIXED[:16]}"],
)  # fmt: skip
def test_a_key_of_several_parts_has_each_of_its_length(text):
    assert ALL.redact(text) == (text, {})
