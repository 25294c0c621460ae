"""`import torch` while flambeau stands in.  Each check has a process of its own, where PyTorch may not even exist."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import flambeau

SOURCE = str(Path(flambeau.__file__).resolve().parents[1])


def run(code: str) -> str:
    program = f"import sys; sys.path.insert(0, {SOURCE!r})\n{code}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_same_modules() -> None:
    run(
        """
import flambeau.as_torch
import torch, torch.nn as nn, torch.nn.functional as F, torch.utils.data, torch.optim.lr_scheduler
from torch.nn.utils import clip_grad_norm_
from torch.autograd.functional import jacobian
from torch import Tensor, nn as again
import torch.linalg, torch.fft, torch.special, torch.func, torch.autograd, torch.random, torch.serialization
import torch.cuda, torch.backends.cudnn, torch.jit, torch.testing, torch.nn.parameter, torch.overrides, torch.types

assert torch is flambeau and nn is flambeau.nn is again and F is flambeau.nn.functional
assert torch.utils.data is flambeau.utils.data and Tensor is flambeau.Tensor
assert sys.modules["torch.optim.lr_scheduler"] is sys.modules["flambeau.optim.lr_scheduler"]
assert nn.__name__ == nn.__spec__.name == "flambeau.nn"
"""
    )


def test_the_version() -> None:
    run(
        """
import importlib.metadata, flambeau
own = flambeau.__version__
import flambeau.as_torch, torch
assert torch.__version__ >= "2.4" and torch.__version__ >= (2, 13) and torch.__version__ < "3"
assert torch.__version__ > "2.9.1" and not torch.__version__ > "2.13.0" and torch.__version__ == "2.13"
assert tuple(int(n) for n in torch.__version__.split("+")[0].split(".")) >= (2, 0, 0)
assert importlib.metadata.version("torch") == torch.__version__
assert importlib.metadata.version("numpy")
flambeau.as_torch.uninstall()
assert flambeau.__version__ == own
"""
    )


def test_absent_names_point_to_the_list() -> None:
    out = run(
        """
import flambeau.as_torch, importlib.util
import torch, torch.nn as nn
assert importlib.util.find_spec("torch.export") is None and importlib.util.find_spec("torch.nn") is not None
for statement in ("import torch.export", "from torch.ao.quantization import QConfig", "from torch import qint8",
                  "from torch.nn import Nothing", "torch.qint8", "nn.functional.nothing", "torch.optim.Nothing"):
    try:
        exec(statement)
    except (ImportError, AttributeError) as e:
        print(type(e).__name__, e)
assert not hasattr(torch, "qint8") and getattr(nn, "Nothing", None) is None
"""
    ).splitlines()
    names = ["torch.export", "QConfig", "qint8", "Nothing", "qint8", "nothing", "Nothing"]
    kinds = ["ModuleNotFoundError"] + ["ImportError"] * 3 + ["AttributeError"] * 3
    assert len(out) == len(names)
    for line, name, kind in zip(out, names, kinds):
        assert line.startswith(kind) and repr(name) in line and "docs/compatibility.md" in line, line


def test_what_was_there_comes_back() -> None:
    run(
        """
from types import ModuleType
real, sub = ModuleType("torch"), ModuleType("torch.nn")
sys.modules.update({"torch": real, "torch.nn": sub})
from flambeau.stand_in import install, is_installed, standing_in, uninstall
import flambeau
finders = list(sys.meta_path)
install(); install()
import torch
assert torch is flambeau and is_installed()
with standing_in():
    assert is_installed()
assert is_installed()
uninstall(); uninstall()
assert sys.meta_path == finders and sys.modules["torch"] is real and sys.modules["torch.nn"] is sub
with standing_in():
    import torch
    assert torch is flambeau
import torch
assert torch is real and not is_installed()
"""
    )


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_new_processes_have_it_too(tmp_path: Path, method: str) -> None:
    script = tmp_path / "program.py"
    script.write_text(
        f"""
import multiprocessing as mp
import torch

def work(queue):
    queue.put(torch.arange(3).sum().item())

if __name__ == "__main__":
    context = mp.get_context({method!r})
    queue = context.Queue()
    child = context.Process(target=work, args=(queue,))
    child.start()
    print(queue.get(timeout=60))
    child.join()
"""
    )
    code = f"sys.argv = ['flambeau', 'run', {str(script)!r}]\nfrom flambeau.cli import main\nmain()"
    assert run(code) == "3\n"


def test_what_programs_import() -> None:
    """Modules that programs import at the top, whatever they use of them."""
    run(
        """
import flambeau.as_torch
import torch.cuda.memory, torch.distributed, torch.hub, torch.onnx, torch.profiler, torch.utils.model_zoo
import torch.nn.parallel, torch.nn.common_types, torch.nn.attention, torch.utils._pytree, torch.utils.hooks
from torch.autograd import Variable, functional
from torch.autograd.profiler import record_function
from torch.optim.lr_scheduler import _LRScheduler
from torch._utils import _rebuild_tensor_v2
from torch.torch_version import TorchVersion

assert not torch.mps.is_available() and torch.xpu.device_count() == 0
assert torch.random.Generator is torch.Generator
assert torch.nn.modules.utils._ntuple(2)(3) == (3, 3)
assert torch.cuda.memory_allocated() == 0 and not torch.cuda.is_bf16_supported()
assert torch.distributed.is_available() and not torch.distributed.is_initialized()
assert torch.utils._pytree.tree_map(lambda n: n + 1, {"a": [1, 2]}) == {"a": [2, 3]}
model = torch.nn.DataParallel(torch.nn.Linear(2, 1))
assert model(torch.ones(3, 2)).shape == (3, 1) and model.module.bias is model.state_dict(keep_vars=True)["module.bias"]
for missing in (lambda: torch.cuda.get_device_name(), lambda: torch.cuda.set_device(0), lambda: torch.cuda.init()):
    try:
        missing()
    except AssertionError as e:
        assert "not compiled with CUDA" in str(e)
    else:
        raise SystemExit("expected an error")
"""
    )


def test_looking_at_every_name_does_not_install_it() -> None:
    code = "import flambeau, sys\n[getattr(flambeau, n, None) for n in dir(flambeau)]\nprint('flambeau.as_torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_tests_themselves_run_without_it() -> None:
    """Else those that compare with PyTorch would compare flambeau with itself: to collect a file is to import it."""
    from flambeau.stand_in.install import is_installed

    assert not is_installed()


def test_a_module_does_not_take_the_place_of_the_function_of_its_name() -> None:
    code = """
import flambeau.as_torch, torch
import torch.autograd.gradcheck, torch.nn.utils.weight_norm
from torch.autograd.gradcheck import gradgradcheck
assert torch.autograd.gradcheck(torch.sin, torch.ones(2, dtype=torch.double, requires_grad=True))
assert callable(torch.nn.utils.weight_norm)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
