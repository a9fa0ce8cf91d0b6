"""The command `stackwright`: parses arguments, calls the library, prints facts, and turns errors into one line.

Everything heavy is imported inside the commands, so that `--help` answers at once. Exit codes: 0, 1 failure, 2 usage.
"""

from __future__ import annotations

import datetime
import functools
import logging
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Annotated, Literal

import typer

from stackwright import __version__
from stackwright.cli_errors import one_line_errors
from stackwright.cli_export import export_command
from stackwright.cli_optout import optout
from stackwright.cli_output import print_json
from stackwright.cli_plan import plan_command
from stackwright.cli_serve import serve_command
from stackwright.errors import TargetError
from stackwright.launch import launched_rank
from stackwright.recipe import load_recipe
from stackwright.sizes import parse_size

app = typer.Typer(
    name="stackwright",
    help="From source code to a code model one can answer for.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(optout)
app.command("serve")(serve_command)
app.command("export")(export_command)
app.command("plan")(plan_command)


def _stop_like_ctrl_c(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise KeyboardInterrupt


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"stackwright {__version__}")
        raise typer.Exit


@app.callback()
def main_options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what the library logs.")] = False,
) -> None:
    """From source code to a code model one can answer for."""
    del version
    handler = logging.StreamHandler()
    handler.setLevel(logging.INFO if verbose else logging.WARNING)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    logging.getLogger("stackwright").setLevel(handler.level)


@app.command("build")
@one_line_errors
def build_command(
    recipe: Annotated[str, typer.Argument(help="A built-in recipe (tiny) or a TOML file.")],
    out: Annotated[Path | None, typer.Option(help="Run folder; runs/NAME when not given.")] = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", metavar="K=V", help="Override a recipe key.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes of the data stages; all cores when not given.")
    ] = None,
    memory: Annotated[str | None, typer.Option(metavar="SIZE", help="Memory of the data stages, such as 8GB.")] = None,
    from_stage: Annotated[str | None, typer.Option("--from", metavar="STAGE", help="Run again from this stage.")] = None,
    to_stage: Annotated[str | None, typer.Option("--to", metavar="STAGE", help="Stop after this stage.")] = None,
    keep_tokenizer: Annotated[
        bool, typer.Option("--keep-tokenizer", help="Use the tokenizer that is there although the dataset changed.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the resolved recipe and what would run.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Go from code to a released model, running only the stages that changed.

    Stages: collect, curate, tokenizer, tokens, index, train, evaluate, release.

    Under torchrun one process does so, and all train: `torchrun --nproc-per-node 8 -m stackwright build RECIPE`

    Example: `stackwright build tiny --set train.steps=200 --out runs/quick`
    """
    resolved = load_recipe(recipe, overrides or ())
    folder = out or Path("runs") / resolved.name
    memory_bytes = None if memory is None else parse_size(memory)
    from stackwright import console
    from stackwright.build import build, plan_build

    if launched_rank() > 0:
        if not dry_run:
            build(resolved, folder)
        return
    if dry_run:
        outcomes = plan_build(resolved, folder, from_stage=from_stage, to_stage=to_stage)
        console.show_plan(resolved, folder, outcomes, as_json=as_json)
        return
    _finish_what_was_begun(folder)
    with console.BuildConsole(folder, quiet=as_json) as observer:
        outcomes = build(
            resolved,
            folder,
            workers=workers,
            memory_bytes=memory_bytes,
            from_stage=from_stage,
            to_stage=to_stage,
            keep_tokenizer=keep_tokenizer,
            observer=observer,
        )
    observer.show_summary(outcomes, as_json=as_json)


@app.command("explain")
@one_line_errors
def explain_command(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    target: Annotated[str, typer.Argument(help="repository, repository:path, or content id")],
    limit: Annotated[
        int | None, typer.Option(min=1, help="Files to show at most; 10, or all with --json, when not given.")
    ] = None,
    proof: Annotated[
        bool, typer.Option("--proof", help="Print a proof, as JSON, that a content is in the dataset or is not.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON, with every copy.")] = False,
) -> None:
    """Say what happened to a file or repository and why: rules and evidence, copies, training, removal requests.

    Example: `stackwright explain runs/tiny numpy:numpy/version.py`
    """
    from stackwright import answers
    from stackwright.explanation import explain_run, proof_of
    from stackwright.removal import open_run

    open_run(run)
    if proof:
        print_json(proof_of(run, target))
        return
    explanation = explain_run(run, target, limit=limit or (None if as_json else 10))
    if as_json:
        print_json(explanation.to_json())
    else:
        answers.show_explanation(explanation)


@app.command("cite")
@one_line_errors
def cite_command(
    index: Annotated[Path, typer.Argument(help="A run, or the folder index of a run.")],
    file: Annotated[Path, typer.Argument(help="Text to look at; - reads standard input.")] = Path("-"),
    limit: Annotated[int, typer.Option(min=1, help="Matches to show at most.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print every match with its origins as JSON.")] = False,
) -> None:
    """Name the files of the dataset that a text repeats word for word: spans of 50 characters and more.

    White space does not count: indentation and line ends may differ. What is found was verified in the stored file.

    Example: `stackwright generate runs/tiny 'import os' | stackwright cite runs/tiny`
    """
    from stackwright import answers
    from stackwright.attribute.index import Index

    text = _read_text(file)
    _finish_what_was_begun(index)
    citation = Index.open(index / "index" if (index / "index").is_dir() else index).cite(text)
    if as_json:
        print_json(citation.to_json())
    else:
        answers.show_citation(text, citation, limit=limit)


def _finish_what_was_begun(folder: Path) -> None:
    """Open a folder that is a run, so that a removal which was killed in it is completed; leave any other alone."""
    from stackwright.removal import open_run
    from stackwright.run_folder import RUN_FILE

    if (folder / RUN_FILE).is_file():
        open_run(folder)


def _read_text(file: Path) -> str:
    """Return the text of a file or of standard input; what is not UTF-8 becomes U+FFFD, which no stored text repeats."""
    try:
        data = sys.stdin.buffer.read() if file == Path("-") else file.read_bytes()
    except OSError as error:
        raise TargetError(f"{file} cannot be read ({error.strerror})", "give a file, or - for standard input") from error
    return data.decode("utf-8", "replace")


@app.command("measure")
@one_line_errors
def measure_command(
    detector: Annotated[Literal["licenses", "near-dup"], typer.Argument(help="Which detector.")],
    data: Annotated[Path | None, typer.Option(help="Folder that keeps the texts; the user's cache when not given.")] = None,
    part: Annotated[Literal["tune", "test", "all"], typer.Option(help="Part of the labelled set.")] = "all",
    show: Annotated[bool, typer.Option("--show", help="List every record that was judged wrongly.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures and every wrong record as JSON.")] = False,
) -> None:
    """Measure a detector: its precision and recall on labelled texts, which are fetched from the package indexes.

    Example: `stackwright measure near-dup --part test`
    """
    from stackwright.measure.run import run_measure
    from stackwright.measure.show import Bars, show_report

    with Bars() as progress:
        report = run_measure(detector, part=part, data=data, progress=progress)
    if as_json:
        print_json(report.to_json())
    else:
        show_report(report, show=show)


@app.command("report")
@one_line_errors
def report_command(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders; several are shown side by side.")],
    out: Annotated[Path | None, typer.Option(help="HTML file; RUN/report.html, or report.html for several runs.")] = None,
) -> None:
    """Write one self-contained HTML page: what is in the data and why, training curves, and scores.

    Example: `stackwright report runs/tiny --out report.html`
    """
    from stackwright.curate.pii import redact_excerpt
    from stackwright.explanation import requests_of
    from stackwright.files import write_bytes
    from stackwright.pages.report import run_report
    from stackwright.removal import open_run

    for run in runs:
        open_run(run)
    now = datetime.datetime.now(datetime.UTC)
    page = run_report(runs, redact_excerpt, functools.partial(requests_of, now=now))
    path = out or (runs[0] / "report.html" if len(runs) == 1 else Path("report.html"))
    try:
        write_bytes(path, page.encode("utf-8"))
    except OSError as error:
        raise TargetError(f"{path} cannot be written ({error.strerror})", "give another file with --out") from error
    print(f"wrote {path} ({len(page):,} characters): open it in a browser")


@app.command("generate")
@one_line_errors
def generate_command(
    model: Annotated[str, typer.Argument(help="A run, a checkpoint, a release, a model folder, or OWNER/NAME.")],
    prompt: Annotated[str, typer.Argument(help="Text to continue; - reads standard input.")] = "",
    suffix: Annotated[str | None, typer.Option(help="Text after the gap: fills in between prompt and suffix.")] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option(min=1, help="Tokens to generate at most; 64 or half the context when not given.")
    ] = None,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest token.")] = 0.0,
    top_p: Annotated[float, typer.Option(help="Sample from the likeliest tokens of this total probability.")] = 1.0,
    top_k: Annotated[int | None, typer.Option(help="Sample from this many of the likeliest tokens.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the sampling.")] = 0,
    stop: Annotated[list[str] | None, typer.Option(metavar="TEXT", help="Stop before this text; may be repeated.")] = None,
    revision: Annotated[str | None, typer.Option(help="Checkpoint of a release, or revision in the hub cache.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the completion and its facts as JSON.")] = False,
) -> None:
    r"""Continue a prompt, or fill the gap before `--suffix`, printing the text as it comes.

    Example: `stackwright generate runs/tiny 'def add(a, b):' --suffix $'\n    return total' --max-new-tokens 24`
    """
    from stackwright.generate.engine import complete, generate
    from stackwright.generate.infill import build_prompt
    from stackwright.generate.load import load_model
    from stackwright.generate.sampling import SamplingSettings

    text = sys.stdin.read() if prompt == "-" else prompt
    settings = SamplingSettings(temperature=temperature, top_p=top_p, top_k=top_k, seed=seed, stop=tuple(stop or ()))
    loaded = load_model(model, revision)
    context = loaded.backend.max_seq_len
    settings = replace(settings, max_new_tokens=max_new_tokens or min(settings.max_new_tokens, context // 2))
    prompt_ids = build_prompt(loaded.tokenizer, text, suffix, context - settings.max_new_tokens)
    if as_json:
        print_json(complete(loaded.backend, loaded.tokenizer, prompt_ids, settings).to_json())
        return
    for chunk in generate(loaded.backend, loaded.tokenizer, prompt_ids, settings):
        sys.stdout.write(chunk.text)
        sys.stdout.flush()
    sys.stdout.write("\n")


def main() -> None:
    """Run the command line."""
    signal.signal(signal.SIGTERM, _stop_like_ctrl_c)
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    app()
