"""The line that long downloads show."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

import flambeau
from flambeau.runtime import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_says_how_far_it_is() -> None:
    bar = progress.Progress("weights.pt", 2_000_000)
    bar.done = 500_000
    assert bar.line(2.0) == "weights.pt  25% [#####               ] 500.0 kB of 2.0 MB, 250.0 kB/s"
    unknown = progress.Progress("x" * 100, None)
    unknown.done = 10
    assert unknown.line(0.0).endswith(" 10 B") and len(unknown.line(0.0)) <= progress.WIDTH


@pytest.mark.parametrize("show", [True, False])
def test_downloads_show_it_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, show: bool) -> None:
    source, target = tmp_path / "source.bin", tmp_path / "target.bin"
    source.write_bytes(bytes(300_000))
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress, "PATIENCE", -1.0)
    monkeypatch.setattr(progress, "INTERVAL", -1.0)
    flambeau.hub.download_url_to_file(source.as_uri(), str(target), progress=show)
    assert target.read_bytes() == source.read_bytes()
    text = terminal.getvalue()
    assert ("target.bin" in text and "100%" in text and text.endswith("\r")) is show
    assert show or not text


def test_nothing_is_written_to_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.Progress("x", 10) as bar:
        bar.begun -= 10
        bar.last -= 10
        bar.advance(5)
    assert not capsys.readouterr().err
