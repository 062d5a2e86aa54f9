"""Trains runs of a grid as tasks of a Ray cluster.

A task whose node is lost runs again on another, and its run goes on from its checkpoint. Standard
input has, as JSON: `address` of the cluster, or null; `cwd` and `variables` of a run; `threads` of
a run; how many `jobs` at a time, or null; and the `runs`, each with its `name` and its `command`.
"""

import json
import os
import signal
import socket
import subprocess
import sys


def train(command, cwd, variables):
    """Trains one run; returns its exit status and what it printed."""
    process = subprocess.Popen(
        [*command, "--parent", str(os.getpid())],
        cwd=cwd,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    while True:
        try:
            # In pieces, since a task that is cancelled hears of it only between two calls.
            said, _ = process.communicate(timeout=0.5)
            return process.returncode, said
        except subprocess.TimeoutExpired:
            pass
        except KeyboardInterrupt:
            process.terminate()


def reach(address):
    """An error if nobody answers there: Ray would wait for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


def main():
    plan = json.load(sys.stdin)
    parent = os.getppid()
    try:
        import ray
    except ModuleNotFoundError:
        sys.exit("it is not installed: pip install 'stac-bench[ray]'")
    address = plan["address"] or os.environ.get("RAY_ADDRESS")
    try:
        reach(address or "")
        ray.init(plan["address"], log_to_driver=False, logging_level="ERROR")
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        sys.exit(f"no cluster at {address or 'this machine'}: {lines[0]}")
    most = max(node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"])
    if most < plan["threads"]:
        sys.exit(f"a run has {plan['threads']} threads, and no node has more than {most:g} cores")
    task = ray.remote(num_cpus=plan["threads"], max_retries=-1)(train)
    runs = list(reversed(plan["runs"]))
    jobs = plan["jobs"] or len(runs)
    begun = {}
    status = 0

    def end(number, _):
        nonlocal status
        status = 128 + number

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    while not status and os.getppid() == parent and (runs or begun):
        while runs and len(begun) < jobs:
            run = runs.pop()
            begun[task.remote(run["command"], plan["cwd"], plan["variables"])] = run["name"]
        for ended in ray.wait(list(begun), timeout=0.5)[0]:
            name = begun.pop(ended)
            try:
                left, said = ray.get(ended)
            except ray.exceptions.RayError as error:
                left, said = 1, str(error)
            last = said.strip().splitlines()[-1:] if left else ["done"]
            print(f"{name}: {' '.join(last)}", flush=True)
    for one in begun:
        ray.cancel(one)
    if begun:
        # They write their checkpoints.
        ray.wait(list(begun), num_returns=len(begun), timeout=60)
    ray.shutdown()
    return status


if __name__ == "__main__":
    sys.exit(main())
