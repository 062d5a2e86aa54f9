"""Files that others give us, made by hand and by chance: models, settings, grids, run folders,
checkpoints and Stable-Baselines3's zips."""

import io
import json
import os
import shutil
import zipfile
from pathlib import Path
from random import Random

import numpy as np
import torch as th
import xxhash
import yaml
from doors_try import Try
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

HUGE = [10**9, 2**63, 2**64, -1, 1e300, [16_384] * 100, [10**9], "9" * 400]
ODD = [None, True, "", "x", [], {}, [[]], float("nan"), float("inf"), *HUGE]
#: What decides nothing about a model's actions.
BENIGN = {"seed", "steps"}


def model_of(run):
    return run / "best_model" / "model.safetensors"


def card_of(path):
    with safe_open(path, "numpy") as file:
        return json.loads(file.metadata()["stac_bench"])


def write_model(path, tensors, card):
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, {"stac_bench": json.dumps(card)})


def harmed(content, random):
    """The bytes with some of them changed, cut off, doubled or moved; and a word for it."""
    content, how = bytearray(content), random.choice(["flip", "cut", "noise", "double", "zero"])
    at = (
        random.randrange(len(content))
        if random.random() < 0.5
        else random.randrange(min(400, len(content)))
    )
    if how == "flip":
        content[at] ^= 1 << random.randrange(8)
    elif how == "cut":
        del content[at:]
    elif how == "noise":
        content[at : at + 16] = random.randbytes(16)
    elif how == "double":
        content[at:at] = content[at : at + 64]
    else:
        content[at : at + 64] = bytes(64)
    return bytes(content), f"{how} at {at}"


def forged(settings, random):
    """A card's or a file's settings with one of them odd; and a word for it."""
    settings = json.loads(json.dumps(settings))
    place, names = settings, []
    while True:
        name = random.choice([*place, "unknown"])
        names.append(name)
        inner = place.get(name)
        if not (isinstance(inner, dict) and inner) or random.random() < 0.2:
            break
        place = inner
    place[names[-1]] = random.choice(ODD)
    return settings, f"{'.'.join(names)}={str(place[names[-1]])[:40]}"


class Doors:
    """Tries at all doors, from a good run of the program `binary` and a good zip."""

    def __init__(self, binary: Path, run: Path, archive: Path, python: Path) -> None:
        self.binary, self.run, self.archive, self.python = str(binary), run, archive, python
        self.model, self.card = load_file(model_of(run)), card_of(model_of(run))
        self.steps = yaml.safe_load((run / "config.yml").read_text())["n_timesteps"]
        checkpoints = run / "checkpoints"
        steps = [path for path in checkpoints.iterdir() if path.name.isdigit()]
        self.generation = max(steps, key=lambda path: int(path.name))
        self.kinds = [
            self.model_file,
            self.model_card,
            self.model_numbers,
            self.settings,
            self.grid,
            self.run_folder,
            self.checkpoint,
            self.manifest,
            self.zip,
        ]

    def make(self, number: int, folder: Path, seed: int) -> Try:
        """The try of that number, whose files are put into `folder`."""
        random = Random(f"{seed} {number}")
        return self.kinds[number % len(self.kinds)](folder, random)

    def evaluate(self, kind, what, folder, path, check, right=(0, 1, 2)):
        words = [self.binary, "eval", str(path), "--episodes", "1", "--max-steps", "50"]
        return Try(kind, what, words, right, check=check)

    # -- models --

    def model_file(self, folder, random):
        content, what = harmed(model_of(self.run).read_bytes(), random)
        path = model_of(folder)
        path.parent.mkdir()
        path.write_bytes(content)

        def check(said):
            """safetensors has no checksum: what it can read and is finite is another model."""
            try:
                tensors, card = load_file(path), card_of(path)
            except (SafetensorError, KeyError, ValueError) as error:
                return f"evaluated, but safetensors says {error}"
            if {k: v.shape for k, v in tensors.items()} != {
                k: v.shape for k, v in self.model.items()
            }:
                return "evaluated with tensors of other names or shapes"
            if not all(np.isfinite(v).all() for v in tensors.values()):
                return "evaluated with numbers that are not finite"
            return self.same_card(card)

        return self.evaluate("model", what, folder, folder, check)

    def model_card(self, folder, random):
        card, what = forged(self.card, random)
        write_model(model_of(folder), self.model, card)
        return self.evaluate("card", what, folder, folder, lambda said: self.same_card(card))

    def same_card(self, card):
        """What of the card may differ where a model is evaluated: nothing that decides actions."""
        for name, value in self.card.items():
            if name not in BENIGN and name != "settings" and card.get(name) != value:
                return f"evaluated although its card says {name}={card.get(name)}"
        ours, theirs = self.card["settings"]["policy_kwargs"], card["settings"].get("policy_kwargs")
        if theirs is not None and theirs.get("net_arch", ours["net_arch"]) != ours["net_arch"]:
            return "evaluated with other networks than the file's"
        return None

    def model_numbers(self, folder, random):
        tensors = {name: values.copy() for name, values in self.model.items()}
        name = random.choice(sorted(tensors))
        value = random.choice([np.nan, np.inf, -np.inf, "shape", "missing", "more", "double"])
        if value == "shape":
            tensors[name] = tensors[name].ravel()[:-1]
        elif value == "missing":
            del tensors[name]
        elif value == "more":
            tensors["actor.more"] = np.zeros(3, np.float32)
        elif value == "double":
            tensors[name] = tensors[name].astype(np.float64)
        else:
            tensors[name].flat[random.randrange(tensors[name].size)] = value
        write_model(model_of(folder), tensors, self.card)
        wrong = lambda said: "evaluated"  # noqa: E731
        return self.evaluate("numbers", f"{name} {value}", folder, folder, wrong, (1, 2))

    # -- what people write --

    def text(self, path, good, random):
        """Writes a text that is odd in some way; a word for it."""
        how = random.choice(
            ["odd", "odd", "harmed", "bytes", "deep", "alias", "long", "pipe", "device"]
        )
        if how == "odd":
            values, what = forged(good, random)
            path.write_text(json.dumps(values))
            return what
        if how == "harmed":
            content, what = harmed(json.dumps(good, indent=1).encode(), random)
            path.write_bytes(content)
            return what
        if how == "bytes":
            path.write_bytes(random.randbytes(random.randrange(2_000)))
        elif how == "deep":
            path.write_text("a: " + random.choice("[{") * random.choice([60, 10_000, 200_000]))
        elif how == "alias":
            lines = ["a0: &a0 " + "x" * random.choice([10, 100_000])]
            lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
            path.write_text("\n".join(lines))
        elif how == "long":
            path.write_text("x" * random.choice([1_000_001, 50_000_000]))
        elif how == "pipe":
            os.mkfifo(path)
        else:
            path.symlink_to(random.choice(["/dev/zero", "/dev/urandom", "/", "nowhere"]))
        return how

    def settings(self, folder, random):
        what = self.text(folder / "settings.yml", {"default": self.card["settings"]}, random)
        words = ["--algo", self.card["algo"], "--env", "Pendulum-v1", "--config", "settings.yml"]
        words += ["--steps", "30", "--eval-freq", "30", "--eval-episodes", "1", "--quiet"]
        return Try("settings", what, [self.binary, *words])

    def grid(self, folder, random):
        run = {"algo": "ddpg", "set": {"gamma": 0.9}, "preset": "paper"}
        good = {"name": "g", "about": "a", "envs": ["Pendulum-v1"], "seeds": 2, "steps": 100}
        good |= {"options": ["--threads", "1"], "runs": {"a": run, "b": {"algo": "sac"}}}
        what = self.text(folder / "grid.yml", good, random)
        return Try("grid", what, [self.binary, "sweep", "grid.yml", "--dry-run"])

    def run_folder(self, folder, random):
        run = folder / "run"
        shutil.copytree(self.run, run)
        name = random.choice(["config.yml", "args.yml", "manifest.json"])
        content, what = harmed((run / name).read_bytes(), random)
        if random.random() < 0.2:
            (run / name).unlink()
            what = self.text(run / name, {"algo": "ddpg", "env": "payload:Pendulum-v1"}, random)
        else:
            (run / name).write_bytes(content)
        models = [run / name / "model.safetensors" for name in ("best_model", "final_model")]
        before = [path.read_bytes() for path in models]

        def check(said):
            """Done, or gone on from a checkpoint where `manifest.json` cannot tell."""
            if [path.read_bytes() for path in models] == before:
                return None
            # A file that people write has no checksum: a digit more is more steps.
            steps = yaml.safe_load((run / "config.yml").read_text())["n_timesteps"]
            return None if steps != self.steps else "other models"

        return Try("run", f"{name} {what}", [self.binary, "resume", str(run)], check=check)

    # -- checkpoints --

    def checkpoint(self, folder, random):
        there = folder / self.generation.name
        shutil.copytree(self.generation, there)
        path = random.choice(sorted(there.iterdir()))
        how = random.choice(["harmed", "harmed", "gone", "pipe", "device", "folder"])
        if how == "harmed":
            content, how = harmed(path.read_bytes(), random)
            same = content == path.read_bytes()
            path.write_bytes(content)
        else:
            same = False
            path.unlink()
            if how == "pipe":
                os.mkfifo(path)
            elif how == "device":
                path.symlink_to("/dev/zero")
            elif how == "folder":
                path.mkdir()
        what = f"{path.name} {how}"
        right = (0,) if same else (1, 2)
        return self.evaluate("checkpoint", what, folder, there, lambda said: None, right)

    def manifest(self, folder, random):
        """A manifest that says something else, with a hash that is right."""
        there = folder / self.generation.name
        shutil.copytree(self.generation, there)
        path = there / "MANIFEST"
        manifest = json.loads(path.read_text().rpartition("}")[0] + "}")
        if random.random() < 0.5:
            manifest["about"]["card"], what = forged(manifest["about"]["card"], random)
        else:
            manifest, what = forged(manifest, random)
        text = json.dumps(manifest)
        path.write_text(f"{text}\n{xxhash.xxh3_64_hexdigest(text.encode())}\n")
        check = lambda said: self.same_card(manifest["about"]["card"])  # noqa: E731
        return self.evaluate("manifest", what, folder, there, check)

    # -- zips --

    def zip(self, folder, random):
        path = folder / "model.zip"
        with zipfile.ZipFile(self.archive) as file:
            members = {name: file.read(name) for name in file.namelist()}
        how = random.choice(["harmed", "gone", "shape", "nan", "net_arch"])
        name = random.choice(sorted(members))
        bad = False
        if how == "harmed":
            content, how = harmed(self.archive.read_bytes(), random)
            path.write_bytes(content)
        else:
            if how == "gone":
                del members[name]
            elif how == "net_arch":
                data = json.loads(members["data"])
                data["policy_kwargs"] = {"net_arch": [16_384] * random.choice([3, 100])}
                members["data"], bad = json.dumps(data).encode(), True
            else:
                state = th.load(io.BytesIO(members["policy.pth"]), weights_only=True)
                key = random.choice(sorted(state))
                if how == "shape":
                    state[key] = state[key].flatten()[:-1].clone()
                else:
                    state[key].view(-1)[0] = random.choice([float("nan"), float("inf")])
                out = io.BytesIO()
                th.save(state, out)
                members["policy.pth"], bad = out.getvalue(), True
            with zipfile.ZipFile(path, "w") as file:
                for member, content in members.items():
                    file.writestr(member, content)
        words = [str(self.python), "-P", "-c", LOADS, str(path)]
        return Try("zip", f"{name} {how}", words, (1,) if bad else (0, 1), check=finite)


#: Loads a zip, acts with it and trains; an exception is an answer, an end by a signal is not.
LOADS = """
import sys, warnings
warnings.simplefilter("ignore")
import gymnasium as gym
import numpy as np
import stac_bench
model = stac_bench.DDPG.load(sys.argv[1], env=gym.make("Pendulum-v1"))
print("action", model.predict(np.zeros(3, np.float32), deterministic=True)[0])
model.learn(150)
print("learnt", all(bool(p.isfinite().all()) for p in model.policy.state_dict().values()))
"""


def finite(said):
    """What is wrong with what `LOADS` printed."""
    return None if "learnt True" in said and "nan" not in said else "numbers that are not finite"
