"""The CPU kernel engine: code generated with LLVM for arrays, below the `Tensor` class.

Nothing here is imported by ``import flambeau``; llvmlite loads when the first kernel is built.
"""
