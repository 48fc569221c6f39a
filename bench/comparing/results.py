"""Medians, spreads and ratios of the lines that a comparison kept.  A ratio is the median of the rounds' own."""
import statistics


def quartiles(values):
    if len(values) < 2:
        return values[0], values[0]
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return first, third


class Results:
    def __init__(self, lines):
        self.rounds = {}  # (workload, peer): {round: line}
        self.curves = {}  # curve: {peer: {point: [nanoseconds]}}
        for line in lines:
            if "curve" in line:
                points = self.curves.setdefault(line["curve"], {}).setdefault(line["peer"], {})
                points.setdefault(line["point"], []).append(line["per_item_ns"])
            else:
                self.rounds.setdefault((line["workload"], line["peer"]), {})[line["round"]] = line

    def peers(self, workload):
        return [peer for name, peer in self.rounds if name == workload]

    def values(self, workload, peer, member):
        lines = self.rounds.get((workload, peer), {}).values()
        return [line[member] for line in lines if member in line]

    def median(self, workload, peer, member):
        values = self.values(workload, peer, member)
        return statistics.median(values) if values else None

    def spread(self, workload, peer, member):
        return quartiles(self.values(workload, peer, member))

    def ratio(self, over, under):
        """Returns the ratio of two (workload, peer, member); None if no round has both."""
        one, other = self.rounds.get(over[:2], {}), self.rounds.get(under[:2], {})
        ratios = [one[at][over[2]] / other[at][under[2]] for at in one
                  if at in other and one[at].get(over[2]) is not None and other[at].get(under[2])]
        return statistics.median(ratios) if ratios else None

    def curve(self, name):
        """{peer: [(point, median nanoseconds)]}"""
        return {peer: sorted((point, statistics.median(values)) for point, values in points.items())
                for peer, points in self.curves.get(name, {}).items()}
