"""The engine record: the evidence of a conversion that outlives its Job.

It is an immutable ConfigMap that each TRTModel using the engine owns. The operator decides from the spec, the records
and what exists, never from its own status.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

from pydantic import ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from ..api.schema import ApiModel
from .fingerprint import EngineInputs, told

T = TypeVar("T")
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
    uri: str | None = None
    """Of the data; None where it was made up."""


class ReportedMemory(_Report):
    """GPU memory of one server, in bytes, from a fresh process that ran the largest batch."""

    weights_bytes: int
    peak_bytes: int
    overhead_bytes: int


class ReportedBenchmark(_Report):
    """One call at a time at the largest batch, input on the device; native is TensorFlow as it runs by default."""

    batch_size: int
    converted_p50_microseconds: int
    native_p50_microseconds: int
    speedup: str


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
    benchmark: ReportedBenchmark | None = None
    report_uri: str | None = None
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
    """One engine in one store, and the data that it is verified on: what a Job is for, and what a record is about."""

    fingerprint: str
    store: str
    verification_uri: str | None = None
    """As it is told (`told_uri`); None is input that the converter makes up."""

    @property
    def engine(self) -> str:
        """20 hex digits that stand for the engine in its store, as a label's value."""
        return _digest(self.fingerprint, self.store)

    @property
    def evidence(self) -> str:
        """20 hex digits that stand for the engine as it is verified on this data."""
        return self.engine if self.verification_uri is None else _digest(self.engine, self.verification_uri)

    @property
    def record_name(self) -> str:
        """The record's name: every TRTModel of the namespace with this engine and data comes to the same one."""
        return f"tftrt-{self.evidence}"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:20]


@dataclass(frozen=True, slots=True)
class EngineRecord:
    """A finished conversion: what went in, and what the converter measured."""

    key: EngineKey
    inputs: EngineInputs
    summary: Summary
    reason: str | None = None
    """Why there had to be a conversion. None in a record of an operator that did not keep it; so are those below."""
    job_name: str | None = None
    attempt: int | None = None
    secret_name: str | None = None
    """The Secret that the artifact was stored with, "" for none: whoever deletes it needs the same."""


def record_text(record: EngineRecord) -> str:
    """Return the record as the JSON text that its ConfigMap holds."""
    return json.dumps(
        {
            "version": RECORD_VERSION,
            "fingerprint": record.key.fingerprint,
            "store": record.key.store,
            "verificationUri": record.key.verification_uri,
            "inputs": asdict(told(record.inputs)),
            "summary": record.summary.model_dump(by_alias=True, mode="json"),
            "reason": record.reason,
            "jobName": record.job_name,
            "attempt": record.attempt,
            "secretName": record.secret_name,
        },
        sort_keys=True,
    )


def parse_record(text: str) -> EngineRecord:
    """Parse the text of a record. Inputs that a newer operator added are passed over, as a rollback meets them.

    Raises:
        ValueError: the text is no record of a version that this operator reads.
    """
    try:
        data = json.loads(text)
        if data["version"] != RECORD_VERSION:
            raise ValueError(f"record version {data['version']!r} is unknown")
        known = {field.name for field in fields(EngineInputs)}
        return EngineRecord(
            key=EngineKey(data["fingerprint"], data["store"], data.get("verificationUri")),
            inputs=EngineInputs(**{name: _frozen(value) for name, value in data["inputs"].items() if name in known}),
            summary=Summary.model_validate(data["summary"]),
            reason=_kept(data, "reason", str),
            job_name=_kept(data, "jobName", str),
            attempt=_kept(data, "attempt", int),
            secret_name=_kept(data, "secretName", str),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not an engine record: {error}") from error


def misfit(record: EngineRecord, namespace: str, name: str) -> str:
    """Return why a record of that name cannot be of its engine, "" where it can be.

    What is served is what a record names: it has to lie where its engine's artifacts lie, and nowhere else.
    """
    key, summary = record.key, record.summary
    if name != key.record_name:
        return f"a record of this engine is called {key.record_name}"
    if summary.fingerprint != key.fingerprint:
        return f"its summary is of engine {summary.fingerprint[:8]}, and it of {key.fingerprint[:8]}"
    folder, product = f"{key.store}/{namespace}/{key.fingerprint}/", summary.artifact.rpartition("/")[2]
    if summary.artifact != folder + product or product in ("", ".", ".."):
        return f"its artifact is not in {folder}"
    return ""


def _kept(data: dict[str, Any], name: str, kind: type[T]) -> T | None:
    """Return what an older operator did not write, and anyone may have written otherwise."""
    value = data.get(name)
    return value if isinstance(value, kind) and not isinstance(value, bool) else None


def _frozen(value: Any) -> Any:
    """Return JSON's lists as the tuples that they were."""
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value
