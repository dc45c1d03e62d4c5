# The two commands of the README are `make demo` and `make test`; both do all the set-up, and nothing twice.
SHELL := /bin/bash
.DEFAULT_GOAL := help
export UV_PYTHON_DOWNLOADS := never
export MAKE_STARTED := $(shell date +%s)
SETUP := tests/cluster/setup.sh
SUITES := .venv/bin/python -m tests.suites

.PHONY: bench random-graphs performance-results start-results operations-results siege nodes gateway zero-loss reliability bad-requests reliability-results help demo test lint unit integration e2e converter-test numerics crds gpu-results bench-fairness bench-connections bench-start audit test-gpu setup clean

help:            ## Say what there is
	@grep -hE '^[a-z-]+: .*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

demo:            ## A TRTModel becomes a served model on a real Kubernetes on this machine
	@$(SETUP)
	@.venv/bin/python -m examples.demo

test: setup      ## Every check and every test: lint, converter, unit, API server, end to end; all run, also where one fails
	@$(SUITES)

lint: setup      ## ruff, mypy --strict, import-linter
	@$(SUITES) lint

unit: setup      ## The unit tests: milliseconds
	.venv/bin/pytest tests/unit

integration: setup ## The tests against a real API server, without a node
	.venv/bin/pytest tests/integration

e2e: setup       ## The tests on a whole cluster
	.venv/bin/pytest tests/e2e

siege: setup     ## A hostile tenant does everything at once beside an honest one, on a whole cluster; writes benchmarks/results
	.venv/bin/pytest tests/siege -s

nodes: setup     ## The tests that take longer on a cluster of two nodes: GPUs of two kinds, autoscaling
	.venv/bin/pytest tests/nodes -s

gateway: setup   ## examples/gateway.yaml in front of a served model: Envoy Gateway and Envoy, TLS, tokens; builds them once
	.venv/bin/pytest tests/gateway -s

zero-loss: setup ## Clients that repeat nothing, while servers are rolled, scaled, drained and upgraded; writes benchmarks/results
	.venv/bin/pytest tests/zero_loss -s
	.venv/bin/python -m benchmarks.reliability

reliability: setup ## Faults between operator and API server and kill -9, in every situation of a model's life; writes benchmarks/results
	.venv/bin/python -m tests.reliability
	.venv/bin/python -m tests.reliability.leader

bad-requests: setup ## Every wrong request, 500 and more of each kind, at a server beside honest ones; writes benchmarks/results
	cd converter_image && .venv/bin/python -m tests.bad_requests
	.venv/bin/python -m benchmarks.reliability

random-graphs: setup ## Some thousand random graphs round the patterns that are rewritten before TensorRT; writes benchmarks/results
	cd converter_image && .venv/bin/python -m tests.random_graphs

converter-test: setup ## The converter image's own tests, on the CPU
	@$(SUITES) converter

numerics: setup   ## The tests of what TensorFlow computes, with each instruction set, without oneDNN, with 1, 2 and 8 threads
	@$(SUITES) numerics

crds: setup      ## Write the CRD from operator/tftrt_operator/api
	.venv/bin/python -m tftrt_operator.api.crd | tee crds/trtmodels.tftrt.dev.yaml > charts/tftrt-operator/files/trtmodels.tftrt.dev.yaml

gpu-results: setup ## Write docs/gpu-results.md from benchmarks/results
	.venv/bin/python -m benchmarks.gpu_results

operations-results: setup ## Write docs/tensorflow-operations.md from benchmarks/results
	.venv/bin/python -m benchmarks.operations_results

reliability-results: setup ## Write docs/reliability.md from benchmarks/results
	.venv/bin/python -m benchmarks.reliability

bench: setup     ## The operator's engine room at 1,000, 5,000 and 10,000 models beside 645c5b7; MODELS="30" and BASELINE=CHECKOUT are others; BUILDS=this ADD=1 adds to the results
	.venv/bin/python -m benchmarks.engine_room $(if $(BASELINE),--baseline $(BASELINE)) $(if $(MODELS),--models $(MODELS)) $(if $(BUILDS),--builds $(BUILDS)) $(if $(ADD),--add)

performance-results: setup ## Write docs/performance.md from benchmarks/results
	.venv/bin/python -m benchmarks.performance

start-results: setup ## Write docs/start.md from benchmarks/results
	.venv/bin/python -m benchmarks.start_results

bench-start: setup ## How long a conversion and a server's start take, BUILDS="main=CHECKOUT ..." beside this one; writes benchmarks/results
	converter_image/.venv/bin/python -m benchmarks.start $(foreach build,$(BUILDS),--build $(build))

bench-fairness: setup ## What an honest namespace waits beside a hostile one; BASELINE=CHECKOUT measures another build beside this one
	.venv/bin/python -m benchmarks.fairness $(if $(BASELINE),--baseline $(BASELINE))

bench-connections: setup ## What the library that ends connections costs, beside a server without it; writes benchmarks/results
	converter_image/.venv/bin/python -m benchmarks.serving.connections

audit: setup     ## Known advisories of all that is locked, against docs/advisories.toml; asks an advisory service
	@.venv/bin/python -m tests.audit

test-gpu:        ## The tests that need a GPU: run in the converter's GPU image, or in an environment like it
	python3 -m pytest tests/gpu

setup:           ## What the commands above need: Debian packages, virtual environments
	@$(SETUP)

clean:           ## End the embedded clusters and delete what they wrote; binaries and images stay in the cache
	@for instance in 0 1 2; do .venv/bin/python -m tests.cluster --instance $$instance down --purge; done
