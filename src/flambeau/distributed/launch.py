"""The launcher's older name, which gives each process ``--local-rank`` as an argument unless it is told ``--use-env``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from .elastic.multiprocessing.errors import ChildFailedError
from .run import get_args_parser, run

__all__ = ["launch", "main"]


def main(args: Sequence[str] | None = None) -> None:
    """Start the processes and wait for them, as `run.main`."""
    parser = get_args_parser()
    parser.add_argument(
        "--use-env", "--use_env", action="store_true", help="LOCAL_RANK in the environment only"
    )
    run(parser.parse_args(args))


launch = run

if __name__ == "__main__":
    try:
        main()
    except (ChildFailedError, ValueError) as error:
        print(f"torchrun: {error}", file=sys.stderr)
        sys.exit(1)
