"""The picture of the results: a group of bars for each line, in proportion to the longest bar of the group."""

from __future__ import annotations

from xml.sax.saxutils import escape

WIDTH, LABELS, BARS, ROW, GAP = 880, 250, 470, 20, 14
COLOURS = {"gramd": "#1f6feb", "other": "#b6bec8"}
# The figures that a group can show, and their text next to the bar.
FIGURES = {
    "rows_rate": lambda value: f"{value:,.0f} rows/s",
    "rate": lambda value: f"{value:,.0f}/s",
    "bytes": lambda value: f"{value:,.0f} bytes",
}


def figure_of(medians: dict[str, dict[str, float]]) -> str:
    """The first figure that all runs of the group have."""
    for name in FIGURES:
        if all(name in figures for figures in medians.values()):
            rows = name == "rows_rate" and all(figures[name] == figures["rate"] for figures in medians.values())
            if not rows:
                return name
    raise ValueError("the runs have no figure in common")


def text(x: int, y: float, words: str, style: str = "") -> str:
    return f'<text x="{x}" y="{y:.0f}" {style}>{escape(words)}</text>'


def group(what: str, medians: dict[str, dict[str, float]], ours: set[str], y: int) -> tuple[list[str], int]:
    name = figure_of(medians)
    longest = max(figures[name] for figures in medians.values())
    out = [text(12, y + 13, what, 'font-weight="600"')]
    y += ROW + 2
    for label, figures in sorted(medians.items(), key=lambda item: -item[1][name]):
        colour = COLOURS["gramd" if label in ours else "other"]
        length = max(1.0, BARS * figures[name] / longest)
        out.append(text(LABELS - 10, y + 13, label, 'text-anchor="end"'))
        out.append(f'<rect x="{LABELS}" y="{y + 2}" width="{length:.0f}" height="{ROW - 5}" rx="2" fill="{colour}"/>')
        out.append(text(round(LABELS + length + 8), y + 13, FIGURES[name](figures[name]), 'fill="#57606a"'))
        y += ROW
    return out, y + GAP


def draw(lines: list[tuple[str, dict[str, dict[str, float]], set[str]]], machine: str) -> str:
    """Each line: its title, its figures by label, and the labels of gramd."""
    out: list[str] = []
    y = 12
    for what, medians, ours in lines:
        drawn, y = group(what, medians, ours, y)
        out += drawn
    out.append(text(12, y + 10, machine, 'fill="#57606a" font-size="11"'))
    y += 24
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" height="{y}"'
        ' font-family="system-ui, sans-serif" font-size="13" fill="#1f2328">'
    )
    return "\n".join([head, f'<rect width="{WIDTH}" height="{y}" fill="#ffffff"/>', *out, "</svg>\n"])
