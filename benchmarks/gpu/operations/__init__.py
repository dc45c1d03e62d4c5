"""A table of TensorFlow's operations: what TF-TRT makes of each, and how far its answers are from float64.

    python -m benchmarks.gpu.operations --out FOLDER [--seconds 560] [--known benchmarks/results/operations.json]

`graphs/` has small graphs by family, each of one operation as a model has it: some 180 that are common, and others that
are `RARE`. Each is converted as the product does it (`conversion.py`) to FP16 and to FP32, and with fixed and with
dynamic shapes, asked once, and compared with the same graph in float64 on the CPU. `pool.py` hands them to two
processes, for a GPU of this kind does two builds at a time at best; each imports TensorFlow once, and does one graph
after the other (`worker.py`). A row is written to FOLDER/operations.jsonl as soon as it is known (`record.py`): FP16
with fixed shapes comes first for all, then FP32, then both with dynamic shapes. A process that ends loses the one graph
that it had, and that is told in its row.

`benchmarks/operations_results.py` adds the rows to benchmarks/results/operations.json and writes
docs/tensorflow-operations.md. What is known there is not measured again, so that the next run goes on.

With `--cpu` nothing is converted by TensorRT: every graph is made, rewritten as the product rewrites it, asked in
float32 and compared. That shows that the graphs are right, and ends with 1 where one is not.
"""
