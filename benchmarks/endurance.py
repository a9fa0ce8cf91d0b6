"""A build killed many times, in every stage, against one that was left alone: are the digests equal?

Builds a recipe twice: once undisturbed, and once killed with SIGKILL (the whole process group, workers included) at random
moments and started again. Moments are spread over the stages: a stage is given its share of the kills, each at a random
fraction of the time that it took undisturbed; kills that a stage does not live to see are added to the next one. Ends
with a line per kill and whether every artefact has the same content digest.

Example: python benchmarks/endurance.py --kills 40 --out endurance
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from stackwright.artifact import load_artifact
from stackwright.stages import STAGES, Stage

SETTINGS = ("train.steps=60", "train.warmup_steps=10", "train.eval_every=20", "train.checkpoint_every=10")


def command(run: Path, recipe: str) -> list[str]:
    settings = [argument for setting in SETTINGS for argument in ("--set", setting)]
    return [sys.executable, "-m", "stackwright", "build", recipe, *settings, "--out", str(run), "--json"]


def start(run: Path, recipe: str) -> subprocess.Popen[bytes]:
    """Start a build in a process group of its own, so that its workers are killed with it."""
    return subprocess.Popen(command(run, recipe), stdout=subprocess.DEVNULL, start_new_session=True)


def is_under_way(run: Path, stage: Stage) -> bool:
    return any(run.glob(f".building/{stage.folder}-*"))


def kill_in(run: Path, recipe: str, stage: Stage, delay: float) -> bool:
    """Build until the stage is under way for `delay` seconds, then kill. Returns whether it was still under way."""
    process = start(run, recipe)
    while process.poll() is None and not is_under_way(run, stage) and not (run / stage.folder).exists():
        time.sleep(0.005)
    deadline = time.monotonic() + delay
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    hit = process.poll() is None and is_under_way(run, stage)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return hit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="tiny")
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("endurance"))
    options = parser.parse_args()
    quiet, disturbed, rng = options.out / "quiet", options.out / "disturbed", random.Random(options.seed)
    subprocess.run(command(quiet, options.recipe), check=True, stdout=subprocess.DEVNULL)
    seconds = {stage.name: load_artifact(quiet / stage.folder).manifest.run["seconds"] for stage in STAGES}
    kills: Counter[str] = Counter()
    for position, stage in enumerate(STAGES):
        share = -(-(options.kills - kills.total()) // (len(STAGES) - position))
        while kills[stage.name] < share and not (disturbed / stage.folder).exists():
            # Finished parts are kept: early fractions, or the later kills of a stage would come after its end.
            delay = rng.random() * seconds[stage.name] * 0.6
            if kill_in(disturbed, options.recipe, stage, delay):
                kills[stage.name] += 1
                print(f"kill {kills.total()}: {stage.name} after {delay:.2f} s", flush=True)
    subprocess.run(command(disturbed, options.recipe), check=True, stdout=subprocess.DEVNULL)
    equal = [
        load_artifact(quiet / stage.folder).digest == load_artifact(disturbed / stage.folder, verify="full").digest
        for stage in STAGES
    ]
    print("| stage | kills | seconds undisturbed | content digest |\n| --- | ---: | ---: | --- |")
    for stage, same in zip(STAGES, equal, strict=True):
        print(f"| {stage.name} | {kills[stage.name]} | {seconds[stage.name]:.1f} | {'equal' if same else 'DIFFERENT'} |")
    print(f"{kills.total()} kills; {sum(equal)} of {len(equal)} digests equal")
    sys.exit(0 if all(equal) and kills.total() >= options.kills else 1)


if __name__ == "__main__":
    main()
