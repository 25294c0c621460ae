import os
import stat
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

pytest.importorskip("llvmlite")
from flambeau.compiler import engine
from flambeau.compiler.object_cache import ObjectCache, default_directory

ADD = "define i64 @add(i64 %a, i64 %b) {\n  %c = add i64 %a, %b\n  ret i64 %c\n}\n"


def test_import_of_flambeau_does_not_load_llvm():
    code = "import sys, flambeau; assert not {'llvmlite', 'flambeau.compiler'} & sys.modules.keys()"
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )


def test_rejected_code_is_an_error():
    with pytest.raises(engine.CompileError, match="rejected"):
        engine.build("define i64 @f() {\n  ret i32 0\n}\n", ["f"])
    with pytest.raises(engine.CompileError, match="loaded"):
        engine.build(
            "declare void @nowhere.at.all()\n"
            "define void @f() {\n  call void @nowhere.at.all()\n  ret void\n}\n",
            ["f"],
        )


def test_objects_are_kept_and_damaged_ones_rebuilt(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "object_cache", ObjectCache(tmp_path / "cache"))
    assert not engine.build(ADD, ["add"]).cached
    assert engine.build(ADD, ["add"]).cached
    (file,) = (tmp_path / "cache").glob("*.o")
    assert stat.S_IMODE((tmp_path / "cache").stat().st_mode) == 0o700
    whole = file.read_bytes()
    for damage in (
        whole[:-3],
        whole[:50],
        b"",
        whole[:-1] + bytes([whole[-1] ^ 1]),
        whole.replace(b"ELF", b"FLE"),
    ):
        file.write_bytes(damage)
        assert not engine.build(ADD, ["add"]).cached
        assert file.read_bytes() == whole


def test_a_file_under_another_key_is_not_loaded(tmp_path):
    cache = ObjectCache(tmp_path / "c")
    cache.put("a", b"body")
    os.rename(tmp_path / "c" / "a.o", tmp_path / "c" / "b.o")
    assert cache.get("a") is None and cache.get("b") is None


def test_without_a_usable_folder_there_is_one_warning(tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    file = tmp_path / "file"
    file.write_text("")
    for path in (shared, file / "below"):
        cache = ObjectCache(path)
        with pytest.warns(RuntimeWarning, match="memory only"):
            assert cache.get("k") is None
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            cache.put("k", b"x")
            assert cache.get("k") is None


def test_default_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_directory() == tmp_path / "flambeau"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert default_directory().is_absolute()


@pytest.mark.parametrize("bits", ["128", "256"])
def test_narrower_processors(bits):
    """The same kernels with registers of 128 bits (and no fused multiply-add) and of 256 bits."""
    here = Path(__file__).parent
    chosen = "every_size or functions_of or half_precision or table or bool or conversions"
    env = {**os.environ, "FLAMBEAU_VECTOR_BITS": bits, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        str(here / "test_pointwise.py"),
    ]
    done = subprocess.run([*command, "-k", chosen], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
