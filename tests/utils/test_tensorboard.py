"""SummaryWriter: files that TensorBoard's own reader understands, equal to PyTorch's for the same calls."""

from __future__ import annotations

import importlib.util
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flambeau

HERE = importlib.util.find_spec("tensorboard") is not None
needed = pytest.mark.skipif(not HERE, reason="the optional package tensorboard is not installed")


def events(folder: Any) -> list[Any]:
    """All events of the runs at and below a folder, in order; the first of each file is its version."""
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event

    found = []
    for path in sorted(Path(folder).rglob("events.out.tfevents.*")):
        found += [Event.FromString(raw) for raw in RawEventFileLoader(str(path)).Load()][1:]
    return found


def summaries(folder: Any) -> list[Any]:
    return [(e.step, v) for e in events(folder) for v in e.summary.value]


def calls(writer: Any, lib: Any) -> None:
    values = lib.linspace(-2, 3, 50)
    writer.add_scalar("a/loss", 0.25, 3)
    writer.add_scalar("tensor", lib.tensor([1.5]), 4)
    writer.add_scalar("new", 2.5, 1, new_style=True)
    writer.add_scalar("double", 2.5, 1, new_style=True, double_precision=True)
    writer.add_scalars("both", {"x": 1.0, "y": lib.tensor(2.0)}, 5)
    writer.add_histogram("h", values, 1)
    writer.add_histogram("few", values, 1, bins=7)
    writer.add_histogram("auto", values.double(), 1, bins="auto")
    writer.add_histogram_raw("raw", 0, 1, 3, 2.0, 1.5, [0.5, 1.0], [1, 2], 2)
    writer.add_text("t", "*hello*", 6)
    writer.add_pr_curve("pr", lib.tensor([0, 1, 1, 0, 1]), lib.tensor([0.1, 0.9, 0.4, 0.6, 1.0]), 2)
    writer.add_pr_curve("coarse", np.array([0, 1]), np.array([0.3, 0.7]), num_thresholds=5)
    writer.add_tensor("x", lib.arange(6.0).reshape(2, 3), 1)
    writer.add_custom_scalars(
        {"c": {"lines": ["Multiline", ["a", "b"]], "band": ["Margin", ["m", "lo", "hi"]]}}
    )
    writer.add_hparams({"lr": 0.1, "n": 3, "name": "sgd", "on": True}, {"loss": 0.5}, run_name="one")


@needed
def test_like_pytorch(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from torch.utils.tensorboard import SummaryWriter

    for lib, make in ((flambeau, flambeau.utils.tensorboard.SummaryWriter), (torch, SummaryWriter)):
        with make(tmp_path / lib.__name__) as writer:
            calls(writer, lib)
    ours, theirs = summaries(tmp_path / "flambeau"), summaries(tmp_path / "torch")
    assert [(s, v.tag) for s, v in ours] == [(s, v.tag) for s, v in theirs]
    for (_, a), (_, b) in zip(ours, theirs):
        if a.tag == "x":
            continue  # PyTorch writes numbers one by one, we write the bytes
        if a.HasField("histo"):
            assert a.histo.bucket == b.histo.bucket and a.histo.num == b.histo.num
            for field in ("min", "max", "sum", "sum_squares", "bucket_limit"):
                assert np.allclose(getattr(a.histo, field), getattr(b.histo, field), rtol=1e-5), field
        elif a.HasField("tensor") and a.tensor.float_val:
            assert a.metadata.plugin_data.plugin_name == b.metadata.plugin_data.plugin_name
            assert np.allclose(a.tensor.float_val, b.tensor.float_val)
        elif not a.tag.startswith("_hparams_/"):
            assert a == b, a.tag


@needed
def test_hparams(tmp_path: Path) -> None:
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    writer = flambeau.utils.tensorboard.SummaryWriter(tmp_path)
    writer.add_hparams(
        {"lr": 0.1, "on": True, "s": "a", "none": None}, {"loss": 0.5}, {"s": ["a", "b"]}, "run", 7
    )
    writer.close()
    found = {v.tag: (s, v) for s, v in summaries(tmp_path / "run")}
    read = {
        t: HParamsPluginData.FromString(v.metadata.plugin_data.content)
        for t, (_, v) in found.items()
        if "hparams" in t
    }
    start = read["_hparams_/session_start_info"].session_start_info.hparams
    assert start["lr"].number_value == 0.1 and start["on"].bool_value and start["s"].string_value == "a"
    infos = read["_hparams_/experiment"].experiment.hparam_infos
    assert [i.name for i in infos] == ["lr", "on", "s"] and list(infos[2].domain_discrete) == ["a", "b"]
    assert found["loss"][1].simple_value == 0.5 and found["loss"][0] == 7
    with pytest.raises(TypeError, match="dictionary"):
        writer.add_hparams([], {})
    with pytest.raises(ValueError, match="value of x"):
        writer.add_hparams({"x": object()}, {})
    with pytest.raises(TypeError, match="domain of x"):
        writer.add_hparams({"x": "a"}, {}, {"x": [1]})


def decode(png: bytes) -> Any:
    """The pixels of an unfiltered PNG."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    at, data, size, channels = 8, b"", (0, 0), 3
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at : at + 8])
        body = png[at + 8 : at + 8 + length]
        assert struct.unpack(">I", png[at + 8 + length : at + 12 + length])[0] == zlib.crc32(kind + body)
        if kind == b"IHDR":
            width, height, depth, color = struct.unpack(">IIBB", body[:10])
            size, channels = (height, width), {2: 3, 6: 4}[color]
            assert depth == 8
        data += body if kind == b"IDAT" else b""
        at += 12 + length
    rows = np.frombuffer(zlib.decompress(data), np.uint8).reshape(size[0], -1)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape(*size, channels)


@needed
def test_pictures(tmp_path: Path) -> None:
    r = np.random.default_rng(0)
    writer = flambeau.utils.tensorboard.SummaryWriter(tmp_path)
    chw = flambeau.from_numpy(r.random((3, 4, 6)).astype(np.float32))
    gray = r.integers(0, 256, (5, 7), dtype=np.uint8)
    batch = r.integers(0, 256, (10, 3, 2, 2), dtype=np.uint8)
    writer.add_image("chw", chw, 1)
    writer.add_image("hw", gray, dataformats="HW")
    writer.add_image("rgba", np.full((2, 2, 4), 9, np.uint8), dataformats="HWC")
    writer.add_images("many", batch)
    writer.add_images("list", [chw, chw])
    writer.close()
    found = {v.tag: v.image for _, v in summaries(tmp_path)}
    picture = decode(found["chw"].encoded_image_string)
    assert np.array_equal(picture, (chw.permute(1, 2, 0).numpy() * 255).astype(np.uint8))
    assert (found["chw"].height, found["chw"].width, found["chw"].colorspace) == (4, 6, 3)
    assert np.array_equal(decode(found["hw"].encoded_image_string), np.repeat(gray[..., None], 3, -1))
    assert decode(found["rgba"].encoded_image_string).shape == (2, 2, 4)
    many = decode(found["many"].encoded_image_string)
    assert many.shape == (4, 16, 3) and np.array_equal(many[2:, 2:4], batch[9].transpose(1, 2, 0))
    assert decode(found["list"].encoded_image_string).shape == (4, 12, 3)
    for bad, formats in ((chw, "CHWW"), (chw, "HW"), (chw, "CXW")):
        with pytest.raises(AssertionError):
            writer.add_image("bad", bad, dataformats=formats)


@needed
def test_figures_and_sounds(tmp_path: Path) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    writer = flambeau.utils.tensorboard.SummaryWriter(tmp_path)
    figure = pyplot.figure(figsize=(1, 0.5), dpi=40)
    pyplot.plot([0, 1])
    writer.add_figure("f", figure)
    assert not pyplot.fignum_exists(figure.number)
    writer.add_audio("s", flambeau.linspace(-1, 1, 100), sample_rate=8000)
    writer.close()
    found = {v.tag: v for _, v in summaries(tmp_path)}
    assert (found["f"].image.height, found["f"].image.width) == (20, 40)
    assert found["s"].audio.sample_rate == 8000 and found["s"].audio.encoded_audio_string[:4] == b"RIFF"


@needed
def test_graph(tmp_path: Path) -> None:
    from tensorboard.compat.proto.graph_pb2 import GraphDef

    nn = flambeau.nn
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Sequential(nn.Linear(4, 2)))
    with flambeau.utils.tensorboard.SummaryWriter(tmp_path) as writer:
        writer.add_graph(model, flambeau.ones(1, 3))
        with pytest.raises(ValueError, match="recorded no operation"):
            writer.add_graph(nn.Flatten(), flambeau.ones(1, 3, dtype=flambeau.int64))
    (data,) = [e.graph_def for e in events(tmp_path) if e.graph_def]
    nodes = {n.name: n for n in GraphDef.FromString(data).node}
    assert {"input/0", "output/0", "Sequential/0/weight", "Sequential/2/0/bias"} <= set(nodes)
    assert any(name.startswith("Sequential/1/Relu") for name in nodes)
    assert all(source in nodes for n in nodes.values() for source in n.input)
    reached, front = set(), ["output/0"]
    while front:
        name = front.pop()
        if name not in reached:
            reached.add(name)
            front += nodes[name].input
    assert reached == set(nodes)
    assert model(flambeau.ones(1, 3)).shape == (1, 2) and not model[0]._forward_hooks


@needed
def test_embedding(tmp_path: Path) -> None:
    with flambeau.utils.tensorboard.SummaryWriter(tmp_path) as writer:
        points = flambeau.arange(6.0).reshape(3, 2)
        writer.add_embedding(points, ["a", "b", "c"], flambeau.rand(3, 1, 4, 4), global_step=2, tag="my tag")
        writer.add_embedding(points, [["a", 1], ["b", 2], ["c", 3]], metadata_header=["name", "n"])
        with pytest.raises(AssertionError, match="#labels"):
            writer.add_embedding(points, ["a"])
        with pytest.raises(AssertionError, match="2D"):
            writer.add_embedding(flambeau.ones(3))
    folder = tmp_path / "00002" / "my%20tag"
    assert (folder / "tensors.tsv").read_text() == "0.0\t1.0\n2.0\t3.0\n4.0\t5.0\n"
    assert (folder / "metadata.tsv").read_text() == "a\nb\nc\n"
    assert decode((folder / "sprite.png").read_bytes()).shape == (8, 8, 3)
    assert (tmp_path / "00000" / "default" / "metadata.tsv").read_text().startswith("name\tn\na\t1\n")
    config = (tmp_path / "projector_config.pbtxt").read_text()
    assert config.count("embeddings {") == 2 and 'tensor_path: "00002/my%20tag/tensors.tsv"' in config


@needed
def test_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    writer = flambeau.utils.tensorboard.SummaryWriter(comment="_note", purge_step=5, filename_suffix=".x")
    assert Path(writer.get_logdir()).parent == Path("runs") and writer.get_logdir().endswith("_note")
    writer.add_scalar("a", 1.0, 5)
    writer.flush()
    assert [e.session_log.status for e in events("runs") if e.HasField("session_log")] == [1]
    writer.close()
    writer.add_scalar("a", 2.0, 6)  # a new file
    writer.close()
    assert sorted(s for s, v in summaries("runs")) == [5, 6]
    with pytest.raises(AssertionError, match="one element"):
        writer.add_scalar("a", flambeau.ones(2))
    with pytest.raises(ValueError, match="no element"):
        writer.add_histogram("a", flambeau.ones(0))
    with pytest.raises(NotImplementedError, match="str"):
        writer.add_scalar("a", "x")
    with pytest.raises(NotImplementedError, match="list"):
        writer.add_scalar("a", [1.0])


def test_without_the_package() -> None:
    source = str(Path(flambeau.__file__).resolve().parents[1])
    program = f"""
import sys
sys.path.insert(0, {source!r})
sys.modules["tensorboard"] = None
import flambeau
try:
    from flambeau.utils.tensorboard import SummaryWriter
except ImportError as e:
    print(e.name, e)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith("tensorboard flambeau.utils.tensorboard needs the package tensorboard"), (
        done
    )
