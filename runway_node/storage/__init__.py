"""Stores: buckets and shared folders that hold files for several machines. Nothing here knows orders or providers.

A store is named by text: `s3://bucket/prefix`, `gs://…`, `az://…` (the extra `runway-node[storage]`, whose library
reads its own credentials), or a folder's absolute path. No name holds a key, and no error a signed link.
"""

from .base import Facts, Missing, Store, Taken
from .carry import deliver, fetch, is_remote, open_store, split, suffix_of

__all__ = [
    "Facts",
    "Missing",
    "Store",
    "Taken",
    "deliver",
    "fetch",
    "is_remote",
    "open_store",
    "split",
    "suffix_of",
]
