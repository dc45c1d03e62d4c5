#!/usr/bin/env bash
# Keras 2.14.0 with TensorFlow 2.14.1: a convolution with groups is saved in a function that XLA must compile, unasked.
#
# Expected: `Conv2D(groups=4)` is saved as the operation that it is, a Conv2D, as `Conv2D(groups=1)` is; nobody asked for
# jit_compile. So whoever looks for convolutions in a SavedModel, as TF-TRT does for its segments, finds it.
# Seen (2026-11-30): it is saved within a function of its own, with `_XlaMustCompile` and `_noinline` true on it and on its
# call. Freezing inlines no such function, so the frozen graph has a call instead of the convolution, and TF-TRT looks for
# segments outside of functions only: each grouped convolution of a RegNet or a ResNeXt is left where it is and cuts the graph.
#
#   PYTHON=/path/to/python3.11 findings/keras-2.14-compiles-grouped-convolutions-for-xla.sh
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"${PYTHON:-python3.11}" -m venv "$folder/environment"
"$folder/environment/bin/pip" install --quiet tensorflow-cpu==2.14.1 keras==2.14.0 "numpy<2"

cat > "$folder/save.py" <<'PYTHON'
import sys
import keras, tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import convert_to_constants

def saved(groups):
    network = keras.Sequential([keras.layers.Input([8, 8, 8]), keras.layers.Conv2D(8, 3, groups=groups)])
    path = f"{sys.argv[1]}/groups-{groups}"
    network.export(path)
    model = saved_model_pb2.SavedModel.FromString(open(f"{path}/saved_model.pb", "rb").read())
    functions = model.meta_graphs[0].graph_def.library.function
    compiled = [one for one in functions if "_XlaMustCompile" in one.attr and one.attr["_XlaMustCompile"].b]
    loaded = tf.saved_model.load(path)
    frozen = convert_to_constants.convert_variables_to_constants_v2(loaded.signatures["serving_default"])
    outside = [operation.type for operation in frozen.graph.get_operations()]
    print(f"Keras {keras.__version__}, TensorFlow {tf.__version__}, groups={groups}: {len(compiled)} functions for XLA; "
          f"frozen, Conv2D outside of functions: {outside.count('Conv2D')}, calls: {outside.count('PartitionedCall')}")
    return bool(compiled), outside.count("Conv2D")

assert saved(1) == (False, 1), "not what was seen before"
assert saved(4) == (True, 0), "not what was seen before"
PYTHON
TF_CPP_MIN_LOG_LEVEL=3 "$folder/environment/bin/python" "$folder/save.py" "$folder" 2> "$folder/log" || { tail -5 "$folder/log" >&2; exit 1; }
