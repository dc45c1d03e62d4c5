"""The folder that the containers of one conversion Job share, and the notes that they leave each other in it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Optional, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tftrt_runtime.contract.artifact import NAME, Batching, Conversion, Verification
from tftrt_runtime.contract.errors import ArtifactCorrupt, UsageError
from tftrt_runtime.contract.validation import fault
from tftrt_runtime.storage import files

DEFAULT_PATH = Path("/workspace")


class Fetched(BaseModel):
    """`fetch.json`: what was fetched."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sourceDigest: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")  # noqa: N815 - the contract's own names
    calibrationDigest: Optional[str] = None  # noqa: N815
    verificationDigest: Optional[str] = None  # noqa: N815
    bytes: int
    files: int


class Converted(BaseModel):
    """`convert.json`: the product, and what was converted for it; nothing where the store has the artifact already."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    product: str = Field(pattern=NAME)
    conversion: Optional[Conversion]
    # Of the artifact that the store has, on data that its own verification did not have.
    verification: Optional[Verification] = None
    batching: Optional[Batching] = None


Note = TypeVar("Note", Fetched, Converted)


def read_note(path: Path, kind: type[Note], written_by: str) -> Note:
    """The note that an earlier step left.

    Raises:
        UsageError: there is none.
        ArtifactCorrupt: it is a link, or not what the step writes; what is in it is not told.
    """
    try:
        return kind.model_validate_json(files.read(path))
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read ({error.strerror}): `tftrt {written_by}` comes before this step."
        ) from error
    except ValidationError as error:
        raise ArtifactCorrupt(f"{path} is not as `tftrt {written_by}` writes it ({fault(error)}).") from None


@dataclass(frozen=True)
class Workspace:
    """Its layout."""

    root: Path

    @property
    def manifests(self) -> Path:
        """`<product>.json`: the manifests that the store held when the Job began."""
        return self.root / "manifests"

    @property
    def source(self) -> Path:
        """The unconverted model."""
        return self.root / "source"

    @property
    def calibration(self) -> Path:
        """The calibration data, where the spec names any."""
        return self.root / "calibration"

    @property
    def verification(self) -> Path:
        """The data to verify on, where the spec names any."""
        return self.root / "verification"

    @property
    def published(self) -> Path:
        """`<product>/`: artifacts that the store has, where they are to be verified on other data."""
        return self.root / "published"

    @property
    def fetched(self) -> Path:
        """A `Fetched`."""
        return self.root / "fetch.json"

    @property
    def artifact(self) -> Path:
        """What is to be published, file for file."""
        return self.root / "artifact"

    @property
    def converted(self) -> Path:
        """A `Converted`."""
        return self.root / "convert.json"
