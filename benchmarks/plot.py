"""Pictures of figures, as SVG that needs no library. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

_WIDTH, _LABEL, _VALUE = 720, 130, 90
_ROW, _BAR, _TOP, _BOTTOM = 34, 20, 48, 34
_STYLE = (
    # A figure that stands on the line of the limit is read before it.
    "text{font:13px system-ui,sans-serif;fill:#24292f;paint-order:stroke;stroke:#fff;stroke-width:4px}"
    ".title{font-weight:600;font-size:15px}"
    ".bar{fill:#8c959f}.first{fill:#1a7f37}.limit{stroke:#cf222e;stroke-dasharray:4 3}.note{fill:#cf222e}"
)


def render_bars(title: str, unit: str, values: Mapping[str, float], *, limit: float) -> str:
    """Horizontal bars from zero, the first one marked, and a line at the limit. Shorter is better."""
    room = _WIDTH - _LABEL - _VALUE
    most = max(limit, *values.values())
    height = _TOP + _ROW * len(values) + _BOTTOM
    lengths = {name: room * value / most for name, value in values.items()}
    bars = [_bar(place, name, length) for place, (name, length) in enumerate(lengths.items())]
    figures = [_figure(place, values[name], unit, length) for place, (name, length) in enumerate(lengths.items())]
    at, foot = _LABEL + room * limit / most, _TOP + _ROW * len(values)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
            f"<title>{escape(title)}</title><style>{_STYLE}</style>",
            f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
            f'<text class="title" x="12" y="26">{escape(title)}; shorter is better</text>',
            *bars,
            f'<line class="limit" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP - 8}" y2="{foot}"/>',
            *figures,
            f'<text class="note" x="{at:.1f}" y="{foot + 18}" text-anchor="middle">bar: {_number(limit, unit)}</text>',
            "</svg>",
            "",
        ]
    )


def _bar(place: int, name: str, length: float) -> str:
    top = _TOP + _ROW * place
    kind = "bar first" if place == 0 else "bar"
    return (
        f'<text x="{_LABEL - 10}" y="{top + _BAR - 5}" text-anchor="end">{escape(name)}</text>'
        f'<rect class="{kind}" x="{_LABEL}" y="{top}" width="{length:.1f}" height="{_BAR}"/>'
    )


def _figure(place: int, value: float, unit: str, length: float) -> str:
    return f'<text x="{_LABEL + length + 8:.1f}" y="{_TOP + _ROW * place + _BAR - 5}">{_number(value, unit)}</text>'


def _number(value: float, unit: str) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") + f" {escape(unit)}"
