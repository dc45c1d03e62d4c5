"""The engine record: the evidence of a conversion that outlives its Job.

It is an immutable ConfigMap that each TRTModel using the engine owns. The operator decides from the spec, the records
and what exists, never from its own status.
"""

import hashlib
import json
from dataclasses import asdict, dataclass

from pydantic import ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from ..api.schema import ApiModel
from .fingerprint import EngineInputs

RECORD_KEY = "record.json"
RECORD_VERSION = 1


class _Report(ApiModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore")


class Tensor(_Report):
    """An input or output of the served model; dtype in Triton's names, -1 for an open dimension."""

    name: str
    dtype: str
    shape: tuple[int, ...]


class ReportedDevice(_Report):
    """The device that the conversion saw; memory in bytes."""

    name: str
    compute_capability: str = ""
    memory_bytes: int | None = None
    driver: str = ""


class ReportedVersions(_Report):
    """The versions that built the engines."""

    tensorflow: str
    tensorrt: str = ""
    runtime: str


class ReportedVerification(_Report):
    """How the converted model's answers compare with the unconverted one's; decimals, None where not measurable."""

    samples: int
    top1_agreement: str | None = None
    max_relative_error: str | None = None


class ReportedMemory(_Report):
    """GPU memory of one server, in bytes, from a fresh process that ran the largest batch."""

    weights_bytes: int
    peak_bytes: int
    overhead_bytes: int


class Summary(_Report):
    """What `tftrt publish` leaves in its termination message."""

    result: str
    fingerprint: str
    build: str
    product: str
    artifact: str
    source_digest: str
    device: ReportedDevice
    versions: ReportedVersions
    engines: int
    converted_ops: int
    total_ops: int
    batch_sizes: tuple[int, ...]
    inputs: tuple[Tensor, ...] | None = None
    """None where the signature is too long for a termination message; the artifact's manifest has it."""
    outputs: tuple[Tensor, ...] | None = None
    artifact_bytes: int
    verification: ReportedVerification | None = None
    memory: ReportedMemory | None = None
    started_at: str
    finished_at: str


def parse_summary(termination_message: str) -> Summary | None:
    """Return the summary in a termination message, or None where there is none."""
    try:
        return Summary.model_validate_json(termination_message)
    except ValidationError:
        return None


@dataclass(frozen=True, slots=True)
class EngineKey:
    """One engine in one store: what a Job is for, and what a record is about."""

    fingerprint: str
    store: str

    @property
    def digest(self) -> str:
        """20 hex digits that stand for both, as label value and in names."""
        return hashlib.sha256(f"{self.fingerprint}\n{self.store}".encode()).hexdigest()[:20]

    @property
    def record_name(self) -> str:
        """The record's name: every TRTModel of the namespace with this engine comes to the same one."""
        return f"tftrt-{self.digest}"


@dataclass(frozen=True, slots=True)
class EngineRecord:
    """A finished conversion: what went in, and what the converter measured."""

    key: EngineKey
    inputs: EngineInputs
    summary: Summary


def record_text(record: EngineRecord) -> str:
    """Return the record as the JSON text that its ConfigMap holds."""
    return json.dumps(
        {
            "version": RECORD_VERSION,
            "fingerprint": record.key.fingerprint,
            "store": record.key.store,
            "inputs": asdict(record.inputs),
            "summary": record.summary.model_dump(by_alias=True, mode="json"),
        },
        sort_keys=True,
    )


def parse_record(text: str) -> EngineRecord:
    """Parse the text of a record.

    Raises:
        ValueError: the text is no record of a version that this operator reads.
    """
    try:
        data = json.loads(text)
        if data["version"] != RECORD_VERSION:
            raise ValueError(f"record version {data['version']!r} is unknown")
        inputs = dict(data["inputs"], batch_sizes=tuple(data["inputs"]["batch_sizes"]))
        return EngineRecord(
            key=EngineKey(data["fingerprint"], data["store"]),
            inputs=EngineInputs(**inputs),
            summary=Summary.model_validate(data["summary"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"not an engine record: {error}") from error
