# SPDX-License-Identifier: GPL-2.0-only
"""The chart of bench/suite: one page that needs nothing else, with a bar per load and mode on a logarithmic scale."""
import html
import math

WIDTH, LEFT, RIGHT, ROW, BAR = 960, 250, 90, 34, 11
STYLE = """
body { font: 14px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 60em; padding: 0 1em; color: #1a1a1a; background: #fff }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { padding: .2em .6em; text-align: right; border-bottom: 1px solid #8884 }
td { white-space: nowrap }
th:nth-child(-n+2), td:nth-child(-n+2) { text-align: left }
tr.mean td { font-weight: 600 }
svg { width: 100%; height: auto }
text { font: 12px system-ui, sans-serif; fill: currentColor }
.group { font-weight: 600 } .quiet { opacity: .6 }
.trap { fill: #9db4c8 } .patch { fill: #1f6fb2 } .native { stroke: #c2571a; stroke-width: 2.5 }
.grid { stroke: #8883 } .one { stroke: currentColor } .aim { stroke: #2e8b57; stroke-width: 1.5; stroke-dasharray: 4 3 }
@media (prefers-color-scheme: dark) {
  body { color: #e6e6e6; background: #16181c } .trap { fill: #5c7184 } .patch { fill: #58a6e6 } .native { stroke: #f0944d }
  .aim { stroke: #57c98a }
}
"""


def _bars(result):
    ratios = [value for load in result["loads"].values() for value in load["times_qemu"].values()]
    ratios += [load["nanoseconds"]["qemu"] / load["nanoseconds"]["native"]
               for load in result["loads"].values() if "native" in load["nanoseconds"]]  # fmt: skip
    low, high = min([0.5, *ratios]), max([10.0, *ratios])

    def across(ratio):
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log(ratio / low) / math.log(high / low)

    parts, y = [], 30
    for group, mean in result["groups"].items():
        top = y
        title = f"{group}: {mean['patch']:.2f}x in patch mode, {mean['trap']:.2f}x in trap mode (geometric means)"
        parts.append(f'<text class="group" x="4" y="{y + 14}">{html.escape(title)}</text>')
        y += 24
        for name, load in result["loads"].items():
            if load["group"] != group:
                continue
            parts.append(f'<text x="4" y="{y + 15}">{html.escape(name)}<tspan class="quiet" dx="8">'
                         f"{html.escape(load['operation'])}</tspan></text>")  # fmt: skip
            for place, mode in enumerate(("trap", "patch")):
                ratio = load["times_qemu"][mode]
                start, end = sorted((across(1.0), across(ratio)))
                at = y + 2 + place * (BAR + 2)
                parts.append(f'<rect class="{mode}" x="{start:.1f}" y="{at}" width="{max(1.0, end - start):.1f}" '
                             f'height="{BAR}"><title>{html.escape(name)}, {mode}: {ratio:.2f}x</title></rect>')  # fmt: skip
            beyond = max(across(1.0), across(load["times_qemu"]["patch"])) + 5
            parts.append(f'<text x="{beyond:.1f}" y="{y + 25}">{load["times_qemu"]["patch"]:.2f}x</text>')
            if "native" in load["nanoseconds"]:
                x = across(load["nanoseconds"]["qemu"] / load["nanoseconds"]["native"])
                parts.append(f'<line class="native" x1="{x:.1f}" x2="{x:.1f}" y1="{y}" y2="{y + 28}"/>')
            y += ROW
        x = across(mean["aim"])
        parts.append(f'<line class="aim" x1="{x:.1f}" x2="{x:.1f}" y1="{top + 22}" y2="{y}"/>')
        y += 12
    axis = []
    for power in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1):
        x, kind = across(10.0**power), "one" if power == 0 else "grid"
        axis.append(f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="24" y2="{y}"/>')
        axis.append(f'<text class="quiet" text-anchor="middle" x="{x:.1f}" y="16">{10.0**power:g}x</text>')
    return f'<svg viewBox="0 0 {WIDTH} {y}" role="img" aria-label="times faster than QEMU">{"".join(axis + parts)}</svg>'


def _table(result, shown):
    rows = []
    for group, mean in result["groups"].items():
        for name, load in result["loads"].items():
            if load["group"] == group:
                times = [load["nanoseconds"].get(system) for system in ("qemu", "trap", "patch", "native")]
                cells = [name, load["operation"], *("-" if time is None else shown(time) for time in times)]
                cells += [f"{load['times_qemu'][mode]:.2f}x" for mode in ("trap", "patch")]
                cells.append(f"{100 * load['part_of_native']:.1f} %" if "part_of_native" in load else "-")
                rows.append("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>")
        cells = [group, f"geometric mean, aim {mean['aim']:g}x", "", "", "", "", f"{mean['trap']:.2f}x", f"{mean['patch']:.2f}x", ""]
        rows.append('<tr class="mean">' + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>")
    heads = ("load", "operation", "QEMU", "trap", "patch", "native", "trap / QEMU", "patch / QEMU", "of native")
    return "<table><tr>" + "".join(f"<th>{head}</th>" for head in heads) + "</tr>" + "".join(rows) + "</table>"


def page(result, shown):
    """The page as text; `shown` turns nanoseconds into a figure with its unit."""
    about = f"{result['qemu']}; {result['processor']}; medians of {result['rounds']} rounds, in turns; "
    about += f"CPUs busy with something else: {result['cpus_busy_elsewhere']:.2f}"
    failed = "".join(f"<p>failed: {html.escape(reason)}</p>" for reason in result["failed"])
    return (
        f'<!DOCTYPE html>\n<html lang="en"><meta charset="utf-8"><title>untrap against QEMU</title><style>{STYLE}</style>'
        f"<h1>Times faster than QEMU's bamboo</h1><p>{html.escape(about)}</p>"
        "<p>Lower bar: patch mode; upper bar: trap mode; orange line: the native build of the same source; dashed line: what "
        f"the group's mean is to reach.</p>{failed}{_bars(result)}{_table(result, shown)}</html>\n"
    )
