"""What interpreters started by a program under ``python -m flambeau run`` import as torch.

This folder is the first entry of their ``PYTHONPATH``: `torch.py` installs the stand-in, and the metadata beside it is
for programs that ask for the version of torch before they import it.
"""
