"""The pictures of a report: `python -m benchmarks.plot report.json [more.json …] [--out FOLDER]`.

Needs the extra `bench` (matplotlib). Writes what the reports hold the figures for: load.svg (throughput and latency
against load), growth.svg (cost of a payload against active users), peers.svg (other engines).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import orjson
from matplotlib.axes import Axes
from matplotlib.figure import Figure

PLOTS = Path(__file__).parent / "plots"
INK, OURS, THEIRS = "#333333", "#0b6e99", "#b0b0b0"
STYLES = {"p50_ms": ("p50", "-"), "p99_ms": ("p99", "--")}
mpl.rcParams.update(
    {
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": INK,
        "svg.hashsalt": "user-context-worker",  # the same figures give the same file
    }
)

Document = dict[str, Any]


def main() -> None:
    """Read the reports, write the pictures, name them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", nargs="+", type=Path, help="what --json of the benchmarks wrote")
    parser.add_argument("--out", type=Path, default=PLOTS, help="folder for the pictures (%(default)s)")
    given = parser.parse_args()
    results = [result for path in given.reports for result in orjson.loads(path.read_bytes())["results"]]
    written = list(pictures(results, given.out))
    print("\n".join(map(str, written)) or "these reports hold nothing to be drawn: load, growth, peers")


def pictures(results: list[Document], folder: Path) -> Iterator[Path]:
    """Draw every result that there is a picture for; the path of each."""
    folder.mkdir(parents=True, exist_ok=True)
    for result in results:
        draw = PICTURES.get(result["question"])
        if draw is not None:
            path = folder / f"{result['question']}.svg"
            draw(result).savefig(path, metadata={"Date": None})
            yield path


def _load(result: Document) -> Figure:
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    through, latency = figure.subplots(1, 2)
    for series in result["series"]:
        points = series["points"]
        rates = [point["rate"] for point in points]
        colour = _colour(series["name"])
        through.plot(
            rates, [point["arrived_per_s"] for point in points], "o-", color=colour, label=series["name"], ms=3
        )
        for quantity, (label, line) in STYLES.items():
            values = [point[quantity] for point in points]
            latency.plot(rates, values, line, color=colour, label=f"{series['name']}: {label}", marker="o", ms=3)
    _label(through, "Throughput", "payloads sent a second", "records of payloads arrived a second")
    _label(latency, "Latency", "payloads sent a second", "ms")
    for axes in (through, latency):
        axes.set(xscale="log", yscale="log")
        axes.legend(frameon=False, fontsize=8)
    return figure


def _growth(result: Document) -> Figure:
    figure = Figure(figsize=(6, 3.8), layout="constrained")
    axes = figure.subplots()
    for series in result["series"]:
        users = [point["users"] for point in series["points"]]
        costs = [point["us_cpu"] for point in series["points"]]
        axes.plot(users, costs, "o-", color=_colour(series["name"]), label=series["name"])
    _label(axes, "Cost of a payload by the number of active users", "active users", "µs of CPU")
    axes.set(xscale="log")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    return figure


def _peers(result: Document) -> Figure:
    rates = {
        figure["name"].removesuffix(": steady"): figure
        for figure in result["figures"]
        if figure["unit"] == "payloads / CPU s" and figure["name"].endswith(": steady")
    }
    names = sorted(rates, key=lambda name: rates[name]["median"])
    medians = [rates[name]["median"] for name in names]
    low = [rates[name]["median"] - rates[name]["min"] for name in names]
    high = [rates[name]["max"] - rates[name]["median"] for name in names]
    figure = Figure(figsize=(8, 0.5 * len(names) + 1.2), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(names, medians, xerr=[low, high], color=list(map(_colour, names)), ecolor=INK)
    axes.bar_label(bars, [f" {median:,.0f}" for median in medians])
    axes.xaxis.set_major_formatter("{x:,.0f}")
    _label(axes, "The same job: payloads per CPU second, steady", "", "")
    return figure


PICTURES: dict[str, Callable[[Document], Figure]] = {"load": _load, "growth": _growth, "peers": _peers}


def _label(axes: Axes, title: str, across: str, up: str) -> None:
    axes.set_title(title, loc="left", color=INK)
    axes.set_xlabel(across, color=INK)
    axes.set_ylabel(up, color=INK)


def _colour(name: str) -> str:
    return OURS if name.startswith("member") else THEIRS


if __name__ == "__main__":
    main()
