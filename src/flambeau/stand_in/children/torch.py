"""``import torch`` in a child of a program that runs under the stand-in: installs the stand-in there, too."""

import importlib
import sys
from pathlib import Path

own = sys.modules.pop(__name__)  # this file is not what the stand-in should bring back when it ends
try:
    import flambeau
except ModuleNotFoundError:  # the parent found it by another way than the environment's
    sys.path.append(str(Path(__file__).resolve().parents[3]))
    import flambeau

importlib.import_module("flambeau.as_torch")

# The import system goes on with what it finds under the name that it is importing.
sys.modules[__name__] = flambeau if __name__ == "torch" else own
