"""Where PyTorch programs that write their own collation look for its parts."""

from . import collate, worker
