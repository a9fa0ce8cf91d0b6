"""The command `stackwright plan`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stackwright.cli_errors import one_line_errors
from stackwright.cli_output import print_json
from stackwright.recipe import Recipe, load_recipe

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
    fit: Annotated[
        Path | None,
        typer.Option("--fit", metavar="RUN", help="Train nine small models on a run's tokens and forecast the recipe."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the facts as JSON.")] = False,
) -> None:
    """Say what a recipe takes: parameters, memory of weights, cache and training, FLOPs, tokens, days.

    With --fit RUN also how training on this machine will end: loss, time and memory, and once it has, how far off that was.

    Examples: `stackwright plan starcoder2-7b --gpus 432 --gpu h100`

    `stackwright build tiny --to tokens && stackwright plan tiny --fit runs/tiny && stackwright build tiny`
    """
    from stackwright.plan import Plan

    resolved = load_recipe(recipe, overrides or ())
    facts = Plan.of(resolved, gpus, gpu, mfu).to_json()
    if fit is not None:
        facts["forecast"] = _forecast(resolved, fit, quiet=as_json)
    if as_json:
        print_json(facts)
    else:
        _show(facts)


def _forecast(recipe: Recipe, run: Path, *, quiet: bool) -> dict[str, Any]:
    from rich.console import Console

    from stackwright.console import ConsoleProgress
    from stackwright.forecast import errors_of, forecast, measured

    with ConsoleProgress(Console(quiet=quiet, stderr=True, highlight=False)) as progress:
        predicted = forecast(recipe, run, progress)
    actual = measured(run)
    return {
        "predicted": asdict(predicted),
        "measured": None if actual is None else asdict(actual),
        "error": None if actual is None else errors_of(predicted, actual),
    }


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
    if "forecast" in facts:
        console.print("")
        console.print(_forecast_table(facts["forecast"]))


def _forecast_table(facts: dict[str, Any]) -> Table:
    from rich.table import Table

    columns = ["on this machine", "predicted", *(["measured", "error"] if facts["measured"] else [])]
    table = Table(*columns, box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    rows = {"bits_per_byte": ("bits per byte", "{:.3f}", 1.0), "seconds": ("seconds", "{:,.0f}", 1.0)}
    rows["peak_bytes"] = ("peak of memory, MB", "{:,.0f}", 1e-6)
    for name, (label, form, scale) in rows.items():
        cells = [form.format(facts["predicted"][name] * scale)]
        if facts["measured"]:
            cells += [form.format(facts["measured"][name] * scale), f"{facts['error'][name]:+.1%}"]
        table.add_row(label, *cells)
    return table


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
