"""Getting files over the network: `flambeau.hub`.

`load_state_dict_from_url` and its helpers work.  `load`, which runs Python code from other people's repositories, does
not exist here: get the code yourself and import it.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import tempfile
from typing import Any
from urllib.parse import urlparse

from .runtime.absent import no_such_name as _no_such_name
from .runtime.progress import Progress

__all__ = ["download_url_to_file", "get_dir", "load_state_dict_from_url", "set_dir"]

_BLOCK = 128 * 1024  # bytes
_chosen: str | None = None
HASH_REGEX = re.compile(r"-([a-f0-9]{8,})\.")  # of the file's SHA-256, at the end of a file's name


def _get_torch_home() -> str:
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return os.path.expanduser(os.environ.get("TORCH_HOME", os.path.join(cache, "torch")))


def get_dir() -> str:
    """The folder for downloads: what `set_dir` chose, else ``$TORCH_HOME/hub``, by default ``~/.cache/torch/hub``."""
    return os.path.join(_get_torch_home(), "hub") if _chosen is None else _chosen


def set_dir(d: str | os.PathLike[str]) -> None:
    """Choose the folder for downloads."""
    global _chosen
    _chosen = os.path.expanduser(os.fspath(d))


def download_url_to_file(url: str, dst: str, hash_prefix: str | None = None, progress: bool = True) -> None:
    """Download `url` to the file `dst`, which appears only when it is complete; `progress` shows a line on a terminal.

    Raises: RuntimeError when the SHA-256 of the content does not begin with `hash_prefix`; OSError for failures of the
    network or the disk.
    """
    import urllib.request

    dst = os.path.expanduser(dst)
    folder = os.path.dirname(dst) or "."
    digest = hashlib.sha256()
    with tempfile.NamedTemporaryFile(dir=folder, prefix=os.path.basename(dst), delete=False) as part:
        try:
            with urllib.request.urlopen(
                urllib.request.Request(url, headers={"User-Agent": "flambeau"})
            ) as source:
                length = source.headers.get("Content-Length")
                with Progress(os.path.basename(dst), int(length) if length else None, progress) as bar:
                    while block := source.read(_BLOCK):
                        part.write(block)
                        digest.update(block)
                        bar.advance(len(block))
            part.close()
            if hash_prefix:
                found = digest.hexdigest()
                if not found.startswith(hash_prefix):
                    raise RuntimeError(
                        f'invalid hash value (expected "{hash_prefix}", got "{found}") of {url}'
                    )
            os.replace(part.name, dst)
        finally:
            if os.path.exists(part.name):
                os.remove(part.name)


def load_state_dict_from_url(
    url: str,
    model_dir: str | None = None,
    map_location: Any = None,
    progress: bool = True,
    check_hash: bool = False,
    file_name: str | None = None,
    weights_only: bool = True,
) -> Any:
    """What `flambeau.load` reads from a file that is downloaded to `model_dir` once, and kept there.

    With `check_hash` the file's name has to end in the first digits of its SHA-256: ``name-<digits>.ext``.

    Raises: as `download_url_to_file` and `flambeau.load`.
    """
    from .serialization import load

    folder = os.path.join(get_dir(), "checkpoints") if model_dir is None else model_dir
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, file_name or os.path.basename(urlparse(url).path))
    if not os.path.exists(path):
        digits = HASH_REGEX.search(os.path.basename(path)) if check_hash else None
        download_url_to_file(url, path, digits[1] if digits else None, progress)
    return load(path, map_location=map_location, weights_only=weights_only)


class _PlainProgress:
    """What programs use of the package tqdm, where that is not installed: iterate, or `update` in a ``with`` block."""

    def __init__(
        self, iterable: Any = None, desc: str = "", total: int | None = None, **settings: Any
    ) -> None:
        self._of = iterable
        total = len(iterable) if total is None and hasattr(iterable, "__len__") else total
        in_bytes = settings.get("unit") == "B"  # what the line on the terminal counts
        self._bar = Progress(desc or "", total, in_bytes and not settings.get("disable"))

    def __iter__(self) -> Any:
        with self as bar:
            for item in self._of:
                yield item
                bar.update(1)

    def __enter__(self) -> Any:
        self._bar.__enter__()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._bar.__exit__(*exc)

    def update(self, n: int) -> None:
        self._bar.advance(n)

    def close(self) -> None:
        """Nothing is left open."""


def __getattr__(name: str) -> Any:
    if name != "tqdm":  # torch.hub's name for the package, or for what replaces it
        raise _no_such_name(__name__, name)
    try:
        return importlib.import_module("tqdm").tqdm
    except ImportError:
        return _PlainProgress
