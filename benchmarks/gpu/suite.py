"""Runs what docs/gpu-results.md is made of, one benchmark at a time on each GPU of this machine.

    python -m benchmarks.gpu.suite --out FOLDER [--work FOLDER] [--commit COMMIT] [BENCHMARK...]

All benchmarks by default, or those named, in this order: whichever card is free takes the next one. Each card has its
own share of the processors, so that no benchmark waits for another. FOLDER/results gets the JSON files as they are
written, FOLDER/BENCHMARK a benchmark's log and profiles.
"""

import argparse
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from queue import Empty, SimpleQueue

from benchmarks.gpu.cards import cards

# By name: the arguments of `run.py`. The longest come first, so that the cards end together.
BENCHMARKS = {
    "efficientnetb0": "--model efficientnetb0 --batch-sizes 32,128 convert-FP16",
    "densenet121": "--model densenet121 --batch-sizes 32,128 convert-FP16",
    "resnet50": "--model resnet50 --batch-sizes 32,128 convert-FP16 time-onnx leads-FP16 serve-FP16",
    "transformer": "--model transformer --batch-sizes 1,32 convert-FP16",
    "resnet50-int8": "--model resnet50 --batch-sizes 32,128 convert-INT8",
    "parts": "--model transformer --batch-sizes 1,32 parts-FP16",
    "stems": "--model resnet50 --batch-sizes 32,128 stems-FP16",
    "mobilenetv2": "--model mobilenetv2 --batch-sizes 32,128 convert-FP16",
    "digits": "--model digits --batch-sizes 1,32 convert-INT8 accuracy-native accuracy-INT8 serve-INT8",
}


class Suite:
    """Benchmarks that wait for a card."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.results: Path = options.out / "results"
        self.results.mkdir(parents=True, exist_ok=True)
        self.cache: Path = options.work / "cuda-cache"  # one for all, unless told: kernels are compiled at first use
        self.cache.mkdir(parents=True, exist_ok=True)
        self.waiting: SimpleQueue[str] = SimpleQueue()
        for name in options.benchmarks or BENCHMARKS:
            self.waiting.put(name)
        self.failed = 0

    def run(self) -> int:
        """The number of benchmarks of which a step failed."""
        found = cards()
        cores = sorted(os.sched_getaffinity(0))
        each = max(len(cores) // len(found), 1)
        workers = [
            threading.Thread(target=self.work, args=(card, cores[index * each : (index + 1) * each] or cores))
            for index, card in enumerate(found)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return self.failed

    def work(self, card: str, cores: list[int]) -> None:
        """Run on this card and these processors for as long as a benchmark waits."""
        while True:
            try:
                name = self.waiting.get_nowait()
            except Empty:
                return
            started = time.monotonic()
            code = self.one(name, card, cores)
            self.failed += code != 0
            print(f"{name}: {time.monotonic() - started:.0f} s on card {card}, exit code {code}", flush=True)

    def one(self, name: str, card: str, cores: list[int]) -> int:
        """Run one of them; its exit code."""
        out = self.options.out / name
        out.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "benchmarks.gpu.run", "--out", str(out)]
        command += ["--work", str(self.options.work / name), "--commit", self.options.commit]
        command += [*self.options.options.split(), *BENCHMARKS[name].split()]
        with (out / "output.txt").open("w") as output:
            done = subprocess.run(
                command,
                env={"CUDA_CACHE_PATH": str(self.cache), **os.environ, "CUDA_VISIBLE_DEVICES": card},
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=lambda: os.sched_setaffinity(0, cores),
            )
        for file in out.glob("*.json"):
            shutil.copy(file, self.results)
        return done.returncode


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for results and logs")
    parser.add_argument("--work", type=Path, default=Path("/tmp/tftrt-benchmark"), help="folder for models, artifacts")
    parser.add_argument("--commit", default="", help="the commit that is measured, for the record")
    parser.add_argument("--options", default="", help="more options of run.py, as one argument: '--seconds 1'")
    # The empty list, which argparse takes for a choice where none is named.
    parser.add_argument("benchmarks", nargs="*", metavar="BENCHMARK", choices=[*BENCHMARKS, []])
    return Suite(parser.parse_args()).run()


if __name__ == "__main__":
    sys.exit(main())
