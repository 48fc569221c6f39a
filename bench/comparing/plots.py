"""The growth curves, and all workloads at a glance, as SVG; the same numbers give the same SVG."""
from peers import title
from workloads import CURVES, WORKLOADS

try:
    import matplotlib
    matplotlib.use("svg")
    from matplotlib import pyplot
except ImportError:
    matplotlib = None

DIVIDE = {"ns": 1, "us": 1e3, "ms": 1e6}
COLOURS = {"bare": "#888888", "crossfork": "#c03028", "python": "#3070b0", "openmp": "#308050", "openmpi": "#9050a0",
           "zeromq": "#d08020", "boost": "#806040", "nng": "#50a0a0", "perl": "#606000", "node": "#50b050"}
DASHES = ["-", "--", ":", "-."]


def set_up():
    matplotlib.rcParams.update({
        "svg.hashsalt": "crossfork", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9,
        "axes.spines.top": False, "axes.spines.right": False, "path.simplify": True})


def family(peer):
    return peer.split(":")[0]


def save(figure, path):
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None}, bbox_inches="tight")
    pyplot.close(figure)


def plot_curve(results, curve, path):
    figure, axes = pyplot.subplots(figsize=(7, 3.6))
    seen = {}
    series = results.curve(curve.name)
    for peer, points in sorted(series.items(), key=lambda item: -item[1][-1][1]):
        if peer in curve.left_out:
            continue
        kind = family(peer)
        dash = DASHES[seen.get(kind, 0) % len(DASHES)]
        seen[kind] = seen.get(kind, 0) + 1
        axes.plot([point for point, _ in points], [ns / DIVIDE[curve.axes[1].split()[0]] for _, ns in points], dash,
                  color=COLOURS[kind], marker="o", markersize=3, linewidth=1.8 if kind == "crossfork" else 1.1,
                  label=title(peer))
    axes.set(xscale="log", yscale="log", xlabel=curve.axes[0], ylabel=curve.axes[1])
    axes.set_title(curve.title, fontsize=10, loc="left")
    axes.grid(True, which="major", linewidth=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8)
    save(figure, path)


def factor(results, workload, peer):
    """Returns how many times worse than crossfork it is at the same work."""
    ours = workload.pairs.get(peer, workload.ours)
    pair = (workload.name, peer, workload.member), (workload.name, ours, workload.member)
    return results.ratio(*(reversed(pair) if workload.member == "efficiency" else pair))


def plot_all(results, path):
    figure, axes = pyplot.subplots(figsize=(7, 4.2))
    shown = [workload for workload in WORKLOADS if workload.name != "w9"]
    kinds = {}
    for row, workload in enumerate(shown):
        for peer in results.peers(workload.name):
            kind, ratio = family(peer), factor(results, workload, peer)
            if ratio is not None and kind != "crossfork" and (kind != "bare" or peer == workload.limit):
                kinds.setdefault(kind, []).append((ratio, -row))
    for kind, places in kinds.items():
        marker, size = ("|", 9) if kind == "bare" else ("o", 5)
        axes.plot(*zip(*places), marker, color=COLOURS[kind], markersize=size, label=kind)
    axes.axvline(1, color=COLOURS["crossfork"], linewidth=1.5)
    axes.set_yticks([-row for row in range(len(shown))], [workload.name for workload in shown])
    axes.set(xscale="log", xlabel="times as long as crossfork (the red line); efficiency for w5")
    axes.grid(True, axis="x", which="major", linewidth=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8)
    save(figure, path)


def plot(results, folder):
    """Returns the names of the curves' plots, and their captions."""
    folder.mkdir(parents=True, exist_ok=True)
    if not matplotlib:
        print("compare: no plots: there is no python3-matplotlib")
        return []
    set_up()
    plot_all(results, folder / "all.svg")
    made = []
    for curve in CURVES:
        if results.curve(curve.name):
            plot_curve(results, curve, folder / f"{curve.name}.svg")
            made.append((curve.name, f"{curve.title}: {curve.axes[1]} against {curve.axes[0]}"))
    return made
