"""The tables, and where they go: between the marks of docs/benchmarks.md and README.md.

A mark is <!-- compare: NAME -->, and the next <!-- compare --> ends what is replaced.  What is between others is prose.
"""
import re

from peers import PEERS, TITLES, title
from workloads import BY_NAME, TARGETS, WORKLOADS

UNITS = [(1e9, "s"), (1e6, "ms"), (1e3, "us"), (1, "ns")]


def digits(value):
    """Three significant digits."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) < 0.01:
        return f"{value:.2g}"
    return f"{value:.3f}" if abs(value) < 1 else f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def unit_of(ns):
    return next((pair for pair in UNITS if ns >= pair[0]), UNITS[-1])


def in_unit(ns):
    factor, unit = unit_of(ns)
    return f"{digits(ns / factor)} {unit}"


def between(low, high, member):
    """Both in the unit of the higher one."""
    factor, unit = unit_of(high) if member.endswith("_ns") else (1, "")
    return f"{digits(low / factor)} to {digits(high / factor)} {unit}".rstrip()


def show(value, member):
    return in_unit(value) if member.endswith("_ns") else digits(value)


def table(head, rows):
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


# ---- A workload ----

def is_better(workload, ratio):
    return ratio > 1 if workload.member == "efficiency" else ratio < 1


def ours_for(workload, peer):
    return workload.pairs.get(peer, workload.ours)


def limit_for(workload, peer):
    return workload.limits.get(peer, workload.limit)


def versus(results, workload, peer, other):
    ratio = results.ratio((workload.name, peer, workload.member), (workload.name, other, workload.member))
    return digits(ratio) if ratio is not None and peer != other else ""


def rows_of(results, workload):
    member = workload.member
    peers = [peer for peer in results.peers(workload.name) if results.median(workload.name, peer, member) is not None]
    peers.sort(key=lambda peer: results.median(workload.name, peer, member), reverse=member == "efficiency")
    for peer in peers:
        own = peer.startswith("crossfork:")
        name = f"**{title(peer)}**" if own else title(peer)
        ours = ours_for(workload, peer)
        compared = "" if own else versus(results, workload, peer, ours)
        if compared and ours != workload.ours:
            compared += f" ({ours[10:]})"
        yield [name, show(results.median(workload.name, peer, member), member),
               between(*results.spread(workload.name, peer, member), member),
               versus(results, workload, peer, limit_for(workload, peer)), compared]


def workload_table(results, workload):
    rows = list(rows_of(results, workload))
    if not rows:
        return "Not measured."
    head = [workload.name, "median", "quartiles", "to the limit", f"to crossfork, {workload.ours[10:]}"]
    return table(head, rows)


# ---- Targets, losses, peers, the machine ----

def verdict(results, target):
    """Returns the value as text, and whether it meets the target; None if it was not measured."""
    if target.of:
        value = results.ratio(target.value, target.of)
        words = digits(value) if value is not None else ""
        bound = f"{target.bound:,g}"
    else:
        value = results.median(*target.value)
        words = (in_unit(value) if target.unit else digits(value)) if value is not None else ""
        bound = in_unit(target.bound) if target.unit else f"{target.bound:g}"
    bound = ("at most " if target.at_most else "at least ") + bound
    if value is None:
        return bound, "not measured", None
    return bound, words, value <= target.bound if target.at_most else value >= target.bound


def targets_table(results):
    rows, counts = [], {True: 0, False: 0, None: 0}
    for target in TARGETS:
        bound, words, met = verdict(results, target)
        counts[met] += 1
        rows.append([target.title, bound, words, {True: "met", False: "**missed**", None: ""}[met]])
    summary = f"{counts[True]} met, {counts[False]} missed"
    if counts[None]:
        summary += f", {counts[None]} not measured"
    return f"{summary}.\n\n" + table(["", "aim", "measured", ""], rows)


def losses_table(results):
    """Lists where a peer other than a bare process does better than crossfork at the same work."""
    rows = []
    for workload in WORKLOADS:
        for peer in results.peers(workload.name):
            ours = ours_for(workload, peer)
            ratio = results.ratio((workload.name, peer, workload.member), (workload.name, ours, workload.member))
            if not peer.startswith(("bare:", "crossfork:")) and ratio is not None and is_better(workload, ratio):
                medians = [results.median(workload.name, one, workload.member) for one in (peer, ours)]
                rows.append([f"{workload.name}: {title(peer)}", *(show(value, workload.member) for value in medians),
                             digits(ratio)])
    return table(["", "the peer", "crossfork", "ratio"], rows) if rows else "Nowhere in this run."


def peers_table(machine):
    names = [workload.name for workload in WORKLOADS if any(workload.name in peer.sizes for peer in PEERS)]
    rows = []
    for peer in PEERS:
        done = ["x" if name in peer.sizes else "" for name in names]
        missing, failure = machine["missing"].get(peer.name), machine["failures"].get(peer.name)
        state = f"left out: {missing}" if missing else machine["versions"][peer.name]
        rows.append([peer.title, *done, f"{state}; failed in {failure}" if failure else state])
    return table(["", *names, "version"], rows)


def machine_text(machine):
    lines = [f"- {machine['cpu']}, {machine['cores']} cores, {machine['memory']}, {machine['virtual']}",
             f"- {machine['system']}, Linux {machine['kernel']}, {machine['compiler']}",
             f"- {machine['date']}, {machine['commit']}; a load of {machine['load']} when it began",
             f"- rounds of the tables: {machine['rounds']}; it took {machine['minutes']} minutes"]
    if "xf_bench" in machine["failures"]:
        lines.append(f"- **crossfork's own program failed in {machine['failures']['xf_bench']}**")
    if machine["smoke"]:
        lines.append("- **tiny sizes, to try the script: none of these numbers means anything**")
    return "\n".join(lines)


def plots_text(curves):
    return "\n\n".join(f"![{alternative}](benchmarks/{name}.svg)" for name, alternative in curves)


# ---- The short form ----

OTHERS = ["openmpi", "boost", "zeromq", "nng", "perl", "node"]

SHORT = [("a process started and joined", "w1"), ("a map of 1,000,000 squares, an item", "w2"),
         ("the same in chunks of one", "w2c1"), ("a task there and back", "w3"), ("16 MiB in, 16 MiB out", "w4"),
         ("uneven tasks, efficiency", "w5"), ("a queue, 64 bytes", "w6"),
         ("a pool opened and closed", "w8")]


def best(results, workload, kinds):
    """Returns value and name of the best peer of those kinds that does the same work as crossfork's main variant."""
    found = [(results.median(workload.name, peer, workload.member), peer) for peer in results.peers(workload.name)
             if peer.split(":")[0] in kinds and ours_for(workload, peer) == workload.ours]
    found = [pair for pair in found if pair[0] is not None]
    if not found:
        return None
    return (max if workload.member == "efficiency" else min)(found)


def short_table(results):
    rows = []
    for what, name in SHORT:
        workload = BY_NAME[name]
        ours = results.median(name, workload.ours, workload.member)
        limit = results.median(name, workload.limit, workload.member)
        others = [best(results, workload, kinds) for kinds in (["python"], OTHERS)]
        rows.append([what] + [show(value, workload.member) if value is not None else "" for value in (ours, limit)] +
                    [f"{show(pair[0], workload.member)}, {short_title(pair[1])}" if pair else "" for pair in others])
    return table(["", "crossfork", "bare system calls", "Python's best", "best of the others"], rows)


def short_title(peer):
    return TITLES[peer].removeprefix("Python ")


# ---- Writing ----

def blocks(results, machine, curves):
    made = {workload.name: workload_table(results, workload) for workload in WORKLOADS}
    made.update(machine=machine_text(machine), targets=targets_table(results), losses=losses_table(results),
                peers=peers_table(machine), plots=plots_text(curves), short=short_table(results))
    return made


def replace_blocks(text, made, page):
    """Replaces the blocks.  Every mark has to be known, and every block has to end."""
    def block(match):
        if match[1] not in made:
            raise SystemExit(f"compare: {page}: there is no block {match[1]}")
        return f"<!-- compare: {match[1]} -->\n{made[match[1]]}\n<!-- compare -->"

    if text.count("<!-- compare: ") != text.count("<!-- compare -->"):
        raise SystemExit(f"compare: {page}: a block does not end")
    return re.sub(r"<!-- compare: (\w+) -->\n.*?<!-- compare -->", block, text, flags=re.DOTALL)


def write(source, target, made):
    target.write_text(replace_blocks(source.read_text(encoding="utf-8"), made, source.name), encoding="utf-8")
