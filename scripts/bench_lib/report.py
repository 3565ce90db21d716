"""Markdown tables, and the same as SVG."""

import html
import statistics

PERCENTILE = 10


def median(values):
    return statistics.median(values)


def best(values):
    """The tenth percentile: what a machine that does other things too takes least from."""
    return sorted(values)[len(values) * PERCENTILE // 100]


class Row:
    """One measure: samples of ours and of what is beside it, or a figure; and what it must reach."""

    def __init__(self, what, ours, theirs=None, must=None, unit="ms", higher=False,
                 beside="reference"):
        self.what, self.unit, self.must, self.higher = what, unit, must, higher
        self.beside = beside
        self.ours, self.theirs = list(ours), list(theirs or [])

    def ratio(self, figure):
        if not self.theirs:
            return None
        if not self.higher:
            return figure(self.theirs) / figure(self.ours)
        # The best are the highest.
        ours, theirs = ([-value for value in values] for values in (self.ours, self.theirs))
        return figure(ours) / figure(theirs)

    def turns(self):
        """Median of the ratios of what was measured one after the other: a machine that is busy
        for a while is so for both."""
        return median(ours / theirs for ours, theirs in zip(self.ours, self.theirs))

    def record(self):
        """The row's figures in one run, as JSON has them."""
        must, holds = self.must or (None, None)
        return {
            "what": self.what if self.unit == "count" else f"{self.what}, {self.unit}",
            "whole": self.unit == "count",
            "ours": median(self.ours),
            "theirs": median(self.theirs) if self.theirs else None,
            "ratio": self.ratio(median),
            "best": self.ratio(best),
            "must": must,
            "reached": bool(holds and holds(self)),
        }


def span(values, text):
    """The lowest and the highest of some runs, or the one of one."""
    if None in values:
        return "–"
    lowest, highest = text(min(values)), text(max(values))
    return lowest if lowest == highest else f"{lowest} to {highest}"


def cells(runs):
    """The cells of one row from its records, one for each run."""
    first = runs[0]

    def number(value):
        return f"{value:.{2 if value < 100 and not first['whole'] else 0}f}"

    def of(key, text):
        return span([run[key] for run in runs], text)

    reached = sum(run["reached"] for run in runs)
    told = {0: "**no**", len(runs): "yes"}.get(reached, f"in {reached} of {len(runs)} runs")
    ratios = [of(key, "{:.1f}".format) for key in ("ratio", "best")]
    return [first["what"], of("ours", number), of("theirs", number), *ratios,
            first["must"] or "–", told if first["must"] else "–"]


def at_least(ratio):
    return (f"ratio ≥ {ratio}", lambda row: row.ratio(median) >= ratio)


def at_most(value, unit=""):
    return (f"≤ {value} {unit}".strip(), lambda row: median(row.ours) <= value)


HEAD = ["Measure", "Ferrule", "reference", "ratio", "ratio of 10th percentiles", "must reach",
        "reached"]


def markdown(runs):
    """A table of the records of each run."""
    lines = ["| " + " | ".join(HEAD) + " |", "|---|---:|---:|---:|---:|---|---|"]
    lines += ["| " + " | ".join(cells(row)) + " |" for row in zip(*runs)]
    return "\n".join(lines)


def svg(title, rows):
    """Two bars for each row that compares, as wide as their medians in that row."""
    rows = [row for row in rows if row.theirs]
    line, left, wide = 46, 330, 330
    height = 44 + line * len(rows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + wide + 130}" height="{height}"'
        ' font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="12" y="24" font-size="16" font-weight="bold">{html.escape(title)}</text>',
    ]
    for index, row in enumerate(rows):
        y = 40 + line * index
        ours, theirs = median(row.ours), median(row.theirs)
        most = max(ours, theirs)
        parts.append(f'<text x="12" y="{y + 22}">{html.escape(row.what)}</text>')
        for at, (value, colour, who) in enumerate(
            ((ours, "#2b6cb0", "Ferrule"), (theirs, "#b0b0b0", row.beside))
        ):
            width = max(1, wide * value / most)
            parts.append(f'<rect x="{left}" y="{y + 4 + 17 * at}" width="{width:.0f}" height="15" '
                         f'fill="{colour}"><title>{who}</title></rect>')
            parts.append(f'<text x="{left + width + 6:.0f}" y="{y + 16 + 17 * at}">'
                         f'{value:.{2 if value < 100 else 0}f} {row.unit}</text>')
    parts.append("</svg>")
    return "\n".join(parts) + "\n"
