"""`RemovableHandle`, what the registration of a hook returns: `flambeau.utils.hooks`."""

from ..core.tape import RemovableHandle

__all__ = ["RemovableHandle"]
