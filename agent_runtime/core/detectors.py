"""Every sort of secret that can be blotted out, as data."""

from __future__ import annotations

from agent_api.v1alpha1.guards import Redaction
from agent_runtime.core.detection import Detector, Piece, Tail, some, words
from agent_runtime.core.number_checks import card_number, iban
from agent_runtime.core.secret_checks import (
    authorization,
    basic_credentials,
    email,
    joined_password,
    quoted_password,
    random_key,
    spaced_password,
    url_password,
    user_password,
)

_ALNUM = "[A-Za-z0-9]"
_URL_SAFE = "[A-Za-z0-9_-]"
_BASE64 = "[A-Za-z0-9+/]"
_TOKEN = "[A-Za-z0-9_.~+/=%-]"  # noqa: S105 - an alphabet
_SPACE = "[ \t]"


def _issued(prefixes: str, alphabet: str, least: int, *, random: bool = False) -> Detector:
    return Detector(
        Redaction.API_KEYS,
        (words(*prefixes.split()), some(alphabet, least, least)),
        check=random_key if random else None,
        tail=Tail(alphabet),
    )


_ISSUED_KEYS = (
    _issued("sk-ant- sk-proj- sk-svcacct- sk-admin- sk-or-v1- sk-lf- pk-lf-", _URL_SAFE, 16),
    _issued("sk- xai- gsk_ pplx- r8_ nvapi- fw_ tvly- pypi-", _URL_SAFE, 16, random=True),
    _issued("sk_live_ sk_test_ sk_prod_ rk_live_ rk_test_ rk_prod_ whsec_", _ALNUM, 16),
    _issued("AIza", _URL_SAFE, 30),
    _issued("ya29. GOCSPX- AQ.Ab", _URL_SAFE, 20),
    _issued("ghp_ gho_ ghu_ ghs_ ghr_", _ALNUM, 30),
    _issued("github_pat_", "[A-Za-z0-9_]", 22),
    _issued("glpat- gldt- glrt- glptt- glcbt- glft- glimt- glagent- glsoat- gloas-", _URL_SAFE, 16),
    _issued("xoxb- xoxp- xoxa- xoxr- xoxs- xoxo- xoxe- xoxc- xoxd- xoxe. xapp-", "[A-Za-z0-9.%-]", 10),
    _issued(
        "hooks.slack.com/services/ hooks.slack.com/workflows/ hooks.slack.com/triggers/ discord.com/api/webhooks/",
        "[A-Za-z0-9_/-]",
        20,
    ),
    _issued("hf_ npm_ api_org_", _ALNUM, 30),
    _issued("pypi-AgE", _URL_SAFE, 16),
    _issued("dop_v1_ doo_v1_ dor_v1_ shpat_ shpss_ shpca_ shppa_ dapi", "[a-f0-9]", 32),
    _issued("SK key-", "[a-f0-9]", 32),
    _issued("v1.0- s-s4t2ud- s-s4t2af- rootly_ sntryu_", "[a-f0-9-]", 40),
    _issued("LTAI 4b1d csk- waka_ bkua_ cog_ unkey_ ucat_ rdme_ ramp_sec_ xnd_production_", _ALNUM, 20, random=True),
    _issued("EAAM EAAC EAAG AKCp", _ALNUM, 60, random=True),
    _issued("ops_eyJ ABSK apk_ fm1r_ fm1a_ fm2_ BBDC- AstraCS: bedrock-api-key-", f"{_BASE64[:-1]}=_-]", 24),
    _issued(
        "dckr_pat_ dckr_oat_ lin_api_ rubygems_ figd_ glsa_ glc_ sntrys_ sntryu_ tskey- hvs. hvb. pul-", _URL_SAFE, 20
    ),
    _issued(
        "vcp_ vci_ vca_ vcr_ vck_ sb_secret_ sbp_ CCIPAT_ CCIPRJ_ CCDB1_ HRKU- lsv2_pt_ lsv2_sk_ pscale_tkn_"
        " pscale_pw_ pscale_oauth_ tgp_v1_ wandb_v1_ apify_api_ xkeysib- SWMTKN-1- SWMKEY-1- AIK_SECRET_ AIK_CI_"
        " sk_car_ samsara_api_ shippo_live_ shippo_test_ duffel_live_ duffel_test_ dvc_server_ bkaa_ zpka_ sq0atp-"
        " sq0csp- FLWSECK- FLWSECK_TEST- csa_ sm_aat_ sm_pat_ sm_sat_ vtwn_ pnu_ tss_ rpa_ rnd_ squ_ sqp_ sqa_ cfut_"
        " cfat_ ico- p8e-",
        _URL_SAFE,
        16,
        random=True,
    ),
    _issued("dp.pt. dp.st. dp.ct. dt0c01.", "[A-Za-z0-9._-]", 30, random=True),
    _issued("ATATT3 ATCTT3 NRAK- PMAK- AGE-SECRET-KEY-1 sgp_ secret_ ntn_", _URL_SAFE, 24, random=True),
    Detector(
        Redaction.API_KEYS,
        (words("AKIA", "ASIA", "ABIA", "ACCA"), some("[A-Z0-9]", 16, 16)),
        # The secret half that stands right behind goes with the id.
        tail=Tail("[A-Z0-9]", (some(r"[^A-Za-z0-9]", 1, 8), some("[A-Za-z0-9/+]", 40, 40))),
    ),
    Detector(
        Redaction.API_KEYS,
        (words("A3-"), some("[A-Z0-9]", 6, 6), words("-"), some("[A-Z0-9-]", 16, 16)),
        tail=Tail("[A-Z0-9-]"),
    ),
    Detector(
        Redaction.TOKENS,
        (words("00D"), some(_ALNUM, 12, 12), words("!"), some("[A-Za-z0-9._-]", 20, 20)),
        tail=Tail("[A-Za-z0-9._-]"),
    ),
    Detector(
        Redaction.API_KEYS,
        (words("SG."), some(_URL_SAFE, 16, 32), words("."), some(_URL_SAFE, 16, 16)),
        tail=Tail(_URL_SAFE),
    ),
    Detector(
        Redaction.API_KEYS,
        (some("[0-9]", 8, 10), words(":AA"), some(_URL_SAFE, 30, 30)),
        tail=Tail(_URL_SAFE),
    ),
    Detector(
        Redaction.API_KEYS,
        (some("[A-Za-z0-9_~.-]", 3, 3), some("[0-9]", 1, 1), words("Q~"), some("[A-Za-z0-9_~.-]", 31, 31)),
        tail=Tail(_URL_SAFE),
        bounded=False,
    ),
)

_AND_VALUE = Piece(r"""(?:[\s"',]{1,24}value["' ]{0,2})?""", r"""[\s"',value]*(?:{rest})?""", 31)
"""A pair of name and value in XML, JSON or YAML: both are members."""

_NAME_END = (
    some(r"""[\\"'\])*`]""", 0, 5),
    _AND_VALUE,
    some(_SPACE, 0, 4),
    some("[?:]", 0, 3),
    some("[:=\uff1a]", 1, 1),
)
_ASSIGNED = (*_NAME_END, some("[=>]", 0, 1))
_GAP = some("[ \t*]", 0, 6)
_OPENED = some(r"""[\\"'`*]""", 0, 5)


def _named(kind: Redaction, names: str) -> Detector:
    return Detector(
        kind,
        (some(_TOKEN, 16, 64),),
        before=(words(*names.split("|"), ignore_case=True), *_ASSIGNED, _GAP, _OPENED),
        check=random_key,
        tail=Tail(_TOKEN),
        bounded=False,
    )


_NAMED_KEYS = _named(
    Redaction.API_KEYS,
    "api_key|api-key|apikey|api key|api_token|api-token|apitoken|access_key|access-key|accesskey|access key"
    "|access_key_id|secret_key|secret-key|secretkey|secret key|aws_secret|aws secret|account_key|accountkey"
    "|sharedaccesskey|subscription-key|subscription_key|subscriptionkey|client_secret|client-secret|clientsecret"
    "|client secret|private_key|privatekey|signing_key|signingkey|encryption_key|webhook_secret|app_secret|appsecret"
    "|application_key|app_key|appkey|service_key|license_key|licence_key|platform_key|project_key|server_key|master_key"
    "|admin_key|auth_key|authkey|deploy_key|sdk_key|service_role_key|credential|credentials|user_auth"
    "|secret|sharedaccesssignature|&sig|?sig",
)
_NAMED_TOKENS = _named(Redaction.TOKENS, "token|session_id|sessionid|session-id|jsessionid|phpsessid")

_TOKENS = (
    Detector(
        Redaction.TOKENS,
        (words("eyJ"), some(_URL_SAFE, 8, 1000), words("."), some(_URL_SAFE, 8, 8)),
        tail=Tail(_URL_SAFE, (words("."), some(_URL_SAFE, 1, 1))),
    ),
    Detector(
        Redaction.TOKENS,
        (some(_TOKEN, 6, 64),),
        before=(
            words("authorization", ignore_case=True),
            some(r"""[\\"'`*:= \t]""", 1, 10),
            words("bearer", "basic", "token", "apikey", "api-key", "bot", "key", ignore_case=True),
            some(_SPACE, 1, 4),
        ),
        check=authorization,
        tail=Tail(_TOKEN),
    ),
    Detector(
        Redaction.TOKENS,
        (some(_TOKEN, 16, 64),),
        before=(
            words("authorization", ignore_case=True),
            some(r"""[\\"'`*:= \t]""", 1, 10),
            some(r"(?:[A-Za-z][A-Za-z0-9-]{0,15}[ \t])", 0, 1, loose=("[A-Za-z0-9 \t-]", 17)),
            some(_SPACE, 0, 3),
        ),
        check=random_key,
        tail=Tail(_TOKEN),
    ),
    Detector(
        Redaction.TOKENS,
        (some(_TOKEN, 16, 64),),
        before=(words("bearer", ignore_case=True), some("[ \t+]", 1, 4), some(r"""[\\"'`]""", 0, 2)),
        check=random_key,
        tail=Tail(_TOKEN),
    ),
    Detector(
        Redaction.TOKENS,
        (some(_BASE64, 8, 200), some("=", 0, 2)),
        before=(words("basic", ignore_case=True), some(_SPACE, 1, 4)),
        check=basic_credentials,
        tail=Tail("[A-Za-z0-9+/=]"),
    ),
    _NAMED_TOKENS,
)

_LINE_UNIT = r"""(?:\s|\\[nrt]|["'+,>#])"""
_LINE_CHARACTER = r"""[\s\\nrt"'+,>#]"""
_LINE_END = some(_LINE_UNIT, 0, 40, loose=(_LINE_CHARACTER, 2))
_LINE_BREAK = some(_LINE_UNIT, 1, 40, loose=(_LINE_CHARACTER, 2))
_PEM_BEGIN = (
    words("-----BEGIN "),
    some("[A-Z0-9 ]", 0, 40),
    words("PRIVATE KEY"),
    some("[A-Z ]", 0, 8),
    words("-----"),
    _LINE_END,
)
_PEM_TAIL = Tail(
    _BASE64,
    (some("=", 0, 2), _LINE_BREAK, some(_BASE64, 16, 16)),
    last=(
        some("[A-Za-z0-9+/=]", 0, 80),
        _LINE_END,
        some("[A-Za-z0-9+/=]", 0, 80),
        _LINE_END,
        words("-----END "),
        some("[A-Z0-9 ]", 0, 60),
        words("-----"),
    ),
)
_PEM = (
    Detector(Redaction.TOKENS, (*_PEM_BEGIN, some(_BASE64, 16, 16)), tail=_PEM_TAIL, bounded=False),
    Detector(
        Redaction.TOKENS,
        (
            *_PEM_BEGIN,
            words("Proc-Type:", "DEK-Info:", "Version:", "Comment:", "Charset:", "Hash:"),
            Piece(r"[\x20-\x7e\s]{0,300}?", r"[\x20-\x7e\s]*(?:{rest})?", 300),
            some(_BASE64, 32, 32),
        ),
        tail=_PEM_TAIL,
        bounded=False,
    ),
)

_NAMES_OF_PASSWORDS = ("password", "passwd", "passphrase", "passwort", "kennwort", "pwd", "psw", "_pass", "_pw", "-pw")
_PASSWORD = (words(*_NAMES_OF_PASSWORDS, ignore_case=True), some("[0-9]", 0, 2))


def _quoted(opening: str, unit: str, closing_unit: str | None = None) -> Detector:
    """A password in quotes; `unit` is one character of it as the quotes allow, escapes included."""
    loose = None if closing_unit is None else (closing_unit, 2)
    escapes = () if closing_unit is None else ((words("\\"), some(r"[^\n]", 1, 1)),)
    run = r"""[^"\\\n]""" if closing_unit is not None else unit
    return Detector(
        Redaction.PASSWORDS,
        (some(unit, 1, 64, loose=loose),),
        before=(*_PASSWORD, *_ASSIGNED, _GAP, Piece(opening, opening + "(?:{rest})?", 1)),
        check=quoted_password,
        tail=Tail(run, *escapes),
        bounded=False,
    )


_BARE = r"""[^\s"'`,;\\]"""
_BARE_IN_URL = r"""[^\s"'`,;&\\]"""
_PASSWORDS = (
    _quoted('"', r"""(?:\\[^\n]|[^"\\\n])""", r"[^\n]"),
    _quoted("'", r"[^'\n]"),
    _quoted("`", r"[^`\n]"),
    Detector(
        Redaction.PASSWORDS,
        (some(r"""[^"'\\\n]""", 1, 64),),
        before=(*_PASSWORD, *_ASSIGNED, _GAP, some(r"\\", 1, 3), some("""["']""", 1, 1)),
        check=quoted_password,
        tail=Tail(r"""[^"'\\\n]"""),
        bounded=False,
    ),
    Detector(
        Redaction.PASSWORDS,
        (some(_BARE_IN_URL, 1, 64),),
        before=(*_PASSWORD, *_NAME_END),
        check=joined_password,
        tail=Tail(_BARE_IN_URL),
        bounded=False,
    ),
    Detector(
        Redaction.PASSWORDS,
        (some(_BARE, 1, 64),),
        before=(*_PASSWORD, *_NAME_END, some("[ \t*]", 1, 6)),
        check=spaced_password,
        tail=Tail(_BARE),
        bounded=False,
    ),
    Detector(
        Redaction.PASSWORDS,
        (some(r"""[^\s"'`]""", 3, 64),),
        before=(
            words("-u ", "--user ", "--user="),
            some("[ =\"']", 0, 4),
            some(r"""[^\s:"'`]""", 0, 64),
            words(":"),
            some("[\"']", 0, 1),
        ),
        check=user_password,
        tail=Tail(r"""[^\s"'`]"""),
        bounded=False,
    ),
    Detector(
        Redaction.PASSWORDS,
        (some(r"""[^\s/@"'<>`\\]""", 1, 256),),
        before=(
            some("[A-Za-z]", 1, 1),
            some("[A-Za-z0-9+.-]", 1, 20),
            words("://"),
            some(r"""[^\s/:@"'<>`\\\[]""", 0, 128),
            words(":"),
        ),
        after=(words("@"),),
        check=url_password,
    ),
)

_NUMBER_GAP = "[ \u00a0\u2009\u202f-]"
_CARDS = (
    Detector(
        Redaction.CREDIT_CARDS,
        (
            some("[0-9]", 1, 1),
            some(f"(?:{_NUMBER_GAP}?[0-9])", 12, 18, loose=("[0-9 \u00a0\u2009\u202f-]", 2)),
        ),
        check=card_number,
    ),
)
_IBANS = (
    Detector(
        Redaction.IBANS,
        (
            some("[A-Za-z]", 2, 2),
            some("[0-9]", 2, 2),
            some(f"(?:{_NUMBER_GAP}?{_ALNUM})", 11, 30, loose=("[A-Za-z0-9 \u00a0\u2009\u202f-]", 2)),
        ),
        check=iban,
    ),
)
_EMAILS = (
    Detector(
        Redaction.EMAILS,
        (
            some("[A-Za-z0-9._%+'-]", 1, 64),
            words("@"),
            some(r"(?:[A-Za-z0-9-]{1,63}\.)", 1, 8, loose=("[A-Za-z0-9.-]", 64)),
            some("[A-Za-z]", 2, 24),
        ),
        check=email,
    ),
)

DETECTORS: tuple[Detector, ...] = (
    *_PEM,
    *_ISSUED_KEYS,
    *_TOKENS,
    _NAMED_KEYS,
    *_PASSWORDS,
    *_CARDS,
    *_IBANS,
    *_EMAILS,
)
"""All of them; where two begin at the same place, the first that its check accepts is taken."""

NAME_OF_PASSWORD = rf"(?i)(?:{'|'.join(_NAMES_OF_PASSWORDS)})\d{{0,2}}\z"
NAME_OF_KEY = (
    r"(?i)(?:(?:api|access|account|secret|private|app|application|service|licen[sc]e|platform|master|admin|auth|deploy"
    r"|sdk|signing|encryption)[ _-]?key|secret|token|authorization|credentials?)\z"
)
"""What the name of a member ends with, if its value is one."""
