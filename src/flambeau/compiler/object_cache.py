"""Machine code kept on disk between runs.

One file per module, named by its key and holding a checksum, so that a damaged file is never loaded.  Code is
executed from here, therefore the folder must belong to this user and nobody else may write to it.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import tempfile
import warnings
from pathlib import Path

__all__ = ["ObjectCache", "default_directory"]

_MAGIC = b"flambeau-object-1\n"
_DIGEST = hashlib.sha256().digest_size
_LIMIT = 256 << 20  # bytes on disk; the files unused for longest go first


def default_directory() -> Path:
    """``$XDG_CACHE_HOME/flambeau``, by default ``~/.cache/flambeau``."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG base directory specification says that relative paths are to be ignored.
    root = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
    return root / "flambeau"


def _first_outside() -> int:
    """The `stacklevel`, for the caller, of the code that uses the package: the package's own RuntimeWarnings, NumPy's
    about overflow and the like, are hidden."""
    package, level = __name__.partition(".")[0], 1
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        frame, level = frame.f_back, level + 1
    return level


class ObjectCache:
    """Files of machine code by key.  Every failure means "not cached" and is reported once at most."""

    def __init__(self, directory: Path | None = None) -> None:
        self._given = directory
        self._directory: Path | None = None
        self._ready = False

    @property
    def directory(self) -> Path | None:
        """The folder in use; None when there is none that can be written and trusted."""
        if not self._ready:
            self._ready = True
            self._directory = self._open()
        return self._directory

    def _open(self) -> Path | None:
        try:
            path = self._given or default_directory()
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if os.name == "posix":
                info = path.stat()
                if info.st_uid != os.getuid():
                    raise PermissionError(f"{path} belongs to another user")
                if info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                    raise PermissionError(f"other users may write to {path}; remove that right (chmod 700)")
            if not os.access(path, os.W_OK | os.X_OK):
                raise PermissionError(f"{path} is not writable")
            self._prune(path)
        except (OSError, RuntimeError) as error:  # RuntimeError: the home folder is not known
            self._warn(error)
            return None
        return path

    @staticmethod
    def _warn(error: Exception) -> None:
        warnings.warn(
            f"compiled kernels are kept in memory only, the cache folder cannot be used: {error}. "
            "Set XDG_CACHE_HOME to a private, writable folder to keep them between runs",
            RuntimeWarning,
            stacklevel=_first_outside(),
        )

    @staticmethod
    def _prune(path: Path) -> None:
        entries = []
        for item in os.scandir(path):
            try:
                info = item.stat()
            except OSError:  # another process removed it
                continue
            entries.append((info.st_mtime, info.st_size, item.path))
        total = sum(size for _, size, _ in entries)
        for _, size, name in sorted(entries):
            if total <= _LIMIT:
                break
            total -= size
            try:
                os.unlink(name)
            except OSError:
                continue

    def get(self, key: str) -> bytes | None:
        """The object stored under `key`, or None when it is absent or damaged."""
        if self.directory is None:
            return None
        try:
            with open(self.directory / f"{key}.o", "rb") as file:
                data = file.read()
        except OSError:
            return None
        start = len(_MAGIC) + _DIGEST
        body = data[start:]
        if data[:start] != _MAGIC + hashlib.sha256(key.encode() + body).digest():
            return None
        return body

    def put(self, key: str, body: bytes) -> None:
        """Store `body` so that a reader sees all of it or nothing."""
        if self.directory is None:
            return
        temporary = None
        try:
            descriptor, temporary = tempfile.mkstemp(dir=self.directory, suffix=".tmp")  # made with mode 0600
            with os.fdopen(descriptor, "wb") as file:
                file.write(_MAGIC + hashlib.sha256(key.encode() + body).digest() + body)
            os.replace(temporary, self.directory / f"{key}.o")
        except OSError as error:
            if temporary is not None:
                try:
                    os.unlink(temporary)
                except OSError:
                    pass
            self._directory = None  # a full or read-only disk: do not try again
            self._warn(error)
