"""A SLURM cluster of two nodes on this machine, for tests: nothing is left behind."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

COMMANDS = ["munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol"]
# SLURM holds a requeued job until its credential has expired: two minutes, unless it is told.
CONF = """
ClusterName=stac-bench
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
SlurmdTimeout=10
KillWait=3
MinJobAge=5
JobRequeue=1
NodeName=n0 NodeHostname={host} NodeAddr=127.0.0.1 Port={first} CPUs=1 State=UNKNOWN
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={second} CPUs=1 State=UNKNOWN
PartitionName=main Nodes=n0,n1 Default=YES MaxTime=INFINITE State=UP
"""


def missing():
    """What is not there to start one."""
    lacking = [name for name in COMMANDS if shutil.which(name) is None]
    return [*lacking, *([] if os.geteuid() == 0 else ["root"])]


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def descendants(pid):
    """The processes that a process started, and those that they started."""
    children = Path(f"/proc/{pid}/task").glob("*/children")
    pids = [int(child) for file in children for child in file.read_text().split()]
    return [*pids, *(below for child in pids for below in descendants(child))]


class Cluster:
    """Two nodes of one core each, in `folder`."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.conf = self.folder / "slurm.conf"
        self.variables = {"SLURM_CONF": str(self.conf)}
        self.processes = {}

    def start(self):
        (self.folder / "state").mkdir()
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        host = socket.gethostname().split(".")[0]
        port, first, second = free_ports(3)
        text = CONF.format(folder=self.folder, host=host, port=port, first=first, second=second)
        self.conf.write_text(text)
        files = {"key": key, "socket": "munge.socket", "pid": "munge.pid", "log": "munge.log"}
        words = [
            f"--{name}{'' if name == 'socket' else '-file'}={self.folder / file}"
            for name, file in {**files, "seed": "munge.seed"}.items()
        ]
        self.run("munged", "munged", "--foreground", "--force", *words)
        self.wait(lambda: (self.folder / "munge.socket").exists(), "munge")
        self.run("slurmctld", "slurmctld", "-D", "-f", self.conf)
        for node in ("n0", "n1"):
            self.start_node(node)
        self.wait(lambda: self.nodes() == {"n0": "idle", "n1": "idle"}, "both nodes")

    def start_node(self, node):
        (self.folder / node).mkdir(exist_ok=True)
        self.run(node, "slurmd", "-D", "-N", node, "-f", self.conf)

    def run(self, name, *words):
        log = (self.folder / f"{name}.out").open("ab")
        self.processes[name] = subprocess.Popen(
            list(map(str, words)), stdout=log, stderr=log, env={**os.environ, **self.variables}
        )

    def ask(self, *words):
        """What a command of SLURM prints."""
        return subprocess.run(
            list(map(str, words)),
            env={**os.environ, **self.variables},
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    def nodes(self):
        """The state of each node."""
        said = subprocess.run(
            ["sinfo", "--noheader", "--Node", "--format=%N %t"],
            env={**os.environ, **self.variables},
            capture_output=True,
            text=True,
        ).stdout
        return dict(line.split() for line in said.splitlines())

    def queue(self):
        """`task state node` of each task that has not ended."""
        return self.ask("squeue", "--noheader", "--array", "--format=%K %T %N").splitlines()

    def wait(self, there, what, seconds=60):
        ends = time.monotonic() + seconds
        while not there():
            assert time.monotonic() < ends, f"{what}: not after {seconds} s\n{self.logs()}"
            time.sleep(0.2)

    def logs(self):
        files = [*self.folder.glob("*.log"), *self.folder.glob("*.out")]
        return "\n".join(f"{file.name}:\n{file.read_text()[-2000:]}" for file in files)

    def kill_node(self, node):
        """As if the machine had lost power: the node's daemon and all that it started."""
        daemon = self.processes[node]
        for pid in [daemon.pid, *descendants(daemon.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        daemon.wait()

    def stop(self):
        if (self.folder / "slurmctld.pid").exists():
            subprocess.run(
                ["scancel", "--user=root"],
                env={**os.environ, **self.variables},
                capture_output=True,
                timeout=20,
            )
            time.sleep(1)
        for name in ("n0", "n1", "slurmctld", "munged"):
            process = self.processes.get(name)
            if process and process.poll() is None:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
