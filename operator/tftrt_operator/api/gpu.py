"""Which GPU, and how much of its memory."""

from enum import StrEnum

from pydantic import Field

from .quantity import Quantity
from .schema import ApiModel, rules


class MemoryPolicy(StrEnum):
    """How the share of device memory is computed."""

    RESERVE_WORKSPACE = "ReserveWorkspace"
    MEASURED = "Measured"


class GPU(ApiModel):
    """The device that a pod gets. Without effect for a runtime that has no accelerator."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": rules(
            (
                "!has(self.memoryFraction) || !has(self.memory)",
                "memoryFraction names the fraction and memory has it computed: name one of them",
            ),
            (
                "!has(self.memoryFraction) || self.memoryPolicy != 'Measured'",
                "memoryFraction names the fraction and memoryPolicy Measured has it computed: name one of them",
            ),
        )
    }

    resource_name: str = Field(
        default="nvidia.com/gpu",
        max_length=253,
        pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$",
        description="The extended resource that a pod asks one of, such as nvidia.com/gpu or nvidia.com/mig-1g.10gb.",
    )
    memory: Quantity | None = Field(
        default=None,
        description="Device memory that one pod may use in all. Default: the whole device.",
        json_schema_extra=rules(
            ("quantity(string(self)).isGreaterThan(quantity('0'))", "must be more than 0, for example 12G")
        ),
    )
    memory_fraction: str | None = Field(
        default=None,
        max_length=16,
        description="per_process_gpu_memory_fraction, a decimal in quotes such as '0.67', instead of a computed one.",
        json_schema_extra=rules(
            (
                "self.matches('^[0-9]*[.]?[0-9]+$') && double(self) > 0.0 && double(self) < 1.0",
                "must be a decimal above 0 and below 1, in quotes, for example '0.67': the whole device would leave"
                " nothing to what a process takes outside TensorFlow's pool",
            ),
            (
                "!self.matches('^[0-9]*[.]?[0-9]+$') || double(self) >= 0.0001",
                "must be at least 0.0001: it is floored to four decimals, and TensorFlow takes 0 for the whole device",
            ),
        ),
    )
    memory_policy: MemoryPolicy = Field(
        default=MemoryPolicy.RESERVE_WORKSPACE,
        description="ReserveWorkspace: all of memory but the workspace. Measured: the measured peak and a tenth more.",
    )
    product: str = Field(
        default="",
        max_length=63,
        pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$",
        description="The node label nvidia.com/gpu.product to convert and serve on, such as NVIDIA-A10.",
    )
