"""A client that sends what the operator sent for one model for many models, and decides nothing.

It is a process of its own, as the operator is: `python -m benchmarks.engine_room.bare KUBECONFIG WRITES`.
"""

import asyncio
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Self

from tests.cluster.audit import Call

from . import processes
from .client import APPLY, MERGE, Client, Json, Request
from .driver import Place

AT_ONCE = 64
"""Models; as many as the operator has workers."""


@dataclass(frozen=True, slots=True)
class Writes:
    """A model's writes in their order, and what stands in them instead of that model's words for each other one."""

    sample: tuple[Request, ...]
    words: tuple[Mapping[str, str], ...]

    @classmethod
    def of(cls, calls: Iterable[Call], words: Sequence[Mapping[str, str]]) -> Self:
        """Take them from the audit log of a namespace whose writes are logged with their bodies."""
        return cls(tuple(_request(call) for call in calls), tuple(words))

    def rows(self) -> Iterable[Iterable[Request]]:
        """Yield each model's writes."""
        for words in self.words:
            yield [_replaced(request, words) for request in self.sample]

    def text(self) -> str:
        """Return them as JSON."""
        sample = [{**asdict(request), "body": request.body.decode()} for request in self.sample]
        return json.dumps({"sample": sample, "words": list(self.words)})

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what `text` has made."""
        told = json.loads(text)
        sample = (Request(**{**request, "body": request["body"].encode()}) for request in told["sample"])
        return cls(tuple(sample), tuple(told["words"]))


def words(job: Json, model: Json, others: Mapping[Place, str]) -> list[dict[str, str]]:
    """Return, for each other model by its UID, what stands in its writes instead of this one's words, longest first."""
    labels = job["metadata"]["labels"]
    mine = (
        model["metadata"]["uid"],
        labels["tftrt.dev/fingerprint"],
        labels["tftrt.dev/engine"],
        job["metadata"]["name"],
        model["metadata"]["name"],
        model["metadata"]["namespace"],
    )

    def of(place: Place, uid: str) -> tuple[str, ...]:
        digest = sha256(uid.encode()).hexdigest()
        return uid, digest[:32], digest[32:52], f"{place.name}-{digest[:8]}-0000", place.name, place.namespace

    return [dict(zip(mine, of(place, uid), strict=True)) for place, uid in others.items()]


def _request(call: Call) -> Request:
    assert call.sent is not None
    kinds = {"create": "application/json", "patch": APPLY if "force=" in call.path else MERGE}
    methods = {"create": "POST", "patch": "PATCH"}
    return Request(methods[call.verb], call.path, json.dumps(call.sent).encode(), kinds[call.verb])


def _replaced(request: Request, words: Mapping[str, str]) -> Request:
    path, body = request.path, request.body
    for word, instead in words.items():
        path, body = path.replace(word, instead), body.replace(word.encode(), instead.encode())
    return Request(request.method, path, body, request.content_type)


async def main(kubeconfig: Path, writes: Path) -> None:
    """Send them all once there is a line to read, and print the seconds of CPU that it took."""
    parsed = Writes.parse(writes.read_text())
    async with Client.connected(kubeconfig) as client:
        print("ready", flush=True)
        sys.stdin.readline()
        before = processes.cpu_seconds(os.getpid())
        await client.send_rows(parsed.rows(), AT_ONCE)
    print(round(processes.cpu_seconds(os.getpid()) - before, 2))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
