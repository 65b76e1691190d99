# SPDX-License-Identifier: MIT
"""A group's figures as an SVG: one panel a unit, a bar a figure, its quartiles, and a mark at its goal. Needs python3-matplotlib."""

REACHED, MISSED, WITHOUT, GOAL = "#4c9a6a", "#c2553f", "#8a94a6", "#222222"
COLOURS = {"reached": REACHED, "missed": MISSED, "-": WITHOUT}
BAR = 0.34  # inches a figure


def spread(figure):
    """How far the quartiles are from the value; for those that have some."""
    part = figure.parts.get("ratio") or figure.parts.get("kite", {})
    if "q1" not in part or not part["q1"] <= figure.value <= part["q3"]:
        return 0, 0
    return figure.value - part["q1"], part["q3"] - figure.value


def panel(axes, unit, figures):
    places = range(len(figures))
    low, high = zip(*(spread(f) for f in figures))
    # Ratios begin at 1, and half of it is as far as twice of it.
    origin = 1 if unit == "x" else 0
    axes.barh(places, [f.value - origin for f in figures], left=origin, height=0.6, color=[COLOURS[f.verdict()] for f in figures],
              xerr=(low, high), error_kw={"ecolor": "#555555", "capsize": 2, "elinewidth": 1})
    for place, figure in zip(places, figures):
        if figure.goal is not None:
            axes.plot([figure.goal] * 2, [place - 0.4, place + 0.4], color=GOAL, linewidth=2)
        axes.annotate(f" {figure.value:,.{0 if figure.value >= 100 else 3 if figure.value < 1 else 2}f}",
                      (max(figure.value + spread(figure)[1], origin), place), va="center", fontsize=7)
    axes.set_yticks(places, [f"{f.name} ({f.where})" for f in figures], fontsize=7)
    axes.invert_yaxis()
    axes.tick_params(axis="x", labelsize=7)
    axes.margins(x=0.12)
    if unit == "x":
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("")
    else:
        axes.set_xlim(left=0)
    axes.set_xlabel("ratio" if unit == "x" else unit or "count", fontsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def plot(group, figures, path):
    """Writes `path`. False without matplotlib, or where there is nothing to show."""
    try:
        import matplotlib  # pylint: disable=import-outside-toplevel
        matplotlib.use("svg")
        from matplotlib import pyplot  # pylint: disable=import-outside-toplevel
    except ImportError:
        return False
    units = list(dict.fromkeys(f.unit for f in figures))
    if not units:
        return False
    panels = [[f for f in figures if f.unit == unit] for unit in units]
    heights = [BAR * len(p) + 0.5 for p in panels]
    drawing, axes = pyplot.subplots(len(panels), 1, figsize=(10, sum(heights) + 0.8), gridspec_kw={"height_ratios": heights}, squeeze=False,
                                    layout="constrained")
    for axis, unit, some in zip(axes[:, 0], units, panels):
        panel(axis, unit, some)
    drawing.suptitle(f"{group}: green reached, red missed, grey without a goal; a bar's end is the median, the thin line its quartiles, "
                     "the thick one the goal", fontsize=8)
    drawing.savefig(path, metadata={"Date": None})
    pyplot.close(drawing)
    return True
