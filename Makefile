# The tools' versions are pinned in e2e/tools/go.mod.
TOOLS := go tool -modfile=e2e/tools/go.mod

.PHONY: build run check test race lint format fuzz image

build: ## The static binary, bin/tidegate.
	CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o bin/tidegate ./cmd/tidegate

run: ## A broker on the default ports with its data in ./data.
	go run ./cmd/tidegate serve

test: ## All tests, as the README says.
	go test ./...

race: ## All tests with the race detector.
	go test -race ./...

lint: ## Formatting, vet, linters and, as a test, the rules of imports.
	go vet ./...
	$(TOOLS) golangci-lint run ./...
	go test -run '^Test(Imports|CoreOrder|GatewayNeedsNoProtocol)$$' ./e2e

check: lint race ## What has to pass before a commit.

format: ## gofumpt and the order of imports.
	$(TOOLS) golangci-lint fmt ./...

FUZZTIME ?= 30s
fuzz: ## Every fuzz target for FUZZTIME.
	@set -e; for pkg in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "$$pkg $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; \
	done

image: ## The container image tidegate:latest.
	docker build -t tidegate:latest .
