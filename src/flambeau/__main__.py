"""``python -m flambeau``."""

from .cli import main

main()
