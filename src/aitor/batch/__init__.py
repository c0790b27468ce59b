"""
Batches: JSONL in, JSONL out, safe against crashes.

    summary = await run_batch(broker, "in.jsonl", "out.jsonl")

Rows go through a broker as it has room for them. Each record is stored before it
counts, so the same call goes on where the last one ended, whatever ended it.
"""

from aitor.batch.errors import InputError, StorageError, UnreachableError
from aitor.batch.identity import identity
from aitor.batch.run import run_batch
from aitor.batch.summary import Served, Summary
from aitor.broker.prices import Prices

__all__ = (
    "InputError",
    "Prices",
    "Served",
    "StorageError",
    "Summary",
    "UnreachableError",
    "identity",
    "run_batch",
)
