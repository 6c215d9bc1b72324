"""The page of results, from the documents that the benchmarks wrote. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_HEAD = """\
# Results of `make bench`

Written by `make bench` from `build/bench/*.json`; not edited by hand. A bar that is not met says so. Every comparison
ran both sides in one go on the same machine. `load` is its load average over one minute before the run, `loadAfter`
after it: above the number of cores, other work was going on, and absolute times are pessimistic.
"""
_BARS = "| benchmark | bar | value | limit | met | commit | machine | date |\n|---|---|---|---|---|---|---|---|"
_FIGURES = "| figure | value |\n|---|---|"


def render_results(
    documents: Iterable[Mapping[str, Any]], about: Mapping[str, str], pictures: Mapping[str, str] | None = None
) -> str:
    """Markdown of all bars and of each benchmark's figures.

    `about` says what each one measures, `pictures` names the file of its picture, beside the page.
    """
    ordered = list(documents)
    rows = [row for document in ordered for row in _bar_rows(document)]
    shown = pictures or {}
    sections = [
        _section(document, about.get(document["name"], ""), shown.get(document["name"], "")) for document in ordered
    ]
    return "\n".join([_HEAD, _BARS, *rows, "", *sections])


def _bar_rows(document: Mapping[str, Any]) -> Iterator[str]:
    run = document["run"]
    where = f"{run['commit']} | {run['machine']} | {run['date']}"
    bars = document["bars"]
    if not bars:
        yield f"| {document['name']} | none | | | | {where} |"
    for name, bar in bars.items():
        met = "yes" if bar["ok"] else "**not met**"
        yield f"| {document['name']} | {name} | {_number(bar['value'])} | {_number(bar['limit'])} | {met} | {where} |"


def _section(document: Mapping[str, Any], about: str, picture: str) -> str:
    name = document["name"]
    rows = [f"| {figure} | {_number(value)} |" for figure, value in document["figures"].items()]
    shown = [f"![{name}]({picture})", ""] if picture else []
    return "\n".join([f"## {name}", "", about, "", *shown, _FIGURES, *rows, ""])


def _number(value: float) -> str:
    """Write a number without digits that mean nothing."""
    return f"{value:,.3f}".rstrip("0").rstrip(".")
