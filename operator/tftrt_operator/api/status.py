"""What the operator reports: conditions after kstatus, the engine that serves, and where to reach it."""

from enum import StrEnum
from typing import Literal

from pydantic import Field

from .schema import ApiModel, list_type


class ConditionType(StrEnum):
    """The conditions. Reconciling and Stalled are present only when true, and never together (kstatus)."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    CONVERTED = "Converted"
    VERIFIED = "Verified"
    AVAILABLE = "Available"
    SCALING_ACTIVE = "ScalingActive"
    """Present only with serving.autoscaling: what its HorizontalPodAutoscaler says."""


class Condition(ApiModel):
    """A condition, as metav1.Condition."""

    type: str = Field(max_length=316)
    status: Literal["True", "False", "Unknown"]
    observed_generation: int | None = None
    last_transition_time: str = Field(json_schema_extra={"format": "date-time"})
    reason: str = Field(max_length=1024)
    message: str = Field(default="", max_length=32768)


class Device(ApiModel):
    """The device that the conversion Job saw."""

    name: str = ""
    compute_capability: str = ""
    memory: str | None = Field(default=None, description="Total device memory, a quantity.")
    driver: str = ""


class Versions(ApiModel):
    """The versions that built the engines."""

    tensorflow: str = ""
    tensorrt: str = ""
    runtime: str = ""


class MeasuredMemory(ApiModel):
    """GPU memory of one server, as the converter measured it; quantities."""

    weights: str = ""
    peak: str = Field(default="", description="The most that TensorFlow's pool held at the largest batch.")
    overhead: str = Field(default="", description="What the process takes outside the pool.")


class Latency(ApiModel):
    """The median of one call at a time at the largest batch, input and answers on the host."""

    native_microseconds: int = Field(description="The unconverted model, as TensorFlow runs it by default.")
    converted_microseconds: int


class ConversionStatus(ApiModel):
    """The conversion of the current spec."""

    job_name: str | None = None
    attempt: int | None = Field(default=None, description="1 for the first try.")
    started_at: str | None = Field(default=None, json_schema_extra={"format": "date-time"})
    finished_at: str | None = Field(default=None, json_schema_extra={"format": "date-time"})
    reason: str | None = Field(default=None, description="Why the model was, or has to be, converted.")
    device: Device | None = None
    versions: Versions | None = None
    engines: int | None = Field(default=None, description="TensorRT engines in the converted graph.")
    converted_ops: int | None = Field(default=None, description="Operations that run in TensorRT.")
    total_ops: int | None = Field(default=None, description="Operations in the graph.")
    converted_share: str | None = Field(default=None, description="Share of the operations that run in TensorRT.")
    source_digest: str | None = None
    top1_agreement: str | None = Field(default=None, description="Share of classes that are the same as before.")
    max_relative_error: str | None = Field(
        default=None, description="Largest difference to the unconverted model, relative to an output's largest value."
    )
    max_channel_error: str | None = Field(
        default=None, description="The same, relative to the largest value of its place in the last dimension."
    )
    larger_input_error: str | None = Field(
        default=None, description="As maxRelativeError, of made-up input up to 255 instead of up to 1."
    )
    larger_input_gone: str | None = Field(
        default=None,
        description="Share of an output that, of made-up input up to 255, is finite in the unconverted model alone.",
    )
    equal_elements: str | None = Field(
        default=None, description="Share of whole numbers, texts and truths that are the same as before."
    )
    compared_on: str | None = Field(
        default=None, description="What these are measured on: a URI, or made-up input. Absent where nothing was."
    )
    speedup: str | None = Field(
        default=None,
        description="How many times as many items a second as the unconverted model at the largest batch, as a client"
        " can have it: input and answers on the host, as many calls at a time as a server has under way. Absent where"
        " the record is of an older converter, which told of the device alone.",
    )
    speedup_on_device: str | None = Field(
        default=None,
        description="The same with the input on the device already, one call at a time: what the engine does, and what"
        " no client over the network has.",
    )
    latency: Latency | None = None
    memory: MeasuredMemory | None = None
    artifact: str | None = Field(default=None, description="URI of the artifact.")
    report_uri: str | None = Field(default=None, description="URI of report.html.")


MOST_TENSORS = 32
"""Longer signatures are in the report, and in the model's metadata."""
MOST_NAME = 253


class ServedTensor(ApiModel):
    """A tensor of a request or an answer, as the Open Inference Protocol has it."""

    name: str = Field(max_length=MOST_NAME)
    datatype: str = Field(max_length=16)
    shape: tuple[int, ...] = Field(
        max_length=33,
        description="The batch first, where batching.reason is not NoBatches; -1 is any size.",
        json_schema_extra=list_type("atomic"),
    )
    source: str | None = Field(
        default=None,
        max_length=MOST_NAME,
        description="What the model itself calls it, where it cannot be served under that name.",
    )


class Batching(ApiModel):
    """Whether several requests may become one call of the model."""

    mode: Literal["Dynamic", "Disabled"] = Field(
        description="Dynamic: requests that wait are put together. Disabled: one request is one call."
    )
    reason: str = Field(max_length=64)
    message: str = Field(default="", max_length=1024)


class ServingStatus(ApiModel):
    """The Deployment that answers."""

    fingerprint: str | None = None
    memory_fraction: str | None = Field(default=None, description="per_process_gpu_memory_fraction of each pod.")
    memory_limit: str | None = Field(default=None, description="What the fraction is of the device, a quantity.")
    replicas: int | None = None
    ready_replicas: int | None = None
    url: str | None = Field(default=None, description="The model in the Open Inference Protocol.")
    batching: Batching | None = None
    inputs: tuple[ServedTensor, ...] | None = Field(
        default=None,
        max_length=MOST_TENSORS,
        description="What a request has; absent where the signature is longer than fits here.",
        json_schema_extra=list_type("atomic"),
    )
    outputs: tuple[ServedTensor, ...] | None = Field(
        default=None,
        max_length=MOST_TENSORS,
        description="What an answer has; absent where the signature is longer than fits here.",
        json_schema_extra=list_type("atomic"),
    )


class TRTModelStatus(ApiModel):
    """What the operator saw and did."""

    observed_generation: int | None = None
    conditions: tuple[Condition, ...] = Field(default=(), max_length=16, json_schema_extra=list_type("map", "type"))
    fingerprint: str | None = Field(default=None, description="Fingerprint of the engine being served.")
    conversion: ConversionStatus | None = None
    serving: ServingStatus | None = None
    replicas: int | None = Field(default=None, description="For the scale subresource.")
    selector: str | None = Field(default=None, description="For the scale subresource.")

    def condition(self, kind: ConditionType) -> Condition | None:
        """Return the condition of that type, or None."""
        return next((condition for condition in self.conditions if condition.type == kind), None)
