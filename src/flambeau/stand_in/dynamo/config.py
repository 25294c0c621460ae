"""``torch._dynamo.config``: settings without effect."""

import sys

from ..compiler_settings import Settings

sys.modules[__name__].__class__ = Settings
