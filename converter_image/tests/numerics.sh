#!/usr/bin/env bash
# The tests that compare what TensorFlow computes, once with each setting that changes which kernel it takes.
# Prints pytest's last line for each; fails if one failed. Arguments go to pytest, too.
set -uo pipefail
cd "$(dirname "$0")/.."
# In the tests' own processes; with arguments, in others', too: `numerics.sh tests/test_serve.py`.
tests=(tests/test_{rounding,pooling,padding,normalization,reshapes,einsum,quick_call,engines}.py)
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
