"""How the model is converted, and how the conversion Job runs."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from .kubernetes import ResourceRequirements
from .network import JobNetworkPolicy
from .pods import Pods
from .quantity import Quantity
from .schema import ApiModel, list_type, rules
from .served_inputs import ServedInput
from .storage import SecretName, SourceUri, secret_name, secret_rules


class Precision(StrEnum):
    """The precision mode that TensorRT may choose kernels of; names as in `trt_convert.TrtPrecisionMode`."""

    FP32 = "FP32"
    FP16 = "FP16"
    INT8 = "INT8"


class DynamicShapes(StrEnum):
    """How engines cover a range of shapes; names as in `trt_convert`'s `dynamic_shape_profile_strategy`."""

    RANGE = "Range"
    OPTIMAL = "Optimal"
    RANGE_OPTIMAL = "Range+Optimal"


MOST_NAME = 512
"""The most characters of an input's name."""

BatchSize = Annotated[int, Field(ge=1, le=4096)]
Sizes = Annotated[
    tuple[Annotated[int, Field(ge=1, le=2**31 - 1)], ...],
    Field(min_length=1, max_length=7, json_schema_extra=list_type("atomic")),
]


class ShapeRange(ApiModel):
    """The sizes of an input's dimensions, all but the batch's."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": rules(
            (
                "self.min.size() == self.opt.size() && self.opt.size() == self.max.size()",
                "min, opt and max must have the same number of dimensions: all of the input's but the batch's",
            ),
            (
                # One by one: Kubernetes before 1.33 knows no comprehension over two lists.
                "[0, 1, 2, 3, 4, 5, 6].all(i, i >= self.min.size() || i >= self.opt.size() || i >= self.max.size()"
                " || (self.min[i] <= self.opt[i] && self.opt[i] <= self.max[i]))",
                "min <= opt <= max must hold in every dimension",
            ),
        )
    }

    min: Sizes = Field(description="The least that is asked for.")
    opt: Sizes = Field(description="The usual: what engines are tuned for, and what is measured.")
    max: Sizes = Field(description="The most that is asked for.")


class Calibration(ApiModel):
    """The data that the ranges of INT8 are measured on."""

    model_config = ApiModel.model_config | {"json_schema_extra": rules(*secret_rules("uri"))}

    uri: SourceUri = Field(description="A file or a folder: .npz, .npy or TFRecord, as docs/data.md describes.")
    secret_name: SecretName = secret_name("the data")
    samples: int = Field(default=512, ge=1, le=1_000_000, description="How many samples to take.")
    batch_size: BatchSize = Field(default=8, description="How many at a time.")


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
            (
                "!has(self.calibration) || (has(self.precision) && self.precision == 'INT8')",
                "calibration is for INT8: set precision to INT8 or drop it",
            ),
            (
                "!has(self.calibration) || self.calibration.batchSize <= self.calibration.samples",
                "calibration.batchSize must not be larger than calibration.samples: no batch would be full",
            ),
            (
                "has(self.dynamicShapes) || !has(self.inputShapes)"
                " || self.inputShapes.all(name, self.inputShapes[name].min == self.inputShapes[name].max)",
                "inputShapes with a range need dynamicShapes: set it, or min, opt and max to the same sizes",
            ),
            (
                f"!has(self.inputs) || self.inputs.all(name, name.size() > 0 && name.size() <= {MOST_NAME})",
                f"a name in inputs is that of an input, as it is served: of 1 to {MOST_NAME} characters",
            ),
        )
    }

    precision: Precision = Field(
        default=Precision.FP32, description="TensorRT's precision mode. FP16 and INT8 need a runtime with a GPU."
    )
    max_workspace_size: Quantity = Field(
        default="1Gi",
        description="Device memory that TensorRT may use as scratch space; becomes max_workspace_size_bytes.",
        json_schema_extra=rules(
            ("quantity(string(self)).isGreaterThan(quantity('0'))", "must be more than 0, for example 1Gi")
        ),
    )
    max_batch_size: BatchSize = Field(
        default=1,
        description="The largest batch that is served; without effect on a model that takes none, as"
        " status.serving.batching says.",
    )
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
    dynamic_shapes: DynamicShapes | None = Field(
        default=None,
        description="Have one engine take a range of shapes, by this profile strategy, instead of one for each shape.",
    )
    input_shapes: dict[str, ShapeRange] = Field(
        default_factory=dict,
        max_length=16,
        description="By input: the sizes of its dimensions but the batch's, where the model leaves them open; of a"
        " model that takes no batches, of all.",
    )
    inputs: dict[str, ServedInput] = Field(
        default_factory=dict,
        max_length=16,
        description="By input, as it is served: another type for requests than the FP32 that the model takes. Pictures"
        " as UINT8 are a quarter of the bytes (docs/models.md).",
    )
    calibration: Calibration | None = Field(
        default=None,
        description="The data for INT8: not for graphs with ranges of their own, by quantization-aware training.",
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
        default_factory=ResourceRequirements,
        description="CPU and memory of each container of the Job, which run one after the other."
        " Default: 500m to 8 cores, 2Gi to 16Gi.",
    )
    pods: Pods = Field(
        default_factory=Pods,
        description="What only the pods have that convert, or delete artifacts: maps are merged over spec.pods,"
        " everything else replaces what is there.",
    )
    network_policy: JobNetworkPolicy = Field(
        default_factory=JobNetworkPolicy, description="What the Job's pods may reach: docs/network.md."
    )

    def built_batch_sizes(self) -> tuple[int, ...]:
        """Return the batch sizes to build, ascending, without duplicates."""
        return tuple(sorted(set(self.batch_sizes or (1, self.max_batch_size))))
