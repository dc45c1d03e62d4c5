"""Moved to storage/claims.py."""

from tftrt_runtime.storage.claims import claim_root as claim_root
from tftrt_runtime.storage.claims import folder as folder
