"""What a parent and its child processes hand each other: files of JSON."""

from pydantic import BaseModel, ConfigDict


class Message(BaseModel):
    """What all parts share."""

    model_config = ConfigDict(frozen=True, extra="forbid")
