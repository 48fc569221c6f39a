"""Installs the peers: packages from Debian and npm, and compiled programs.  Only Debian's packages are global."""
import os
import shutil
import subprocess
from pathlib import Path

from peers import PEERS

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "compare"
PLACES = {"peers": ROOT / "bench" / "peers", "build": BUILD, "node": BUILD / "node"}


def quietly(command, **options):
    """Returns None, or the end of the command's output when it failed."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, errors="replace", check=False, **options)
    except OSError as error:
        return str(error)
    if done.returncode == 0:
        return None
    lines = done.stdout.strip().splitlines()
    return lines[-1] if lines else f"{command[0]} failed with {done.returncode}"


def version(package):
    done = subprocess.run(["dpkg-query", "-W", "-f", "${db:Status-Abbrev}${Version}", package],
                          capture_output=True, text=True, check=False)
    return done.stdout[3:].strip() if done.stdout.startswith("ii") else None


def install_packages(packages):
    lacking = [package for package in packages if not version(package)]
    if not lacking:
        return None
    as_root = [] if os.getuid() == 0 else ["sudo"]
    return quietly(as_root + ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-o", "DPkg::Lock::Timeout=600",
                              "install", "-y", "--no-install-recommends", *lacking])


def update_lists():
    quietly(([] if os.getuid() == 0 else ["sudo"]) + ["apt-get", "-q", "update"])


def place_node_peers():
    """The peers on Node run in a folder of their own, which has their packages."""
    PLACES["node"].mkdir(parents=True, exist_ok=True)
    for source in [*PLACES["peers"].glob("*.mjs"), PLACES["peers"] / "package.json"]:
        shutil.copy(source, PLACES["node"])


def install_npm():
    if not shutil.which("npm"):
        return "there is no npm"
    return quietly(["npm", "install", "--no-audit", "--no-fund"], cwd=PLACES["node"])


def fill(words, **more):
    return [word.format(**PLACES, **more) for word in words]


def missing_package(peer):
    return next((f"{package} is not installed" for package in peer.packages if not version(package)), None)


def missing_program(peer):
    if peer.npm and not (PLACES["node"] / "node_modules" / peer.npm).exists():
        return f"{peer.npm} is not installed"
    program = peer.run[0].format(**PLACES)
    return None if shutil.which(program) else f"there is no {peer.run[0]}"


def build(peer):
    return quietly(fill(peer.build)) if peer.build else None


def prepare(may_install):
    """Returns the peers that can run, and a dict with the reasons why the others cannot."""
    place_node_peers()
    npm_error = install_npm() if may_install else None
    if may_install and not all(version(package) for peer in PEERS for package in peer.packages):
        update_lists()
    ready, reasons = [], {}
    for peer in PEERS:
        reason = install_packages(peer.packages) if may_install else None
        if peer.npm:
            reason = reason or npm_error
        reason = reason or missing_package(peer) or build(peer) or missing_program(peer)
        if reason:
            reasons[peer.name] = reason
        else:
            ready.append(peer)
    return ready, reasons


def build_bench():
    for command in (["cmake", "--preset", "linux-release"],
                    ["cmake", "--build", "--preset", "linux-release", "--target", "xf_bench"]):
        error = quietly(command, cwd=ROOT)
        if error:
            raise SystemExit(f"compare: {' '.join(command)}: {error}")
    return ROOT / "build" / "linux-release" / "bench" / "xf_bench"
