# What users and developers type. `make demo` and `make test` need nothing but Go on a machine with the usual tools.

GOLANGCI_LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
FUZZTIME ?= 10s

.PHONY: build demo test race lint fuzz redis

build:
	go build -o bin/ ./cmd/...

demo: build
	scripts/demo.sh $(IMAGE)

test: redis build
	go test ./...

race: redis
	go test -race ./...

lint:
	test -z "$$(gofmt -l .)" || { gofmt -l .; exit 1; }
	go vet ./...
	go run $(GOLANGCI_LINT) run

fuzz:
	scripts/fuzz.sh $(FUZZTIME)

# The tests of the queue run against a real redis-server and never pass without one.
redis:
	@scripts/need.sh redis-server redis-server
