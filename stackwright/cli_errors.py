"""How a command fails: one line on standard error and an exit code, whatever went wrong."""

from __future__ import annotations

import errno
import functools
import os
import sys
from collections.abc import Callable
from typing import ParamSpec

from stackwright.errors import StackwrightError, missing_extra
from stackwright.launch import launched_rank, launched_size

P = ParamSpec("P")


def one_line_errors(command: Callable[P, None]) -> Callable[P, None]:
    """Turn every failure that a user can act on into one line on standard error and an exit code."""

    @functools.wraps(command)
    def run(*arguments: P.args, **options: P.kwargs) -> None:
        try:
            command(*arguments, **options)
        except StackwrightError as error:
            _fail(str(error), error.exit_code)
        except ModuleNotFoundError as error:
            shown = missing_extra(error)
            if shown is None:
                raise
            _fail(str(shown), shown.exit_code)
        except KeyboardInterrupt:
            _fail("stopped; finished parts are kept, and the same command goes on from them", 1)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader went away: nothing left to say
            sys.exit(1)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            where = error.filename or "while writing"
            _fail(f"no space left on the device ({where}); free some and run the same command again", 1)

    return run


def _fail(message: str, code: int) -> None:
    who = f"stackwright (rank {launched_rank()})" if launched_size() > 1 else "stackwright"
    print(f"{who}: {message}", file=sys.stderr)
    sys.exit(code)
