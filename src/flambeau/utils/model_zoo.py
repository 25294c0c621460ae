"""The older place of `flambeau.hub`'s download function: `flambeau.utils.model_zoo`."""

from typing import Any

from .. import hub
from ..hub import load_state_dict_from_url
from ..runtime.absent import names_of as _names_of

load_url = load_state_dict_from_url

__all__ = ["load_state_dict_from_url", "load_url"]


def __getattr__(name: str) -> Any:
    return getattr(hub, name) if name in ("download_url_to_file", "tqdm") else _names_of(__name__)(name)
