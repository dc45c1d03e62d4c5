#!/usr/bin/env bash
# The tests that compare what TensorFlow computes, once with each setting that changes which kernel it takes.
# Prints pytest's last line for each; fails if one failed. Arguments go to pytest.
set -uo pipefail
cd "$(dirname "$0")/.."
# In the test's own process; and what a converted and a served model answers.
tests=(tests/test_{rounding,pooling,padding,normalization,reshapes,einsum,quick_call,engines}.py
  tests/test_serve.py::test_answers_over_http_and_grpc_equal_the_unconverted_models
  tests/test_serve.py::test_words_go_through_a_lookup_table_and_vectors_travel_as_columns
  tests/test_convert.py::test_a_model_with_a_lookup_table_is_frozen_round_it
  tests/test_frozen_graph.py::test_a_frozen_graph_is_converted_published_and_served
  tests/test_verification.py tests/test_benchmark.py::test_the_report_compares_each_output_at_each_batch_size)
settings=(ONEDNN_MAX_CPU_ISA=SSE41 ONEDNN_MAX_CPU_ISA=AVX2 TF_ENABLE_ONEDNN_OPTS=0
  TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTRAOP_THREADS=2 TF_NUM_INTRAOP_THREADS=8)
grep -qw avx512f /proc/cpuinfo && settings+=(ONEDNN_MAX_CPU_ISA=AVX512_CORE) || echo "AVX512_CORE: this processor has none"
failed=0
for setting in "${settings[@]}"; do
  env "$setting" .venv/bin/pytest -q --numprocesses auto --maxprocesses 4 "${tests[@]}" "$@" > "/tmp/numerics-$setting.log" 2>&1 || failed=1
  echo "$setting: $(tail -1 "/tmp/numerics-$setting.log")"
  grep -E '^(FAILED|ERROR) ' "/tmp/numerics-$setting.log"
done
exit $failed
