# SPDX-License-Identifier: Apache-2.0
#
# Each target is one plain command. They need Go, make and a POSIX shell, and touch nothing outside of this folder but Go's own caches.

export GOFLAGS ?= -buildvcs=false

# The race detector needs cgo and a C compiler; without them the tests run without it.
CC_FOUND := $(shell command -v $$(go env CC) 2>/dev/null)
RACE     := $(if $(and $(filter 1,$(shell go env CGO_ENABLED)),$(CC_FOUND)),-race)
FUZZTIME ?= 30s
BENCH    ?= .
INTEROP  ?=
LINT     := go tool -modfile=tools/go.mod golangci-lint

# Real engines: where they are, their tests, and who may run them.
ENGINES      := engines=$$(.ci/interop-setup) && export CNM_INTEROP_ENGINES=$$engines CNM_INTEROP_CNM=$(CURDIR)/bin/cnm
ENGINES_TEST := go test -count=1 -timeout 15m -tags interop
NEEDS_ROOT   := real container engines mount and have control groups of their own, which needs root

.DEFAULT_GOAL := help
.PHONY: help build demo demo-docker test test-interop root lint fmt fuzz bench bench-short microbench golden cover check

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 18

build: ## build the one static binary, bin/cnm, and bin/hello to try it with
	@mkdir -p bin
	CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o bin/ ./cmd/cnm ./examples/hello

demo: build ## show networks, isolation, published ports and a kill under traffic, in namespaces of its own
	CGO_ENABLED=0 go build -trimpath -o bin/cnm-demo ./test/demo && bin/cnm-demo -cnm bin/cnm

test: ## run all tests; says at the end what was skipped, and why
	@$(if $(RACE),,echo 'without the race detector: there is no cgo or no C compiler')
	@echo 'not here: real engines, which need root; see make test-interop'
	@mkdir -p bin && go test -json -timeout 8m $(RACE) ./... | go run ./internal/testreport -summary bin/summary-test

demo-docker: root build ## show Docker, runc and processes on one network, with real engines; root
	@CGO_ENABLED=0 go build -trimpath -o bin/cnm-demo-docker ./test/interop/demo && $(ENGINES) && bin/cnm-demo-docker

# Whoever sets INTEROP wants to see what go test prints.
test-interop: root build ## run the tests with real container engines; root, and Debian's packages, which are not installed
	@$(ENGINES) && $(if $(INTEROP),$(ENGINES_TEST) $(INTEROP) ./test/interop,$(ENGINES_TEST) -json ./test/interop | \
		go run ./internal/testreport -not-run /dev/null -summary bin/summary-interop)

root:
	@[ "$$(id -u)" -eq 0 ] || { echo '$(NEEDS_ROOT): sudo make $(MAKECMDGOALS)' >&2; exit 1; }

lint: ## run the linters
	$(LINT) run ./...

fmt: ## format all code
	$(LINT) fmt ./...

fuzz: ## run every fuzz test for FUZZTIME (30s)
	@grep -rn --include='*_test.go' '^func Fuzz' . | grep -v /testdata/ | sed 's|^\(.*\)/[^/]*:[0-9]*:func \(Fuzz[A-Za-z0-9_]*\).*|\1 \2|' | while read -r dir name; do go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "$$dir" || exit 1; done

bench: ## measure against the limits of bench/README.md, and write bench/results.md
	go run ./bench -full

# Left out are those that a busy machine spoils: an attach while a thousand go, and growth, whose two ends are seconds apart.
bench-short: ## a minute of it: fails where a figure is at twice its limit
	go run ./bench -short -run 'trips|attach|existing|callers|detach|daemon' -o ''

microbench: ## run the benchmarks of single rooms that BENCH matches
	go test -run '^$$' -bench '$(BENCH)' -benchmem ./...

golden: ## rewrite the golden files; explain the difference where you commit it
	go test $$(grep -rl --include='*_test.go' '"update"' . | grep -v /testdata/ | xargs -n1 dirname | sort -u) -update

cover: ## measure what the tests reach, into bin/cover.html
	@mkdir -p bin && go test -coverpkg=./... -coverprofile=bin/cover.out ./... && go tool cover -html=bin/cover.out -o bin/cover.html

# What needs root is left out for those who are not, but not in CI.
check: ## what CI runs: lint, demos, tests, a minute of benchmarks, each with its time
	@for part in lint demo test demo-docker test-interop bench-short; do \
		case $$part in demo-docker | test-interop) \
			[ "$$(id -u)" -eq 0 ] || [ "$$CI" = true ] || { echo "== $$part: not run: $(NEEDS_ROOT): sudo make $$part"; continue; };; \
		esac; \
		start=$$(date +%s); $(MAKE) --no-print-directory $$part; status=$$?; \
		echo "== $$part: $$(( $$(date +%s) - start )) s"; \
		[ $$status -eq 0 ] || exit 1; \
	done
