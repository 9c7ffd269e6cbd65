"""Proof that two implementations of a neural network are the same function.

Importing this package imports neither torch nor any model code: the parent process compares plain data only.
"""

__version__ = "0.1.0"
