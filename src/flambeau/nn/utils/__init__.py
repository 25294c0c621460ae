"""Helpers for training: gradient clipping, flat parameter vectors, sequences of different lengths."""
