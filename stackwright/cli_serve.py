"""`stackwright serve MODEL`: completions for editors and for a page, each with its origins."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from stackwright.cli_errors import one_line_errors

PolicyName = Literal["annotate", "block", "allow"]


@one_line_errors
def serve_command(
    model: Annotated[Path, typer.Argument(help="A run, a checkpoint, a release, or a gpt_bigcode folder.")],
    index: Annotated[
        Path | None, typer.Option(help="The index of its training data; that of the run when not given.")
    ] = None,
    policy: Annotated[
        PolicyName | None,
        typer.Option(
            help="What is done about copies: `annotate` cites them (default with an index), `block` holds back those "
            "without a permissive licence, `allow` does not look."
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Where to listen; others than this machine need --api-key-file.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any that is free.")] = 8080,
    api_key_file: Annotated[Path | None, typer.Option(help="A file with one API key a line, readable by you alone.")] = None,
    max_batch: Annotated[int, typer.Option(min=1, max=256, help="Requests that are answered at once.")] = 16,
    max_waiting: Annotated[int, typer.Option(min=0, max=10_000, help="Requests that may wait; more get 429.")] = 64,
) -> None:
    """Serve completions: OpenAI's and llama.cpp's interface, and a page to try the model and its origins.

    Example: `stackwright serve runs/tiny`, then open the address that it prints
    """
    from stackwright.serve.run import ServeOptions, serve

    options = ServeOptions(index, policy, host, port, api_key_file, max_batch, max_waiting)
    serve(model, options, lambda line: print(line, flush=True))
