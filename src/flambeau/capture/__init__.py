"""Capture: inside a compiled function, operations are noted instead of run, and run together at a flush.

`graph` is the intermediate representation, `pending` the stand-in for an array that is not computed yet, `trie` the
memory of sequences seen before, `recorder` the interpreter that notes operations, `program` what runs a graph.
"""
