"""`stackwright optout RUN …`: record, list, decide and apply removal requests, and check receipts."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from stackwright.cli_errors import one_line_errors
from stackwright.cli_output import print_json
from stackwright.errors import TargetError, UsageError
from stackwright.sizes import parse_size

optout = typer.Typer(
    name="optout",
    help="""Take code out again when its author asks, and prove it.

Example: `stackwright optout runs/tiny add installed/rich --requester 'A. Author' --reason 'I did not agree'`
""",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

AsJson = Annotated[bool, typer.Option("--json", help="Print the facts as JSON.")]


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _run(context: typer.Context) -> Path:
    folder: Path = context.obj
    from stackwright.removal import open_run

    open_run(folder)
    return folder


@optout.callback()
def optout_command(context: typer.Context, run: Annotated[Path, typer.Argument(help="A run folder.")]) -> None:
    context.obj = run


@optout.command("add")
@one_line_errors
def add_command(
    context: typer.Context,
    target: Annotated[str, typer.Argument(help="account:NAME, repository, repository:pattern of paths, or content id")],
    requester: Annotated[str, typer.Option(help="Who asks.")],
    reason: Annotated[str, typer.Option(help="Why.")],
    as_json: AsJson = False,
) -> None:
    """Record a request. Nothing is removed until it is applied.

    Example: `stackwright optout runs/tiny add 'installed/rich:rich/*.py' --requester 'A. Author' --reason 'mine'`
    """
    folder = _run(context)
    from stackwright import removal_answers
    from stackwright.govern.removals import request_log
    from stackwright.removal import plan_requests

    request, is_new = request_log(folder).add(target, requester, reason, _now())
    matched = len(plan_requests(folder, [request.id]).files) if request.is_pending else None
    if as_json:
        print_json({**request.to_json(), "is_new": is_new, "files": matched})
    else:
        removal_answers.show_added(request, is_new=is_new, matched=matched, folder=folder)


@optout.command("list")
@one_line_errors
def list_command(
    context: typer.Context,
    only_open: Annotated[bool, typer.Option("--open", help="Only those that wait to be applied.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the requests of a run, with state and age.

    Example: `stackwright optout runs/tiny list --open`
    """
    folder, now = _run(context), _now()
    from stackwright import removal_answers
    from stackwright.govern.removals import request_log
    from stackwright.govern.requests import age_days

    requests = [request for request in request_log(folder).requests() if request.is_pending or not only_open]
    if as_json:
        print_json([{**request.to_json(), "age_days": age_days(request, now)} for request in requests])
    else:
        removal_answers.show_requests(requests, now, only_open=only_open)


@optout.command("decide")
@one_line_errors
def decide_command(
    context: typer.Context,
    request_id: Annotated[str, typer.Argument(metavar="ID", help="A request, such as r0001.")],
    verified: Annotated[str | None, typer.Option(metavar="HOW", help="How the requester was checked.")] = None,
    refused: Annotated[str | None, typer.Option(metavar="WHY", help="Why nothing will be removed.")] = None,
    as_json: AsJson = False,
) -> None:
    """Record that the requester of a request was checked, or that it is refused.

    Example: `stackwright optout runs/tiny decide r0001 --verified 'mail from the address in the commits'`
    """
    folder = _run(context)
    from stackwright import removal_answers
    from stackwright.govern.removals import request_log

    if (verified is None) == (refused is None):
        raise UsageError("a decision is one of two", "give --verified HOW or --refused WHY")
    log = request_log(folder)
    if verified is not None:
        request = log.verify(request_id, verified, _now())
    else:
        request = log.refuse(request_id, refused or "", _now())
    if as_json:
        print_json(request.to_json())
    else:
        removal_answers.show_decided(request)


@optout.command("apply")
@one_line_errors
def apply_command(
    context: typer.Context,
    request_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="Requests; all open and verified ones when not given.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would go and why, and do nothing.")] = False,
    near_copies: Annotated[
        Literal["later", "all", "none"],
        typer.Option(help="Near copies to take along: those known to be later, all, or none; the others are listed."),
    ] = "later",
    retrain_tokenizer: Annotated[
        bool, typer.Option("--retrain-tokenizer", help="Learn the tokenizer anew, from what is left.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="Files to show at most.")] = 20,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; all cores when not given.")] = None,
    memory: Annotated[str | None, typer.Option(metavar="SIZE", help="Memory of the data stages, such as 8GB.")] = None,
    as_json: AsJson = False,
) -> None:
    """Take out what requests ask for: make anew what depends on it, and write a signed receipt.

    Example: `stackwright optout runs/tiny apply r0001 --dry-run`
    """
    folder, ids = _run(context), request_ids or []
    memory_bytes = None if memory is None else parse_size(memory)
    from stackwright import removal_answers
    from stackwright.console import BuildConsole
    from stackwright.removal import apply_requests, plan_requests

    if dry_run:
        plan = plan_requests(folder, ids, near_copies)
        if as_json:
            print_json(plan.to_json())
        else:
            removal_answers.show_plan(plan, limit=limit)
        return
    with BuildConsole(folder, quiet=as_json) as observer:
        removal = apply_requests(
            folder,
            ids,
            _now(),
            near_copies=near_copies,
            retrain_tokenizer=retrain_tokenizer,
            workers=workers,
            memory_bytes=memory_bytes,
            observer=observer,
        )
    if as_json:
        print_json(removal.to_json())
    else:
        removal_answers.show_removal(removal, folder, limit=limit)


@optout.command("verify")
@one_line_errors
def verify_command(
    context: typer.Context,
    receipt: Annotated[Path, typer.Argument(help="A receipt, as JSON.")],
    public_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="The operator's public key in base64, or a file that holds it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check that a receipt is what its key signed. Needs the public key alone; the run is not read.

    Example: `stackwright optout runs/tiny verify receipt.json`
    """
    del context
    from stackwright import removal_answers
    from stackwright.govern.receipts import verify_receipt

    try:
        data = receipt.read_bytes()
        key = public_key
        if public_key is not None and Path(public_key).is_file():
            key = Path(public_key).read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise TargetError(f"{receipt} or the key cannot be read ({error})", "give a receipt that apply wrote") from error
    verified = verify_receipt(data, key)
    if as_json:
        print_json({"receipt": dict(verified.content), "key_name": verified.key_name, "note": verified.note})
    else:
        removal_answers.show_verified(verified)
