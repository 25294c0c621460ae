"""The order of contractions in `flambeau.einsum`: chosen by einsum itself."""

enabled = True
strategy = "auto"


def is_available() -> bool:
    """False: the package opt_einsum is not used."""
    return False
