"""The engine record: the evidence of a conversion that outlives its Job.

It is an immutable ConfigMap that each TRTModel using the engine owns. The operator decides from the spec, the records
and what exists, never from its own status.

Whoever may write ConfigMaps may write a record, and what runs a model's graph may write a termination message. What
they say stands in columns, conditions and manifests, so that each part has the bounds of what the converter sends.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeVar
from weakref import WeakValueDictionary

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import from_json

from ..api.schema import ApiModel
from ..api.storage import STORE_PATTERN, SecretName
from .fingerprint import EngineInputs, told

T = TypeVar("T")
RECORD_KEY = "record.json"
RECORD_VERSION = 1
MADE_UP = "made-up input"


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be printable")
    return text


def _time(text: str) -> str:
    datetime.fromisoformat(text)
    return text


_Printable = AfterValidator(_printable)
_Word = Annotated[str, Field(max_length=64, pattern=r"^([A-Za-z0-9][-A-Za-z0-9_.+]*)?$")]
_Folder = Annotated[str, Field(max_length=253, pattern=r"^[A-Za-z0-9][-A-Za-z0-9_.]*$")]
_Label = Annotated[str, Field(max_length=256), _Printable]
_Uri = Annotated[str, Field(max_length=2048), _Printable]
_StoredUri = Annotated[_Uri, Field(pattern=STORE_PATTERN)]
_Fingerprint = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
_Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
# The converter writes no exponents: the largest numbers have 309 digits, the smallest more than that behind the point.
_Decimal = Annotated[
    str,
    Field(max_length=400, pattern=r"^(-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?|-?([Ii]nf|Infinity)|nan|NaN)$"),
]
_Time = Annotated[
    str,
    Field(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?"
        r"(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
    ),
    AfterValidator(_time),
]
_Count = Annotated[int, Field(ge=0, le=2**63 - 1)]
# A server asks for several times the artifact's size, and a quantity ends at 2**63.
_ArtifactBytes = Annotated[int, Field(ge=0, le=2**60)]
_BatchSize = Annotated[int, Field(ge=1, le=4096)]
_Dimension = Annotated[int, Field(ge=-1, le=2**31 - 1)]


class _Report(ApiModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore")


class Tensor(_Report):
    """An input or output of the served model; dtype in Triton's names, -1 for an open dimension."""

    name: _Uri
    dtype: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9]{0,15}$")]
    shape: Annotated[tuple[_Dimension, ...], Field(max_length=32)]
    source: _Uri | None = None
    """What the model itself calls it, where that is another name."""


_Tensors = Annotated[tuple[Tensor, ...], Field(max_length=1024)]


class ReportedDevice(_Report):
    """The device that the conversion saw; memory in bytes."""

    name: _Label
    compute_capability: _Word = ""
    memory_bytes: Annotated[int, Field(ge=1, le=2**63 - 1)] | None = None
    driver: _Word = ""


class ReportedVersions(_Report):
    """The versions that built the engines."""

    tensorflow: _Word
    tensorrt: _Word = ""
    runtime: _Word


class ReportedVerification(_Report):
    """How the converted model's answers compare with the unconverted one's; decimals, None where not measurable.

    An older converter tells of less.
    """

    samples: _Count
    top1_agreement: _Decimal | None = None
    max_relative_error: _Decimal | None = None
    uri: _Uri | None = None
    """Of the data; None where it was made up."""
    max_channel_error: _Decimal | None = None
    larger_input_error: _Decimal | None = None
    """Of made-up input up to 255, where the other figures are of input up to 1."""
    larger_input_gone: _Decimal | None = None
    """The share of an output that is not finite there, where the unconverted model's is."""
    equal_elements: _Decimal | None = None
    """The share of whole numbers, texts and truths that are the same."""
    not_finite: _Decimal | None = None
    """The share of an output's values that are so in both models; 1 where there is nothing to compare."""
    not_a_number: _Decimal | None = None
    """The share of an output's values that are NaN in both models."""
    not_compared: _Word | None = None
    """Why nothing was compared: AnswersDiffer."""


class ReportedMemory(_Report):
    """GPU memory of one server, in bytes, from a fresh process that ran the largest batch."""

    weights_bytes: _Count
    peak_bytes: _Count
    overhead_bytes: _Count


class ReportedBenchmark(_Report):
    """How fast it is at the largest batch; native is TensorFlow as it runs by default. `speed` says of whom this is.

    An older converter tells of medians and their quotient alone: those that have a default are None.
    """

    batch_size: _BatchSize
    converted_p50_microseconds: _Count
    native_p50_microseconds: _Count
    """Of one call at a time."""
    speedup: _Decimal
    input: _Word | None = None
    """Where it is before a call: Host."""
    in_flight: Annotated[int, Field(ge=1, le=4096)] | None = None
    """How many calls at a time the speed-up is of."""
    converted_items_per_second: _Decimal | None = None
    native_items_per_second: _Decimal | None = None
    speedup_on_device: _Decimal | None = None
    """Of one call at a time with its input on the device already."""


class ReportedBatching(_Report):
    """Whether a server may put requests together, by what the unconverted model was asked."""

    mode: Literal["Dynamic", "Disabled"]
    reason: _Word
    message: Annotated[str, Field(max_length=512), _Printable]


class ReportedSignature(_Report):
    """A signature that is too long to be told: what stands for it."""

    sample_bytes: _ArtifactBytes
    texts: bool
    """Whether a request has any."""


class Summary(_Report):
    """What `tftrt publish` leaves in its termination message."""

    result: _Word
    fingerprint: _Fingerprint
    build: _Folder
    product: _Folder
    artifact: _StoredUri
    source_digest: _Digest
    device: ReportedDevice
    versions: ReportedVersions
    engines: _Count
    converted_ops: _Count
    total_ops: _Count
    batch_sizes: Annotated[tuple[_BatchSize, ...], Field(min_length=1, max_length=4096)]
    inputs: _Tensors | None = None
    """None where the signature is too long for a termination message; the artifact's manifest has it."""
    outputs: _Tensors | None = None
    signature: ReportedSignature | None = None
    """What stands for the two of them where they are None; older converters left nothing."""
    left_out: tuple[_Uri, ...] | None = Field(default=(), max_length=1024)
    """Outputs of the model that are not of an item and are not served; None where they are too many to be told."""
    batched: bool = True
    """Whether the first dimension of every tensor is the batch's; if not, a request is a call of the model as it is."""
    artifact_bytes: _ArtifactBytes
    verification: ReportedVerification | None = None
    memory: ReportedMemory | None = None
    benchmark: ReportedBenchmark | None = None
    batching: ReportedBatching | None = None
    """None where the largest batch is one item, and where an older converter did not look."""
    report_uri: _StoredUri | None = None
    started_at: _Time
    finished_at: _Time


def parse_summary(termination_message: str, folder: str) -> Summary | None:
    """Return the summary in a termination message, or None where there is none.

    What does not fit into a message is left out of it, and told again here: `folder` is where in the store the engine's
    artifacts lie, each below its product.
    """
    try:
        told = from_json(termination_message)
        return Summary.model_validate(_whole(told, folder) if isinstance(told, dict) else told)
    except ValueError:
        return None


def _whole(told: dict[str, Any], folder: str) -> dict[str, Any]:
    """Return a summary with what follows from the rest of it: tftrt_runtime/contract/termination.py leaves it out."""
    product, device, report = told.get("product"), told.get("device"), told.get("reportUri")
    found = dict(told)
    if told.get("artifact") is None:
        found["artifact"] = f"{folder}/{product}"
    if isinstance(report, str) and report.startswith("builds/"):
        found["reportUri"] = f"{found['artifact']}/{report}"
    if isinstance(device, dict) and device.get("name") == "":
        found["device"] = {**device, "name": product}
    return found


@dataclass(frozen=True, slots=True)
class EngineKey:
    """One engine in one store, and how it is verified: what a Job is for, and what a record is about."""

    fingerprint: str
    store: str
    verification_uri: str | None = None
    """As it is told (`told_uri`); None is input that the converter makes up."""
    top1_output: str | None = None
    """The output of classes, where the spec names one."""

    @property
    def engine(self) -> str:
        """20 hex digits that stand for the engine in its store, as a label's value."""
        return _digest(self.fingerprint, self.store)

    @property
    def evidence(self) -> str:
        """20 hex digits that stand for the engine as it is verified on this data, for these classes."""
        if self.top1_output is not None:
            return _digest(self.engine, self.verification_uri or "", self.top1_output)
        return self.engine if self.verification_uri is None else _digest(self.engine, self.verification_uri)

    @property
    def verified_on(self) -> str:
        """What the engine is verified on, in words."""
        classes = f", with the classes of {self.top1_output}" if self.top1_output is not None else ""
        return f"{self.verification_uri or MADE_UP}{classes}"

    @property
    def record_name(self) -> str:
        """The record's name: every TRTModel of the namespace with this engine and data comes to the same one."""
        return f"tftrt-{self.evidence}"


@lru_cache(maxsize=4096)
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


_INPUTS = TypeAdapter(EngineInputs)
_TEXT = TypeAdapter(str)
_TEXT_OR_NONE = TypeAdapter(str | None)
_JOB_NAME = TypeAdapter(Annotated[str, Field(max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")])
_ATTEMPT = TypeAdapter(Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)])
_SECRET_NAME = TypeAdapter(SecretName)


def record_text(record: EngineRecord) -> str:
    """Return the record as the JSON text that its ConfigMap holds."""
    return json.dumps(
        {
            "version": RECORD_VERSION,
            "fingerprint": record.key.fingerprint,
            "store": record.key.store,
            "verificationUri": record.key.verification_uri,
            "top1Output": record.key.top1_output,
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
        data = from_json(text)  # which takes no half characters and no depths, unlike json
        if data["version"] != RECORD_VERSION:
            raise ValueError(f"record version {data['version']!r} is unknown")
        return EngineRecord(
            key=EngineKey(
                _TEXT.validate_python(data["fingerprint"]),
                _TEXT.validate_python(data["store"]),
                _TEXT_OR_NONE.validate_python(data.get("verificationUri")),
                _TEXT_OR_NONE.validate_python(data.get("top1Output")),
            ),
            inputs=_INPUTS.validate_python(data["inputs"]),
            summary=_with_shared_parts(Summary.model_validate(data["summary"])),
            reason=_kept(data, "reason", _TEXT),
            job_name=_kept(data, "jobName", _JOB_NAME),
            attempt=_kept(data, "attempt", _ATTEMPT),
            secret_name=_kept(data, "secretName", _SECRET_NAME),
        )
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or first["type"]
        raise ValueError(f"not an engine record: {where}: {first['msg']}") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not an engine record: {error}") from error


_NAMES = set(Summary.model_fields)
_SHARED: WeakValueDictionary[tuple[type, str], _Report] = WeakValueDictionary()


def _with_shared_parts(summary: Summary) -> Summary:
    """Return the summary with parts that it shares with others: there are few devices, versions and signatures."""
    parts: dict[str, Any] = {name: _shared(part) for name, part in summary if isinstance(part, _Report)}
    for name in ("inputs", "outputs"):
        if (tensors := getattr(summary, name)) is not None:
            parts[name] = tuple(map(_shared, tensors))
    return Summary.model_construct(_NAMES, **dict(summary) | parts)


def _shared(part: _Report) -> _Report:
    return _SHARED.setdefault((type(part), part.model_dump_json()), part)


def artifacts_folder(key: EngineKey, namespace: str) -> str:
    """Return where in its store an engine's artifacts lie, each below its product."""
    return f"{key.store}/{namespace}/{key.fingerprint}"


def misfit(record: EngineRecord, namespace: str, name: str) -> str:
    """Return why a record of that name cannot be of its engine, "" where it can be.

    What is served is what a record names: it has to lie where its engine's artifacts lie, and nowhere else.
    """
    key, summary = record.key, record.summary
    if name != key.record_name:
        return f"a record of this engine is called {key.record_name}"
    if summary.fingerprint != key.fingerprint:
        return f"its summary is of engine {summary.fingerprint[:8]}, and it of {key.fingerprint[:8]}"
    folder, product = artifacts_folder(key, namespace), summary.artifact.rpartition("/")[2]
    if summary.artifact != f"{folder}/{product}" or product in ("", ".", ".."):
        return f"its artifact is not in {folder}/"
    return ""


def _kept(data: dict[str, Any], name: str, kind: TypeAdapter[T]) -> T | None:
    """Return what an older operator did not write, and anyone may have written otherwise."""
    try:
        return kind.validate_python(data.get(name))
    except ValidationError:
        return None
