"""OpenMP: threads come from flambeau.runtime."""


def is_available() -> bool:
    """False."""
    return False
