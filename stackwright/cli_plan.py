"""The command `stackwright plan`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from stackwright.cli_errors import one_line_errors
from stackwright.cli_output import print_json
from stackwright.recipe import load_recipe

if TYPE_CHECKING:
    from rich.table import Table


@one_line_errors
def plan_command(
    recipe: Annotated[str, typer.Argument(help="A built-in recipe, or a TOML file.")],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one key; may be repeated.")
    ] = None,
    gpus: Annotated[int, typer.Option(min=1, help="GPUs among which training is shared out.")] = 1,
    gpu: Annotated[str, typer.Option(help="Their kind: v100, a100, h100 or h200.")] = "h100",
    mfu: Annotated[float, typer.Option(min=0.01, max=1, help="Share of their peak that is reached.")] = 0.4,
    as_json: Annotated[bool, typer.Option("--json", help="Print the facts as JSON.")] = False,
) -> None:
    """Say what a recipe takes: parameters, memory of weights, cache and training, FLOPs, tokens, days.

    Example: `stackwright plan starcoder2-7b --gpus 432 --gpu h100`
    """
    from stackwright.plan import Plan

    facts = Plan.of(load_recipe(recipe, overrides or ()), gpus, gpu, mfu).to_json()
    if as_json:
        print_json(facts)
    else:
        _show(facts)


def _show(facts: dict[str, Any]) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    parameters, training, cache = facts["parameters"], facts["training"], facts["kv_cache_bytes"]
    console.print(f"[bold]{facts['recipe']}[/bold]: {parameters['total']:,} parameters")
    console.print(f"  {parameters['linear']:,} in matrices of the blocks, {parameters['others']:,} others\n")
    console.print(_weights(facts))
    console.print(
        f"\nkeys and values, 16 bits: {cache['per_token']:,} bytes a token, "
        f"{cache['full_context'] / 1e6:,.1f} MB for the whole context"
    )
    console.print(
        f"\ntraining: {training['tokens']:,} tokens, {training['tokens_per_step']:,} a step, {training['flops']:.2e} FLOPs"
    )
    console.print(
        f"  {training['days']:,.1f} days on {training['gpus']:,} {training['gpu']} at {training['mfu']:.0%} of their peak"
    )
    memory = training["bytes_per_rank"]
    fits = "" if training["fits"] else f" [yellow]more than one {training['gpu']} has[/yellow]"
    console.print(f"  {memory['total'] / 1e9:,.2f} GB on each{fits}")
    for name, size in memory.items():
        if name != "total":
            console.print(f"    {name}: {size / 1e9:,.2f}")


def _weights(facts: dict[str, Any]) -> Table:
    from rich.table import Table

    has_card = facts["model_card_bytes"] is not None
    table = Table("weights, MB", "here", *(["on the model card"] if has_card else []), box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for precision, size in facts["weights_bytes"].items():
        cells = [size, facts["model_card_bytes"][precision]] if has_card else [size]
        table.add_row(precision, *(f"{cell / 1e6:,.2f}" for cell in cells))
    return table
