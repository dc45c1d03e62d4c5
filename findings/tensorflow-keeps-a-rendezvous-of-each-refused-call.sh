#!/usr/bin/env bash
# TensorFlow 2.14.1: each call of a function that an operation refuses leaves its rendezvous behind, for the whole process.
#
# Expected: a call that fails costs what a call costs, and leaves nothing once its error is dropped. We had taken what a
# server lost under wrong requests for a leak of Python's side, since garbage collection of 3.10 and 3.11 differed there.
# Seen (2026-11-29): the vector `LocalRendezvous::aborted_rendezs_` in libtensorflow_framework.so.2 has exactly one entry
# more for each failed call, and none for one that is answered; the process grows by some 500 to 1,000 bytes each. The
# header says "we deliberately leak one reference"; what empties the vector is inline, for TensorFlow's own tests, and no
# symbol of the wheel. A server that refuses a hundred calls a second loses some 200 MiB an hour by it.
#
#   PYTHON=/path/to/python3.11 findings/tensorflow-keeps-a-rendezvous-of-each-refused-call.sh
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

cat > "$folder/kept.py" <<'PYTHON'
import ctypes, gc, os, resource
import tensorflow as tf

TIMES = 20_000

library = ctypes.CDLL(os.path.join(tf.sysconfig.get_lib(), "libtensorflow_framework.so.2"))
# A C++ reference to a std::vector of pointers: where it begins and ends stands in its first two words.
vector = ctypes.c_void_p.in_dll(library, "_ZN10tensorflow15LocalRendezvous16aborted_rendezs_E")

def entries():
    begin, end = (ctypes.c_size_t * 2).from_address(vector.value)
    return (end - begin) // 8

def memory():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

table = tf.constant([1.0, 2.0])
look_up = tf.function(lambda index: tf.gather(table, index)).get_concrete_function(tf.TensorSpec([], tf.int32))

def ask(index):
    try:
        look_up(index)
    except tf.errors.InvalidArgumentError:
        return "refused"
    return "answered"

found = {}
for index in (tf.constant(1), tf.constant(5)):
    said = {ask(index) for _ in range(TIMES)}
    gc.collect()
    before = entries(), memory()
    said |= {ask(index) for _ in range(TIMES)}
    gc.collect()
    (what,) = said
    found[what] = entries() - before[0], (memory() - before[1]) / TIMES
    print(f"TensorFlow {tf.__version__}: {TIMES} calls that were {what}: {found[what][0]} entries more, "
          f"{found[what][1]:.0f} bytes each")
assert found["answered"][0] == 0 and found["refused"][0] == TIMES, "not what was seen before"
assert found["refused"][1] > 300, "not what was seen before"
PYTHON

"${PYTHON:-python3.11}" -m venv "$folder/environment"
"$folder/environment/bin/pip" install --quiet --disable-pip-version-check tensorflow-cpu==2.14.1 numpy==1.26.4
TF_CPP_MIN_LOG_LEVEL=3 "$folder/environment/bin/python" "$folder/kept.py" 2> "$folder/log" || { cat "$folder/log"; exit 1; }
