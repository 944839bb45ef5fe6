"""``python -m evidence [--size short|full] [--only NAME ...] [--seed N] [--minutes M]``: all campaigns, one table.

Exit code 0: every goal was reached and nothing was violated; 1: not; 2: the command line was refused.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence

from evidence.campaign import CAMPAIGNS, SIZES, Line, commit, run_one, table


def main(argv: Sequence[str] | None = None) -> int:
    """Run what was asked for and print the table; the exit code."""
    options = _parser().parse_args(argv)
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1, 1_000_000)
    print(f"commit {commit()}, seed {seed}, size {options.size}", flush=True)
    lines: list[Line] = []
    for name in options.only or CAMPAIGNS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        lines += run_one(name, options.size, options.minutes * 60 if options.minutes else None, seed)
    print(table(lines), flush=True)
    return 0 if lines and all(line.holds for line in lines) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m evidence", description="All campaigns of proof, one table.")
    parser.add_argument("--size", choices=SIZES, default="full", help="short: as in `make test` (default: full)")
    parser.add_argument("--only", choices=CAMPAIGNS, nargs="+", metavar="NAME", help=f"of {', '.join(CAMPAIGNS)}")
    parser.add_argument(
        "--seed", type=int, metavar="N", help="repeat what was done with this seed (default: a new one)"
    )
    parser.add_argument("--minutes", type=float, metavar="M", help="at most so long for each campaign")
    return parser


if __name__ == "__main__":
    sys.exit(main())
