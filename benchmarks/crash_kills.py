"""Runs that are killed at random instants and resumed until their end."""

import itertools
import json
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pandas as pd
from crash_cases import refer
from killing import HANGS, Process, generations, names, unfinished, wait_for_change
from pytablewriter import MarkdownTableWriter
from same_run import differences

COLUMNS = [
    *("commit", "algo", "env", "n_envs", "seed", "chain", "kill"),
    *("instant", "checkpoint", "during_checkpoint", "verdict"),
]
MOST_KILLS = 6  # of one chain
MOST_CHANGES = 6  # names below `checkpoints/` that come or go before a kill that waits for them
DELAY = 0.001  # seconds at most between such a change and the kill


def kill_once(process, random, left, checkpoints):
    """Kills a process somewhere; the instant, or `None` if it ended before."""
    instant = random.uniform(0, left)
    aimed = random.random() < 0.5
    changes, delay = random.randint(1, MOST_CHANGES), random.uniform(0, DELAY)
    while process.running and process.seconds < instant:
        time.sleep(min(0.005, max(instant - process.seconds, 0)))
    if aimed:
        wait_for_change(process, checkpoints, changes)
        time.sleep(delay)
    seconds = process.seconds
    return seconds if process.kill() else None


def verdict_of(process, folder, reference):
    """`same`, or in a few words what is wrong with a run's end; and all there is to say."""
    status = process.end()
    if status:
        return (status if status == HANGS else f"exit {status}"), process.stderr()
    manifest = json.loads((folder / "manifest.json").read_text())
    if manifest["status"] != "done":
        return f"manifest: {manifest['status']}", ""
    # `episode` would be a bug: these environments have no hidden state.
    how = {entry["resumed"] for entry in manifest.get("resumes", [])}
    if how - {"exact"}:
        return f"resumed: {', '.join(sorted(how))}", process.stderr()
    if left := unfinished(folder) | names(folder / "checkpoints"):
        return "checkpoints left behind", str(sorted(left))
    found = differences(reference.folder, folder)
    return f"differs: {found[0]}" if found else "same", "\n".join(found)


def chain(binary, case, seed, number, reference, out, most=MOST_KILLS):
    """Kills and resumes one run to its end; a row per kill, and all that is to be said of it."""
    random = Random(f"{case.name} {seed} {number}")
    folder = case.folder(out, seed)
    checkpoints = folder / "checkpoints"
    wanted, rows = random.randint(1, most), []
    command = [*case.command(binary, out, seed), "--resume"]
    while True:
        before = unfinished(checkpoints)
        steps = generations(checkpoints)
        process = Process(command)
        left = reference.left(steps[-1] if steps else 0)
        instant = None
        if len(rows) < wanted:
            instant = kill_once(process, random, left, checkpoints)
        if instant is None:
            break
        steps = generations(checkpoints)
        rows.append(
            {
                "kill": len(rows),
                "instant": f"{instant:.3f}",
                "checkpoint": steps[-1] if steps else "",
                "during_checkpoint": "yes" if unfinished(checkpoints) - before else "no",
            }
        )
    verdict, words = verdict_of(process, folder, reference)
    about = {"commit": reference.commit, "algo": case.algo, "env": case.env, "n_envs": case.n_envs}
    about |= {"seed": seed, "chain": number}
    return [{**about, **row, "verdict": verdict} for row in rows], verdict, words


def shares(kills, cases, random):
    """How many kills each case gets; where there are fewer kills than cases, some get none."""
    chosen = list(cases)
    random.shuffle(chosen)
    each, more = divmod(kills, len(chosen))
    return [(case, each + (i < more)) for i, case in enumerate(chosen) if each + (i < more)]


def campaign(binary, work, kills, cases, seed=0, jobs=1, ledger=None, say=print):
    """Kills `kills` times in all; the rows, and what is wrong by chain."""
    rows, wrong = [], []

    def one(task):
        case, share = task
        out = Path(tempfile.mkdtemp(dir=work))
        reference = refer(binary, case, seed, out / "reference")
        killed = 0
        for number in itertools.count():
            here = out / str(number)
            most = min(MOST_KILLS, share - killed)
            added, verdict, words = chain(binary, case, seed, number, reference, here, most)
            killed += len(added)
            rows.extend(added)
            if ledger:
                ledger.add(added)
            say(f"{case.name}, chain {number}: {len(added)} kills, {verdict}", flush=True)
            if verdict != "same":
                wrong.append(f"{case.name}, chain {number} ({here}): {verdict}\n{words}")
                say(wrong[-1], flush=True)
                return
            shutil.rmtree(here)
            if killed >= share:
                break
        shutil.rmtree(out)

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, shares(kills, cases, Random(seed))))
    return rows, wrong


def table(rows):
    """Kills and verdicts by case, and in all."""
    rows = pd.DataFrame(rows)
    if rows.empty:
        return "no kills yet"
    counted = pd.DataFrame(
        {
            "algorithm": rows["algo"],
            "environment": rows["env"],
            "environments": rows["n_envs"].astype(str),
            "runs": rows["commit"] + rows["seed"].astype(str) + " " + rows["chain"].astype(str),
            "first": rows["checkpoint"].astype(str) == "",
            "during": rows["during_checkpoint"] == "yes",
            "same": rows["verdict"] == "same",
        }
    )

    def line(group, name):
        case = dict(zip(("algorithm", "environment", "environments"), name, strict=True))
        keys = ["algorithm", "environment", "environments", "runs"]
        return case | {
            "runs": len(group.drop_duplicates(keys)),
            "kills": len(group),
            "while a checkpoint was written": int(group["during"].sum()),
            "before the first": int(group["first"].sum()),
            "ended the same": int(group["same"].sum()),
            "not": int((~group["same"]).sum()),
        }

    keys = ["algorithm", "environment", "environments"]
    lines = [line(group, name) for name, group in counted.groupby(keys)]
    lines.append(line(counted, ("all", "", "")))
    return MarkdownTableWriter(dataframe=pd.DataFrame(lines), margin=1).dumps().strip()
