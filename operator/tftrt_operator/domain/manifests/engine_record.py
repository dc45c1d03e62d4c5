"""The engine record's ConfigMap."""

from collections.abc import Sequence

from ...api.trtmodel import OwnerReference, TRTModel
from ..manifest import Manifest
from ..record import RECORD_KEY, EngineRecord, record_text
from . import names


def engine_record(model: TRTModel, record: EngineRecord, owners: Sequence[OwnerReference]) -> Manifest:
    """Return the immutable ConfigMap of a record, which goes when the last of its owners goes."""
    return Manifest(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": record.key.record_name,
                "namespace": model.metadata.namespace,
                "labels": {
                    "app.kubernetes.io/name": "trtmodel",
                    names.COMPONENT: names.RECORD,
                    names.MANAGED_BY: names.OPERATOR,
                    names.ENGINE: record.key.engine,
                    names.EVIDENCE: record.key.evidence,
                    names.FINGERPRINT: record.key.fingerprint,
                },
                "ownerReferences": [names.owner(reference) for reference in owners],
            },
            "immutable": True,
            "data": {RECORD_KEY: record_text(record)},
        }
    )
