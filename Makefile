# make demo    install what is missing, build, and run the main job end to end on private servers and simulators
# make test    install what is missing, then everything that CI runs
# make check   the same without installing: format, vet, staticcheck, migrations, tests under the race detector
# make bench   measure, beside the floor of the same run: see docs/benchmarks.md
# make scan    a security scanner against our own pages, on loopback: about ten minutes, see docs/security.md
# make run     the daemon, with the settings of .env if there is one
# Flags: make demo DEMO_FLAGS='--faults --speed 2000', make bench BENCH_FLAGS=…

SHELL := /bin/bash
DEMO_FLAGS ?=
BENCH_FLAGS ?=

# Where git does not trust the tree (another owner, no .git), Go cannot stamp the commit and must not try.
ifneq ($(shell git rev-parse HEAD >/dev/null 2>&1 && echo yes),yes)
export GOFLAGS := $(GOFLAGS) -buildvcs=false
endif

.PHONY: demo test check bench scan run build setup

demo: setup build
	./bin/emsd demo $(DEMO_FLAGS)

test:
	scripts/setup.sh test
	scripts/check.sh

check:
	scripts/check.sh

bench: setup build
	./bin/emsd bench $(BENCH_FLAGS)

scan: setup
	scripts/scan.sh

run: build
	set -a; if [ -f .env ]; then . ./.env; fi; set +a; exec ./bin/emsd serve --migrate

build:
	go build -o bin/ ./cmd/...

setup:
	scripts/setup.sh
