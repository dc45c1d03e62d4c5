"""How many times as fast as the unconverted model: by what a client can have, and by the device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from tftrt_runtime.benchmark.rows import AS_SERVED, Place, Row, Way, calls_at_the_largest_batch, ratio

TIMES = "×"  # noqa: RUF001 - the sign is meant
# What is called how on the page; in this order, the gate's first.
HEADINGS: dict[Place, str] = {
    "Host": "Input and answers on the host: what a client can have",
    "Device": "Input on the GPU already, answers copied to the host: what no client over the network has",
}
MEANINGS: dict[Place, str] = {
    "Host": "A request comes to the host's memory, and its answer leaves from there: the copies to where it is "
    "computed and back are in this figure, with as many calls at a time as a server has under way. The network is not. "
    "The column SPEEDUP and the gate minSpeedup are of this, against TensorFlow as it runs by default.",
    "Device": "What the engine does with input that lies on the GPU before the call begins. It tells how much is lost "
    "on the way there.",
}


@dataclass(frozen=True)
class Speed:
    """The largest batch, with its input at one place: a row for each way, all with as many calls at a time."""

    place: Place
    rows: dict[Way, Row]

    @property
    def heading(self) -> str:
        """Where the input lies, and who has that."""
        return HEADINGS[self.place]

    @property
    def meaning(self) -> str:
        """What this is, in plain words."""
        return MEANINGS[self.place]

    @property
    def calls(self) -> str:
        """How many calls at a time."""
        in_flight = self.rows["Converted"].inFlight
        return "one call at a time" if in_flight == 1 else f"{in_flight} calls at a time"

    def times(self, way: Way) -> str:
        """How many times as many items a second as this way, in a few digits."""
        found = Decimal(ratio(self.rows["Converted"], self.rows[way]))
        return f"{found:.1f}{TIMES}" if found >= 10 else f"{found:.2f}{TIMES}"


def speeds(rows: Sequence[Row]) -> list[Speed]:
    """What a client can have, and what the device does where there is one; of older reports, too."""
    found = {
        "Host": calls_at_the_largest_batch(rows, "Host", AS_SERVED),
        "Device": calls_at_the_largest_batch(rows, "Device", 1),
    }
    return [Speed(place, found[place]) for place in HEADINGS if {"Converted", "Native"} <= set(found[place])]


def tiles(rows: Sequence[Row]) -> list[tuple[str, str, str]]:
    """The figures at the head of the page: how much, as what, and of what."""
    made = []
    for speed in speeds(rows):
        than = "as fast as TF32" if "FP32" in speed.rows else "as fast as TensorFlow"
        of = f"batch {speed.rows['Converted'].batchSize}, {speed.calls}"
        if speed.place == "Device":
            made.append((speed.times("Native"), f"{than}, input on the GPU already", f"{of}: not what a client has"))
            continue
        made.append((speed.times("Native"), than, f"{of}, from the host"))
        if "FP32" in speed.rows:
            made.append((speed.times("FP32"), "as fast as FP32", f"{of}, from the host"))
    return made
