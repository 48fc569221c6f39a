"""The program of bench/compare, which says how to use it."""
import argparse
import json
import time
from pathlib import Path

import install
import machine as machines
import pages
import plots
from measure import Comparison, measure
from results import Results
from workloads import BY_NAME

ROUNDS, CURVE_ROUNDS, MINUTES = 5, 1, 10.5


def read_options():
    parser = argparse.ArgumentParser(prog="bench/compare")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md, its plots and README.md")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, one round, what is installed")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of the tables, at most")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="no round begins that would not end by then")
    parser.add_argument("--workloads", default=",".join(BY_NAME), help="for the tables, with commas between")
    parser.add_argument("--no-install", action="store_true", help="only the peers that are installed")
    parser.add_argument("--from", dest="source", type=Path, help="the lines of an earlier run")
    return parser.parse_args()


def run(options, path):
    """Measures, and writes to path the lines and then the description of the run."""
    print("== peers", flush=True)
    peers, missing = install.prepare(not options.no_install and not options.smoke)
    for name, reason in missing.items():
        print(f"   {name} is left out: {reason}")
    xf_bench = install.build_bench()
    machine = machines.describe(peers, missing, options.smoke)
    wanted = options.workloads.split(",")
    begin = time.monotonic()
    with open(path, "w", encoding="utf-8") as file:
        comparison = Comparison(xf_bench, peers, options.smoke, file)
        rounds, curves = (1, 1) if options.smoke else (options.rounds, CURVE_ROUNDS)
        machine["rounds"] = measure(comparison, wanted, rounds, curves, options.minutes)
        machine["minutes"] = round((time.monotonic() - begin) / 60, 1)
        machine["failures"] = comparison.failures
        file.write(json.dumps({"machine": machine}) + "\n")


def read(path):
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if "peer" in line], next(line["machine"] for line in lines if "machine" in line)


def write_pages(path, folder, readme):
    lines, machine = read(path)
    results = Results(lines)
    folder.mkdir(parents=True, exist_ok=True)
    curves = plots.plot(results, folder / "benchmarks")
    made = pages.blocks(results, machine, curves)
    pages.write(install.ROOT / "docs" / "benchmarks.md", folder / "benchmarks.md", made)
    pages.write(install.ROOT / "README.md", readme, made)
    print(f"== {folder / 'benchmarks.md'}")


def main():
    options = read_options()
    install.BUILD.mkdir(parents=True, exist_ok=True)
    path = options.source or install.BUILD / ("smoke.jsonl" if options.smoke else "lines.jsonl")
    if not options.source:
        run(options, path)
    if options.write:
        write_pages(path, install.ROOT / "docs", install.ROOT / "README.md")
    else:
        write_pages(path, install.BUILD, install.BUILD / "README.md")


if __name__ == "__main__":
    main()
