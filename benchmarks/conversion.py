"""Peak memory and speed of converting a model of random weights and true shape, in both directions.

    python benchmarks/conversion.py [RECIPE] [--folder DIR] [--shard-size 2GB]

Writes the model in bfloat16 in shards, exports it to one file and that file to shards again, each in a process of its own,
and compares all tensors of the last folder with the first. Peak memory is the largest resident size, mapped pages included.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors import safe_open

from stackwright.model.hub import hub_tensors, layout_of
from stackwright.model.hub_folder import HubFolder, write_config
from stackwright.model.tensor_file import TensorFile, plan_shards, write_index
from stackwright.plan import Plan
from stackwright.recipe import load_recipe
from stackwright.sizes import parse_size
from stackwright.tokenizer.codec import byte_alphabet, new_decoder, new_pre_tokenizer


def write_random_model(folder: Path, recipe: str, shard_bytes: int) -> None:
    """Write a model of the recipe's shape, and a tokenizer of bytes, so that `export` takes it."""
    from tokenizers import AddedToken, Tokenizer, models

    config, dtype = Plan.of(load_recipe(recipe)).config, torch.bfloat16
    shards = plan_shards(hub_tensors(config, layout_of(config)), dtype, shard_bytes)
    generator = torch.Generator().manual_seed(0)
    for shard in shards:
        with TensorFile(folder / shard.name, shard.tensors, dtype) as file:
            for tensor in shard.tensors:
                file.write(torch.randn(tensor.shape, generator=generator, dtype=torch.float32).to(dtype))
    write_config(folder, config, 0, dtype)
    write_index(folder, shards, dtype)
    sentinels = ["<|endoftext|>", "<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>"]
    names = [*sentinels, *byte_alphabet()]
    tokenizer = Tokenizer(models.BPE({name: number for number, name in enumerate(names)}, []))
    tokenizer.pre_tokenizer, tokenizer.decoder = new_pre_tokenizer(), new_decoder()
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in sentinels])
    tokenizer.save(str(folder / "tokenizer.json"))


def export(source: Path, target: Path, shard_size: str) -> None:
    """Convert in a process of its own and say what it took."""
    command = [sys.executable, "-m", "stackwright", "export", str(source), "--out", str(target)]
    begun = time.perf_counter()
    process = subprocess.Popen([*command, "--dtype", "bfloat16", "--max-shard-size", shard_size], stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    seconds, peak = time.perf_counter() - begun, usage.ru_maxrss * 1024
    sizes = [max(path.stat().st_size for path in folder.glob("*.safetensors")) for folder in (source, target)]
    limit = 1.3 * max(sizes) + 1e9
    total = sum(path.stat().st_size for path in target.glob("*.safetensors"))
    print(
        f"largest file {sizes[0] / 1e9:.2f} -> {sizes[1] / 1e9:.2f} GB: peak {peak / 1e9:.2f} GB "
        f"(1.3 x the larger + 1 GB = {limit / 1e9:.2f}), {seconds:.0f} s, {total / seconds / 1e6:.0f} MB/s"
    )
    assert peak < limit


def is_equal(first: Path, second: Path) -> bool:
    """Whether all tensors of two folders agree."""
    left, right = HubFolder.open(first), HubFolder.open(second)
    for tensor in left.tensors:
        with safe_open(left.files[tensor.name], "pt") as a, safe_open(right.files[tensor.name], "pt") as b:
            if not torch.equal(a.get_tensor(tensor.name), b.get_tensor(tensor.name)):
                return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", nargs="?", default="starcoder2-3b")
    parser.add_argument("--folder", type=Path, default=None, help="where there is room for three copies of the model")
    parser.add_argument("--shard-size", default="2GB")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        (folder / "source").mkdir()
        write_random_model(folder / "source", arguments.recipe, parse_size(arguments.shard_size))
        export(folder / "source", folder / "whole", "100GB")
        export(folder / "whole", folder / "shards", arguments.shard_size)
        print(f"all tensors equal: {is_equal(folder / 'source', folder / 'shards')}")
        shutil.rmtree(folder / "whole")


if __name__ == "__main__":
    main()
