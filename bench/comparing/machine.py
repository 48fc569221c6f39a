"""The description of a run: the machine and the versions."""
import json
import os
import platform
import subprocess
import time

from install import PLACES, ROOT, version


def output(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    except OSError:
        return ""
    return done.stdout.strip()


def field(path, name):
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            key, _, value = line.replace("=", ":", 1).partition(":")
            if key.strip() == name:
                return value.strip().strip('"')
    return "unknown"


def version_of(peer):
    if peer.npm:
        with open(PLACES["node"] / "node_modules" / peer.npm / "package.json", encoding="utf-8") as package:
            return f"{json.load(package)['version']}, Node {output('node', '--version').removeprefix('v')}"
    return ", ".join(f"{package} {version(package).split('-')[0]}" for package in peer.packages)


def describe(ready, missing, smoke):
    virtual = "hypervisor" in field("/proc/cpuinfo", "flags").split()
    return {
        "cpu": field("/proc/cpuinfo", "model name"), "cores": os.cpu_count(),
        "memory": f"{int(field('/proc/meminfo', 'MemTotal').split()[0]) / 2**20:.0f} GiB",
        "virtual": "a virtual machine" if virtual else "not virtual",
        "system": field("/etc/os-release", "PRETTY_NAME"), "kernel": platform.release(),
        "compiler": output("cc", "--version").splitlines()[0], "date": time.strftime("%Y-%m-%d"),
        "commit": f"commit {output('git', 'rev-parse', '--short', 'HEAD')}", "load": f"{os.getloadavg()[0]:.1f}",
        "missing": missing, "versions": {peer.name: version_of(peer) for peer in ready}, "smoke": smoke,
    }
