"""Peak memory of the data stages' process tree (collect to tokens of the recipe tiny), by number of workers.

The engine plans with INLINE_BYTES for one worker, else with PARENT_BYTES and WORKER_BYTES; the last column says whether what
was measured stays within them.

Example: python benchmarks/pipeline_memory.py --workers 1 2
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from stackwright.engine import INLINE_BYTES, PARENT_BYTES, WORKER_BYTES

STAGES = ("collect", "curate", "tokenizer", "tokens")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    print("| workers | stage | seconds | peak MB | planned MB |\n| ---: | --- | ---: | ---: | ---: |")
    for workers in options.workers:
        with tempfile.TemporaryDirectory() as folder:
            for stage in STAGES:
                command = [sys.executable, "-m", "stackwright", "build", "tiny", "--to", stage, "--json"]
                command += ["--out", str(Path(folder) / "run"), "--workers", str(workers)]
                facts = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                planned = INLINE_BYTES if workers == 1 else PARENT_BYTES + workers * WORKER_BYTES
                peak, seconds = facts["peak_memory_bytes"], facts["wall_seconds"]
                print(f"| {workers} | {stage} | {seconds:.0f} | {peak / 1e6:,.0f} | {planned / 1e6:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
