"""The older place of `flambeau.hub`'s download function: `flambeau.utils.model_zoo`."""

from ..hub import load_state_dict_from_url

load_url = load_state_dict_from_url

__all__ = ["load_state_dict_from_url", "load_url"]
