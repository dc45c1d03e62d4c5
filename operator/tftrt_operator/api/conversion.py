"""How the model is converted, and how the conversion Job runs."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from .kubernetes import ResourceRequirements
from .quantity import Quantity
from .schema import ApiModel, list_type, rules


class Precision(StrEnum):
    """The precision mode that TensorRT may choose kernels of; names as in `trt_convert.TrtPrecisionMode`."""

    FP32 = "FP32"
    FP16 = "FP16"


BatchSize = Annotated[int, Field(ge=1, le=4096)]


class Conversion(ApiModel):
    """What the engines are built for."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": rules(
            (
                "!has(self.batchSizes) || self.batchSizes.exists(size, size == self.maxBatchSize)",
                "batchSizes must contain maxBatchSize: it is the largest batch an engine is built for",
            ),
            (
                "!has(self.batchSizes) || self.batchSizes.all(size, size <= self.maxBatchSize)",
                "no entry of batchSizes may be larger than maxBatchSize: raise maxBatchSize or drop the entry",
            ),
        )
    }

    precision: Precision = Field(
        default=Precision.FP32, description="TensorRT's precision mode. FP16 needs a runtime with a GPU."
    )
    max_workspace_size: Quantity = Field(
        default="1Gi",
        description="Device memory that TensorRT may use as scratch space; becomes max_workspace_size_bytes.",
        json_schema_extra=rules(
            ("quantity(string(self)).isGreaterThan(quantity('0'))", "must be more than 0, for example 1Gi")
        ),
    )
    max_batch_size: BatchSize = Field(default=1, description="The largest batch that is served.")
    batch_sizes: tuple[BatchSize, ...] | None = Field(
        default=None,
        min_length=1,
        max_length=16,
        description="Batch sizes that engines are built and warmed for. Default: 1 and maxBatchSize.",
        json_schema_extra=list_type("set"),
    )
    minimum_segment_size: int = Field(
        default=3,
        ge=1,
        le=10_000,
        description="Fewer operations in a row than this stay with TensorFlow. Without effect where there is no GPU.",
    )
    retries: int = Field(
        default=3, ge=0, le=20, description="How often a passing fault (eviction, lost node, network) is tried again."
    )
    deadline_seconds: int = Field(
        default=3600,
        ge=60,
        le=86400,
        description="How long one attempt may run, in seconds. Waiting for a GPU is not counted.",
    )
    queue: str = Field(
        default="",
        max_length=63,
        pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$",
        description="A Kueue LocalQueue. The Job then starts suspended, and Kueue admits it.",
    )
    resources: ResourceRequirements = Field(
        default_factory=ResourceRequirements, description="CPU and memory of the converting container."
    )

    def built_batch_sizes(self) -> tuple[int, ...]:
        """Return the batch sizes to build, ascending, without duplicates."""
        return tuple(sorted(set(self.batch_sizes or (1, self.max_batch_size))))
