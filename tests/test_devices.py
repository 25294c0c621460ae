"""What programs ask of accelerators and of the CPU's streams."""

import pytest

import flambeau


def _outcome(f, *args):
    try:
        return f(*args)
    except Exception as e:
        return type(e)


@pytest.mark.filterwarnings("ignore:Use `:FutureWarning")
def test_there_is_no_accelerator_as_in_pytorch_without_one():
    torch = pytest.importorskip("torch")
    if torch.accelerator.current_accelerator() is not None:
        pytest.skip("this PyTorch is built for an accelerator")
    for name in flambeau.accelerator.__all__:
        if name[0].islower() and name not in ("device_index", "get_device_module", "synchronize"):
            args = (0,) if name.startswith("set_") else ()
            got, want = (_outcome(getattr(lib.accelerator, name), *args) for lib in (flambeau, torch))
            assert got == want, name


def test_a_block_on_another_accelerator():
    with flambeau.accelerator.device_index(None):
        pass
    with pytest.raises(RuntimeError, match="none is available"), flambeau.accelerator.device_index(0):
        pass


def test_streams_of_the_cpu_wait_for_nothing():
    cpu = flambeau.cpu
    before, other = cpu.current_stream(), cpu.Stream()
    with cpu.stream(other), cpu.stream(None):
        assert cpu.current_stream() is other
    assert cpu.current_stream() is before
    assert cpu.Event().query() and cpu.is_initialized()
    other.wait_stream(before)
    cpu.set_device("cpu")
