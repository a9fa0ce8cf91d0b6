"""The command `stackwright export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from stackwright.cli_errors import one_line_errors
from stackwright.cli_output import print_json
from stackwright.sizes import parse_size


@one_line_errors
def export_command(
    model: Annotated[str, typer.Argument(help="A run, a checkpoint, a release, a model folder, or OWNER/NAME.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to write; it must not be there yet.")],
    form: Annotated[Literal["hf"], typer.Option("--format", help="hf: a folder that Hugging Face's libraries load.")] = "hf",
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"], typer.Option(help="Type of the weights that are written.")
    ] = "float32",
    max_shard_size: Annotated[str, typer.Option(metavar="SIZE", help="Of one file of weights at most.")] = "5GB",
    revision: Annotated[str | None, typer.Option(help="Checkpoint of a release, or revision in the hub cache.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the files that were written as JSON.")] = False,
) -> None:
    """Write a model in its family's layout, converting what is older, with the memory of one tensor.

    Example: `stackwright export bigcode/santacoder --out santacoder --dtype bfloat16 --max-shard-size 1GB`
    """
    from rich.console import Console

    from stackwright.console import ConsoleProgress
    from stackwright.release.convert import export_model

    del form
    with ConsoleProgress(Console(stderr=True)) as progress:
        shards = export_model(model, out, dtype, revision, parse_size(max_shard_size), progress)
    if as_json:
        print_json({"folder": str(out), "files": {shard.name: len(shard.tensors) for shard in shards}})
    else:
        num_tensors = sum(len(shard.tensors) for shard in shards)
        print(f"{out}: {num_tensors} tensors in {len(shards)} file{'s' * (len(shards) > 1)}, {dtype}")
