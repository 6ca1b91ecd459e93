# stegomq: `make help` says what there is. Everything that is made lies in .bin, .cache, .venv and out;
# nothing is made twice. The machine needs Go, gcc, Python 3.11 and npm; apt-get brings the rest on Debian.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL: # apt-get, npm and go all hold locks; the tools use every core by themselves
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo development)
REVISION := $(shell git rev-parse HEAD 2>/dev/null)
# Without the tag the library of the AVIF codec would look for a libavif.so when the program starts.
export GOFLAGS := $(strip $(shell go env GOFLAGS) -tags=nodynamic)
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
VENV := .venv/bin/python

# The Python that trains: a path or a name. The default is made by `make trainer-env` on Debian's PyTorch;
# name your own to use another PyTorch (it needs what trainer/requirements.txt says).
PYTHON ?= $(VENV)
# Which packages `test-go`, `race` and `bench` look at, and how long each fuzz target runs.
PKG ?= ./...
BENCH ?= .
COUNT ?= 1
FUZZTIME ?= 10s
# How long the tests of a package may take. Those of whole programs take five minutes on two cores, and a quarter of an hour with the
# race detector; on a machine that has other work they take twice as long and more.
TESTTIME ?= 30m
RACETIME ?= 60m

# $(call again,command): up to four times. What asks a registry may fail once: of these answers few programs ask anew.
again = for wait in 5 20 60 0; do \
  if $(1); then break; fi; \
  if [[ $$wait == 0 ]]; then exit 1; fi; \
  echo "that failed; again in $$wait s" >&2; sleep $$wait; done

# Where each .proto folder is; the Go code lies beside it.
PROTO := schemas internal/ort/onnxpb

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^##@/ { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '\nVariables: PYTHON=%s PKG=%s BENCH=%s COUNT=%s FUZZTIME=%s\n' '$(PYTHON)' '$(PKG)' '$(BENCH)' '$(COUNT)' '$(FUZZTIME)'

##@ Use
.PHONY: build demo up
build: ## the program, .bin/stegomq
	@mkdir -p .bin
	go build -trimpath -buildvcs=false -ldflags '-X main.version=$(VERSION) -X main.revision=$(REVISION)' -o .bin/stegomq ./cmd/stegomq

demo: build ort photos ## evaluate four keys on nine photographs, into out/demo
	@code=0; .bin/stegomq evaluate --data .cache/photos --keys 4 --size 256 \
	  --out out/demo --save-images --state out/demo-state || code=$$?; \
	if [[ $$code -le 1 ]]; then \
	  printf '\nThe report is out/demo/report.md, the numbers are out/demo/summary.json and items.csv,\n'; \
	  printf 'and the images lie beside them. The same command again takes everything from the cache.\n'; \
	  printf '\nSee it in a browser: .bin/stegomq up --http 127.0.0.1:8080 --state out/demo-state --datasets photos=.cache/photos\n'; \
	  printf 'It prints the address to open, http://127.0.0.1:8080/login#..., and shows this run among the others.\n'; \
	fi; exit $$code

up: build ort ## every role in one process, on embedded servers that other commands can use
	.bin/stegomq up

##@ Check
.PHONY: check test test-go test-trainer test-client race chaos lint bench fuzz
check: ort photos redis promtool ## the fast part, a minute when warm: format, go vet, and the Go tests except those of whole programs
	@unformatted=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go')); \
	  if [[ -n $$unformatted ]]; then printf 'gofmt -w would change:\n%s\n' "$$unformatted" >&2; exit 1; fi
	go vet ./...
	go test $$(go list ./... | grep -vE '/(e2e|e2e/.*|pipeline/reports|cmd/.*)$$')

test: generated vet test-go test-trainer test-client ## everything that must pass: stale generated code, go vet, the tests of Go, trainer and client

.PHONY: vet
vet:
	go vet ./...

# The Go modules that are missing, before all else in a new clone: a go command gives up at the first that the proxy does not give.
.PHONY: modules
modules:
	@$(call again,go list -deps -test ./... google.golang.org/protobuf/cmd/protoc-gen-go github.com/nats-io/nats-server/v2 >/dev/null)

test-go: build ort photos redis curl chromium promtool nats-server trainer-env ## the Go tests (PKG=./internal/bus/)
	STEGOMQ_PYTHON='$(PYTHON)' go test -timeout $(TESTTIME) $(PKG)

test-trainer: trainer-env ## the trainer's tests
	$(PYTHON) -m pytest -c trainer/pyproject.toml trainer/tests

test-client: build .cache/client/ready ## the Python client's types and tests, on the real service
	cd clients/python && $(CLIENT) -m mypy src tests && $(CLIENT) -m pytest

race: build ort photos redis chromium promtool nats-server trainer-env ## the Go tests under the race detector
	STEGOMQ_PYTHON='$(PYTHON)' go test -race -timeout $(RACETIME) $(PKG)

# A seed repeats a schedule of faults, which `make chaos` prints; 0 draws one.
CHAOS_SEED ?= 0
chaos: build ort redis nats-server ## break a whole pipeline 160 times while it works, into out/chaos (ten minutes; CHAOS_SEED=...)
	go run ./e2e/chaos -seed $(CHAOS_SEED)

lint: .bin/golangci-lint .bin/buf trainer-env ## golangci-lint, gofmt, buf lint, ruff; buf breaking since the last release
	.bin/golangci-lint run
	@unformatted=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go')); \
	  if [[ -n $$unformatted ]]; then printf 'gofmt -w would change:\n%s\n' "$$unformatted" >&2; exit 1; fi
	.bin/buf lint schemas
	.bin/buf breaking schemas --against schemas/released.binpb
	$(PYTHON) -m ruff check trainer
	$(PYTHON) -m ruff format --check trainer
	$(PYTHON) -m ruff check --config trainer/pyproject.toml ops bench
	$(PYTHON) -m ruff check clients/python
	$(PYTHON) -m ruff format --check clients/python

bench: ort photos redis nats-server ## the benchmarks (BENCH=Embed COUNT=10, for benchstat)
	go test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) $(PKG)

# A virtual environment of its own: what is measured against is not what trains.
PEERS := .cache/peers/bin/python
.PHONY: bench-peers
# The others keep the memory that they freed, or half of scikit-image's time would be the kernel's, which gives it pages anew.
bench-peers: build ort photos redis .cache/peers/ready ## compare our metrics with scikit-image's and torchmetrics', our queue with asynq and Celery, our evaluation with one in Python (ten minutes)
	@mkdir -p out/peers
	go test -c -o out/peers/quality.test ./internal/quality
	MALLOC_MMAP_THRESHOLD_=1000000000 MALLOC_TRIM_THRESHOLD_=4000000000 $(PEERS) bench/peers/metrics.py out/peers/quality.test
	cd bench/peers/asynq && go build -o ../../../out/peers/asynq .
	$(PEERS) bench/peers/queues.py .bin/stegomq out/peers/asynq
	STEGOMQ_ORT_LIB='$(CURDIR)/.cache/onnxruntime' $(PEERS) bench/peers/evaluation.py .bin/stegomq .cache/photos

.PHONY: bench-gate bench-growth
bench-gate: build ort ## fail when a ratio of bench/gate.json has fallen (six minutes on a quiet machine)
	STEGOMQ_ORT_LIB='$(CURDIR)/.cache/onnxruntime' python3 bench/gate.py .bin/stegomq

bench-growth: build photos ## the cost of more jobs, keys, workers and users of an evaluation, into out/growth (a quarter of an hour)
	python3 bench/growth.py .bin/stegomq out/growth
	python3 bench/growth.py .bin/stegomq out/growth --data .cache/photos

.cache/peers/ready: bench/peers/requirements.txt
	@/usr/bin/python3 -c 'import torch, venv, ensurepip' 2>/dev/null || { $(call apt,python3-torch python3-venv); }
	/usr/bin/python3 -m venv --system-site-packages .cache/peers
	@$(call again,$(PEERS) -m pip install --quiet --disable-pip-version-check -r $<)
	@touch $@

fuzz: ort ## every fuzz target for FUZZTIME
	@grep -rlE --include='*_test.go' '^func Fuzz' . | sort | while read -r file; do \
	  for target in $$(sed -nE 's/^func (Fuzz[A-Za-z0-9_]+)\(.*/\1/p' "$$file"); do \
	    echo "fuzz $$target of $$(dirname "$$file") for $(FUZZTIME)"; \
	    go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$(dirname "$$file")"; \
	  done; \
	done

.PHONY: pixels
pixels: trainer-env ## compare the decoders with Pillow's on the photographs of DATA and PHOTOGRAPHS (docs/images.md)
	rm -rf out/pixels
	$(PYTHON) internal/pixel/testdata/references.py out/pixels $(DATA)/bsds $(DATA)/imagenet $(PHOTOGRAPHS)
	go test -tags pillow -count 1 -run TestPillow ./internal/pixel -v -references '$(CURDIR)/out/pixels' | grep -E '^\||---|pillow_test'

##@ Make
# What the cards of the models that ship say: evaluate's word on the data sets in DATA, then on many wrong keys.
DATA ?= ../shared/data/eval
EVALUATE = .bin/stegomq evaluate --state out/measure/state --out out/measure/$(1) --data $(DATA)/$(2)

.PHONY: measure grid
measure: build ort trainer-env ## the figures in the models' cards, from DATA/bsds and DATA/imagenet (half an hour)
	@for data in bsds imagenet; do \
	  $(call EVALUATE,invertible-mk/$$data-256,$$data) --size 256 --keys 4 --random-keys 4 --near-keys 4; \
	  $(call EVALUATE,invertible-mk/$$data-512,$$data) --size 512 --keys 4; \
	  $(call EVALUATE,pusnet-mk/$$data-256,$$data) --size 256 --keys 2 --near-keys 1 --limit 4 --model pusnet-mk; \
	done
	$(call EVALUATE,invertible-mk/strangers,bsds) --size 256 --keys 4 --random-keys 1000 --near-keys 256 --limit 2
	@for model in invertible-mk pusnet-mk; do \
	  $(PYTHON) -m trainer card models/$$model out/measure/$$model/*/summary.json; \
	done

grid: build ort photos ## the images in the README, docs/grid.png, from the sample photographs
	.bin/stegomq evaluate --data .cache/photos --keys 4 --size 160 --limit 3 --out out/grid --save-images --state out/grid-state
	cp out/grid/grid.png docs/grid.png

# The models of the paper's evaluation, each trained on one thread for the seconds that its configuration says; a run that is
# there is gone on with, one that has used its budget only exported. RUNS keeps them, PHOTOGRAPHS is what they see.
RUNS ?= out/train
PHOTOGRAPHS ?= ../shared/data/train
TRAIN = run() { if [[ -f $(RUNS)/$$1/checkpoint.npz ]]; \
  then $(PYTHON) -m trainer resume $(RUNS)/$$1 --data $(PHOTOGRAPHS) --threads 1; \
  else $(PYTHON) -m trainer train --data $(PHOTOGRAPHS) --threads 1 --out $(RUNS)/"$$@"; fi; }
EXPORT = $(PYTHON) -m trainer export

.PHONY: table1 fig5 paper
table1: trainer-env ## train the neural methods of Table 1, two users each (an hour), and export them
	@$(TRAIN); for model in pusnet-mk pusnet; do \
	  run $$model trainer/configs/table1/$$model.toml; \
	  $(EXPORT) $(RUNS)/$$model models/table1/$$model; \
	done; \
	for model in hidden baluja udh hinet; do \
	  for i in 1 2; do run $$model-$$i trainer/configs/table1/$$model.toml --instance $$i; done; \
	  $(EXPORT) $(RUNS)/$$model-{1,2} models/table1/$$model; \
	done

fig5: trainer-env ## train the small networks of Fig. 5 and of the gradient's ablation (an hour), and export them
	@$(TRAIN); small() { \
	  local keys=$$1 alpha=$$2 name=k$$1-a$$2 more=$$3; shift 3; \
	  run fig5-$$name$$more trainer/configs/fig5.toml --set "model.name=\"fig5-$$name\"" \
	    --set model.keys=$$keys --set model.alpha=0.$$alpha "$$@"; \
	  $(EXPORT) $(RUNS)/fig5-$$name$$more models/fig5/$$name$$more --name fig5-$$name$$more; \
	}; \
	for keys in 2 3 4 8; do for alpha in 9 7 5; do small $$keys $$alpha ''; done; done; \
	for alpha in 9 5; do \
	  small 2 $$alpha -stale --set losses.stale_gradient=true; \
	  small 2 $$alpha -s1 --set model.seed=1; \
	  small 2 $$alpha -stale-s1 --set model.seed=1 --set losses.stale_gradient=true; \
	done

# Training in idle time, of the run in trainer/runs/RUN; trainer/idle.sh says how.
RUN ?= invertible-mk
.PHONY: train-idle train-keep
train-idle: trainer-env ## continue training RUN (invertible-mk, invertible-rk) in the background at the lowest priority, until train-keep
	@RUN='$(RUN)' PYTHON='$(PYTHON)' PHOTOGRAPHS='$(PHOTOGRAPHS)' trainer/idle.sh start

train-keep: trainer-env ## stop train-idle, measure, and commit the checkpoint and the model if they are better (ten minutes)
	@RUN='$(RUN)' PYTHON='$(PYTHON)' PHOTOGRAPHS='$(PHOTOGRAPHS)' DATA='$(DATA)' trainer/idle.sh keep

paper: build ort ## the paper's evaluation on DATA/bsds and DATA/imagenet, into out/paper (a quarter of an hour)
	.bin/stegomq paper --data ImageNet=$(DATA)/imagenet --data BSDS=$(DATA)/bsds --size 256 \
	  --state out/paper/state --out out/paper

# Every model on DATA/bsds and DATA/imagenet: quality, and what a wrong key shows. LIMIT=4 SIZES=256 is quick.
MODELS ?= sealed sealed-1 sealed-2 sealed-covert modulo modulo-noise modulo-jpeg invertible-rk invertible-mk lsb-chacha20
SIZES ?= 256 512
LIMIT ?= 0
.PHONY: isolation
isolation: build ort ## a table of every model, into out/isolation/table.md (LIMIT=4 SIZES=256 takes two minutes, all of it an hour)
	@runs=(); for size in $(SIZES); do for data in imagenet bsds; do for model in $(MODELS); do \
	  out=out/isolation/$$size/$$data/$$model; mkdir -p "$${out%/*}"; runs+=("$$out"); \
	  .bin/stegomq evaluate --model $$model --data $(DATA)/$$data --size $$size --keys 2 --limit $(LIMIT) \
	    --state out/isolation/state --out "$$out" >"$$out.log" 2>&1 || { tail -n 5 "$$out.log" >&2; exit 1; }; \
	done; done; done; \
	.bin/stegomq report table --markdown "$${runs[@]}" | tee out/isolation/table.md

.PHONY: attack audit results
attack: trainer-env ## attack invertible-mk with leaked pairs, into docs/results/attack.json (five minutes)
	$(PYTHON) -m trainer attack models/invertible-mk --leak $(PHOTOGRAPHS) --data bsds=$(DATA)/bsds --pairs 0,1,10,100 \
	  --seconds 60 --threads 1 --out docs/results/attack.json

audit: build ort ## a sceptic's tests of invertible-mk, and of LSB with a cipher, on DATA/bsds, into out (a quarter of an hour)
	.bin/stegomq audit --data $(DATA)/bsds --size 128 --attacker docs/results/attack.json \
	  --state out/audit/state --out out/audit
	.bin/stegomq audit --model lsb-chacha20 --data $(DATA)/bsds --size 128 --state out/audit/state --out out/audit-lsb

# Photographs of DATA do not go into the repository: Fig. 3 and 4 are made anew of the sample photographs.
results: paper audit photos ## the content of docs/results: the reports of paper and audit, with their charts
	.bin/stegomq paper --data Samples=.cache/photos --size 96 --fig5-pairs 1 --state out/paper/state --out out/samples
	mkdir -p docs/results
	awk '/^## Fig\. 3/ { skip = 1; while ((getline line < "out/samples/report.md") > 0) { \
	      if (line ~ /^## Fig\. 3/) take = 1; if (line ~ /^## Fig\. 5/) take = 0; if (take) print line } } \
	    /^## Fig\. 5/ { skip = 0 } !skip' out/paper/report.md \
	  | sed -E 's/fig([34])\.svg/fig\1.png/; s/ \(\[PNG\]\(fig[0-9]\.png\)\)//' > docs/results/paper.md
	sed -E '/best-guess|\[PNG\]/d; s/\.png\)/.svg)/' out/audit/audit.md | cat -s > docs/results/audit.md
	cp out/paper/table1.csv out/paper/table1.tex out/paper/fig1.svg out/paper/fig5.svg out/samples/fig3.png out/samples/fig4.png docs/results
	cp $$(ls out/audit/*.svg | grep -v best-guess) docs/results

.PHONY: released release
released: .bin/buf ## schemas/released.binpb, the messages of this release, with which later ones are compared
	.bin/buf build schemas --exclude-source-info -o schemas/released.binpb

release: .bin/buf .bin/cyclonedx-gomod ## a reproducible archive of the commit, with models, licences and a bill of materials, into out/release (RELEASE=0.1.0)
	ops/release.sh '$(RELEASE)'

.PHONY: generate generated
generate: .bin/buf .bin/protoc-gen-go ## the Go code of the .proto files, the assembly of the metrics, and the references in docs
	go generate ./internal/quality
	go test -count 1 -run TestReference ./cmd/stegomq ./internal/telemetry -write
	@for dir in $(PROTO); do \
	  PATH="$(CURDIR)/.bin:$$PATH" .bin/buf generate $$dir --template schemas/buf.gen.yaml -o $$dir; done
	.bin/buf build schemas -o -#format=json | python3 ops/messages.py > docs/messages.md

generated: .bin/buf .bin/protoc-gen-go # fails when generated code is stale; changes nothing
	@made=$$(mktemp -d); trap 'rm -rf "$$made"' EXIT; \
	(cd internal/quality/kernels && $(call again,go list -deps . >/dev/null)); \
	for dir in $(PROTO); do \
	  PATH="$(CURDIR)/.bin:$$PATH" .bin/buf generate $$dir --template schemas/buf.gen.yaml -o "$$made/$$dir"; \
	  for file in "$$made/$$dir"/*.pb.go; do \
	    cmp "$$file" "$$dir/$$(basename "$$file")" >&2 || { echo "generated code is stale: run make generate" >&2; exit 1; }; \
	  done; \
	done; \
	(cd internal/quality/kernels && go run . -out "$$made/kernels_amd64.s" -stubs "$$made/kernels_amd64.go" -pkg quality); \
	for file in kernels_amd64.s kernels_amd64.go; do \
	  cmp <(tail -n +2 "$$made/$$file") <(tail -n +2 "internal/quality/$$file") >&2 || { echo "$$file is stale: run make generate" >&2; exit 1; }; \
	done; \
	cmp <(.bin/buf build schemas -o -#format=json | python3 ops/messages.py) docs/messages.md >&2 || { echo "docs/messages.md is stale: run make generate" >&2; exit 1; }; \
	echo "generated code is up to date"

##@ Set up
.PHONY: setup ort photos redis curl chromium promtool nats-server tools trainer-env
setup: build ort photos redis curl chromium promtool nats-server tools trainer-env ## all targets below

ort: ## the ONNX Runtime library, into .cache/onnxruntime
	@python3 ops/assets/fetch.py onnxruntime

photos: ## the sample photographs (public domain), into .cache/photos
	@python3 ops/assets/fetch.py photos

promtool: ## Prometheus's tool for alert rules, .bin/promtool, out of Debian's package, which is not installed
	@command -v promtool >/dev/null || [[ -x .bin/promtool ]] || { \
	  command -v apt-get >/dev/null || { echo "install promtool (Prometheus) by your system's own means: there is no apt-get here" >&2; exit 1; }; \
	  mkdir -p .bin; made=$$(mktemp -d); trap 'rm -rf "$$made"' EXIT; cd "$$made"; \
	  $(call again,$(SUDO) apt-get update -qq && apt-get download -qq -o APT::Sandbox::User=root prometheus); \
	  dpkg-deb -x prometheus_*.deb .; cd '$(CURDIR)'; \
	  cp "$$made/usr/bin/promtool" .bin/; }

nats-server: .bin/nats-server ## the NATS server of go.mod's version, .bin/nats-server

tools: .bin/buf .bin/golangci-lint .bin/protoc-gen-go ## buf, golangci-lint and protoc-gen-go, into .bin

# $(call apt,packages): install Debian packages, or say what to do where there is no apt-get.
define apt
command -v apt-get >/dev/null || { echo "install $(1) by your system's own means: there is no apt-get here" >&2; exit 1; }; \
$(call again,$(SUDO) apt-get update -qq && DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq -o DPkg::Lock::Timeout=120 --no-install-recommends $(1))
endef

redis: ## redis-server, by apt-get where it is missing
	@command -v redis-server >/dev/null || { $(call apt,redis-server); }

curl: ## what the documents ask the HTTP API with, by apt-get where it is missing
	@command -v curl >/dev/null || { $(call apt,curl); }

chromium: ## the browser that the tests of the HTML report drive, by apt-get where there is none
	@command -v chromium chromium-browser google-chrome >/dev/null || { $(call apt,chromium); }

ifeq ($(PYTHON),$(VENV))
trainer-env: .venv/ready ## PyTorch and the trainer's other packages, in .venv (PYTHON=... uses your own)
else
trainer-env:
	@$(PYTHON) -c 'import sys, torch, onnx; print("trainer: Python", sys.version.split()[0], "PyTorch", torch.__version__)'
endif

# The venv sees Debian's packages: its PyTorch is 200 MB, the usual wheel is gigabytes.
.venv/ready: trainer/requirements.txt
	@/usr/bin/python3 -c 'import torch, venv, ensurepip' 2>/dev/null || { $(call apt,python3-torch python3-venv); }
	/usr/bin/python3 -m venv --system-site-packages .venv
	@$(call again,$(VENV) -m pip install --quiet --disable-pip-version-check -r $<)
	@touch $@

# The client is tested as its users have it, installed beside what it needs and nothing else.
CLIENT := $(CURDIR)/.cache/client/bin/python
.cache/client/ready: clients/python/pyproject.toml clients/python/constraints.txt
	@/usr/bin/python3 -c 'import venv, ensurepip' 2>/dev/null || { $(call apt,python3-venv); }
	/usr/bin/python3 -m venv .cache/client
	@$(call again,$(CLIENT) -m pip install --quiet --disable-pip-version-check -c clients/python/constraints.txt --editable 'clients/python[test]')
	@touch $@

# The tools have their own go.mod, so that their many modules stay out of the program's. What generates code or
# serves is built at the version of go.mod, so that it is the version that the program links.
.bin/buf .bin/golangci-lint: ops/tools/go.mod ops/tools/go.sum
	@cd ops/tools && $(call again,go list -deps $$(go list tool | grep '/$(@F)$$') >/dev/null)
	cd ops/tools && go build -trimpath -ldflags '-s -w' -o ../../.bin/ $$(go list tool | grep '/$(@F)$$')
	@touch $@

# It has a go.mod of its own: its modules are older than those of the others.
.bin/cyclonedx-gomod: ops/sbom/go.mod ops/sbom/go.sum
	@cd ops/sbom && $(call again,go list -deps tool >/dev/null)
	cd ops/sbom && go build -trimpath -ldflags '-s -w' -o ../../.bin/ $$(go list tool)
	@touch $@

.bin/protoc-gen-go: go.mod | modules
	go build -trimpath -o $@ google.golang.org/protobuf/cmd/protoc-gen-go
	@touch $@

.bin/nats-server: go.mod | modules
	go build -trimpath -o $@ github.com/nats-io/nats-server/v2
	@touch $@

.PHONY: clean distclean
clean: ## remove .bin and out
	rm -rf .bin out

distclean: clean ## and .cache and .venv
	rm -rf .cache .venv
