"""Turns whatever goes wrong in a command into one clear line and an exit code. A person never sees a traceback.

Exit codes: 0 everything done; 1 done, with rejected, failed or cancelled rows; 2 the whole file or the command line was
refused; 3 paused or interrupted, run again to go on.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import click

from domain import catalogue
from domain.errors import BulkOrdersError, TransientError
from resources.file_labels import safe_label

REFUSED = 2
INTERRUPTED = 3
_BROKEN_PIPE = 141  # what a shell reports for a program whose reader went away


def exit_code_of(command: Callable[[], int | None], language: str, home: Path) -> int:
    """Run ``command``; its own code, or the code of what went wrong after one line about it on stderr."""
    try:
        return command() or 0
    except BulkOrdersError as error:
        return say(error, language)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.ClickException as error:
        refused = BulkOrdersError("SYS-COMMAND-LINE", reason=error.format_message().rstrip("."))
        return _say(catalogue.describe(refused, language), REFUSED)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        # Nobody reads on: say nothing, and keep the interpreter from flushing into the closed pipe at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except Exception as error:
        error_id = _record(error, home)
        return _say(catalogue.describe(BulkOrdersError("SYS-INTERNAL", error_id=error_id), language), REFUSED)


def say(error: BulkOrdersError, language: str, about: str = "") -> int:
    """One line about one of our errors on stderr, and its exit code; ``about`` is a file's own name, if any."""
    line = catalogue.describe(error, language)
    shown = f"{safe_label(about)}: {line}" if about else line  # a name may hold what commands a terminal
    return _say(shown, INTERRUPTED if isinstance(error, TransientError) else REFUSED)


def _say(line: str, code: int) -> int:
    sys.stderr.write(line + "\n")
    return code


def _record(error: BaseException, home: Path) -> str:
    """Write down where it happened, under an id; types and places only, since messages may hold customers' values."""
    error_id = secrets.token_hex(4)
    lines = [f"{datetime.now(UTC).isoformat(timespec='seconds')} {error_id}"]
    cause: BaseException | None = error
    while cause is not None:
        lines.append(f"  {type(cause).__module__}.{type(cause).__qualname__}")
        lines += [f"    {f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(cause.__traceback__)]
        cause = cause.__cause__ or cause.__context__
    with contextlib.suppress(OSError):
        (home / "logs").mkdir(parents=True, exist_ok=True)
        descriptor = os.open(home / "logs" / "errors.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "a", encoding="utf-8") as log:
            log.write("\n".join(lines) + "\n")
    return error_id
