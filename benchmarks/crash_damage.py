"""Checkpoints whose files are changed: a byte flipped, or what comes after it cut off."""

import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pandas as pd
from crash_cases import refer
from killing import HANGS, Process, generations, wait_until
from pytablewriter import MarkdownTableWriter
from same_run import differences

COLUMNS = ["commit", "algo", "env", "n_envs", "seed", "file", "offset", "how", "verdict"]
#: Which verdicts are right for a file of the newest generation, and for a segment that both share.
OLDER, REFUSED, UNUSED = "older taken", "refused", "not read, same"
RIGHT = {"generation": {OLDER}, "replay": {OLDER, REFUSED, UNUSED}}
STEPS = 600
WORDS = ["--steps", STEPS, "--checkpoint-freq", 100, "--eval-freq", 200]
PATIENCE = 60  # seconds: a run takes three


def killed_run(binary, case, out, seed):
    """The folder of a run with two whole checkpoints at least, killed in its second half."""
    folder = case.folder(out, seed)
    for _ in range(10):
        process = Process([*case.command(binary, out, seed), *WORDS, "--overwrite"])

        def late(checkpoints=folder / "checkpoints"):
            return (generations(checkpoints) or [0])[-1] > STEPS / 2

        wait_until(process, late, "a late checkpoint")
        if process.kill() and len(generations(folder / "checkpoints")) >= 2:
            return folder
    raise RuntimeError(f"{case.name}: no run was killed between two checkpoints and its end")


def parts(folder):
    """`(file, kind)` of what the newest checkpoint needs, relative to the run's folder."""
    checkpoints = folder / "checkpoints"
    newest = checkpoints / str(generations(checkpoints)[-1])
    for kind, place in (("generation", newest), ("replay", checkpoints / "replay")):
        for path in sorted(place.rglob("*")):
            if path.is_file() and path.stat().st_size:
                yield path.relative_to(folder), kind


def damage(path, offset, how, bit=0):
    """Changes one file: flips a bit of the byte at `offset`, or cuts the file there."""
    content = bytearray(path.read_bytes())
    if how == "cut":
        del content[offset:]
    else:
        content[offset] ^= 1 << bit
    path.write_bytes(content)


def verdict_of(status, stderr, name, folder, reference):
    """What a resumed run made of its damaged file, in a few words; and all there is to say."""
    named = name in stderr
    if status == 0:
        if found := differences(reference.folder, folder):
            return f"differs: {found[0]}", "\n".join(found)
        return (OLDER if named else UNUSED), stderr
    if status == 1 and named and "panicked" not in stderr:
        return REFUSED, stderr
    return (status if status == HANGS else f"exit {status}"), stderr


def try_one(binary, case, seed, prepared, reference, work, choice):
    """Damages a copy of the prepared run and resumes it; a row, what it was and all there is."""
    file, kind, offset, how, bit = choice
    out = Path(tempfile.mkdtemp(dir=work))
    folder = case.folder(out, seed)
    shutil.copytree(prepared, folder)
    damage(folder / file, offset, how, bit)
    process = Process([*case.command(binary, out, seed), *WORDS, "--resume"])
    status = process.end(PATIENCE)
    verdict, words = verdict_of(status, process.stderr(), file.name, folder, reference)
    shutil.rmtree(out)
    row = {"commit": reference.commit, "algo": case.algo, "env": case.env, "n_envs": case.n_envs}
    row |= {"seed": seed, "file": file, "offset": offset, "how": how, "verdict": verdict}
    return row, verdict in RIGHT[kind], words


def choices(folder, number, random):
    """Where to damage: each file in turn, at its first and last byte and anywhere between."""
    files = list(parts(folder))
    for i in range(number):
        file, kind = files[i % len(files)]
        size = (folder / file).stat().st_size
        offset = random.choice([0, size - 1, *(random.randrange(size) for _ in range(6))])
        yield file, kind, offset, random.choice(["flipped", "flipped", "cut"]), random.randrange(8)


def damages(binary, work, number, case, seed, jobs=1, ledger=None):
    """Tries so many of one case; the rows, and what is wrong."""
    out = Path(tempfile.mkdtemp(dir=work))
    prepared = killed_run(binary, case, out / "killed", seed)
    reference = refer(binary, case, seed, out / "reference", WORDS)
    rows, wrong = [], []

    def one(choice):
        row, right, words = try_one(binary, case, seed, prepared, reference, out, choice)
        rows.append(row)
        if ledger:
            ledger.add([row])
        if not right:
            what = " ".join(str(part) for part in choice)
            wrong.append(f"{case.name}, {what}: {row['verdict']}\n{words}")

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, list(choices(prepared, number, Random(f"{case.name} {seed}")))))
    shutil.rmtree(out)
    return rows, wrong


def campaign(binary, work, number, cases, seed, jobs, ledger):
    """Tries so many in all, spread over the cases; returns the exit status."""
    each, more = divmod(number, len(cases))
    rows, wrong = [], []
    for i, case in enumerate(cases):
        if share := each + (i < more):
            added, faults = damages(binary, work, share, case, seed, jobs, ledger)
            rows, wrong = rows + added, wrong + faults
            print(f"{case.name}: {len(added)} tried, {len(faults)} wrong", flush=True)
            print("".join(f"{fault}\n" for fault in faults), end="", flush=True)
    print(table(pd.DataFrame(rows)))
    return int(bool(wrong))


def table(rows):
    """How often each file was damaged, and what came of it."""
    part = rows["file"].astype(str).str.split("/").str[-1]
    part = part.where(~rows["file"].astype(str).str.contains("/replay/"), "a segment of replay")
    counts = pd.crosstab(part, rows["verdict"])
    counts.insert(0, "tried", counts.sum(axis=1))
    counts.loc["all"] = counts.sum()
    return MarkdownTableWriter(dataframe=counts.reset_index(), margin=1).dumps().strip()
