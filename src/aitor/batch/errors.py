"""
What ends a batch before its time.

A row that fails is a record in the output and ends nothing. These end the run: the
input is wrong, the disk is, or nobody is there to ask. All leave what is stored intact,
and the same command goes on from there.
"""

from aitor.errors import LLMError

__all__ = ("InputError", "StorageError", "UnreachableError")


class InputError(LLMError, ValueError):
    """
    The input contradicts itself, or what an earlier run has stored.

    Rows that came before it may have been sent; what they brought is stored.
    """


class StorageError(LLMError):
    """
    Journal or output cannot be written: the disk is full, gone, or read-only.

    The rows in flight were given up, so what they cost may be paid again.
    """


class UnreachableError(LLMError):
    """
    No provider was ever reached: wrong addresses, no network, or dead keys.

    No row was answered, and none has failed.
    """
