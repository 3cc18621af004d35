# What users and developers type. No target installs a program: one that lacks some names them all, with the Debian
# packages that have them, and fails.

GOLANGCI_LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
# A Go older than the toolchain line of go.mod, which has fixes for known vulnerabilities, fetches that
# one, also where it was installed to fetch none; GOTOOLCHAIN=local uses the installed one.
export GOTOOLCHAIN ?= auto
FUZZ ?= 100000x
TIME ?= 2m

# Programs of the administrator, such as mkfs, are not on every user's path.
export PATH := $(PATH):/usr/sbin:/sbin

# The programs that targets run, as PROGRAM=PACKAGE, with the Debian package of each, and Python's modules, as
# python3:MODULE=PACKAGE; coreutils, gzip and tar are on every Debian. No test passes without what it needs.
GO_NEEDS := go=golang-go
VULN_NEEDS := $(GO_NEEDS) jq=jq
MKFS_NEEDS := $(GO_NEEDS) mkfs.ext4=e2fsprogs
DEMO_NEEDS = $(if $(IMAGE),$(GO_NEEDS),$(MKFS_NEEDS)) bash=bash flock=util-linux
TEST_NEEDS := $(VULN_NEEDS) $(MKFS_NEEDS) redis-server=redis-server redis-cli=redis-tools mkfs.xfs=xfsprogs \
	mkfs.btrfs=btrfs-progs mkfs.vfat=dosfstools mkswap=util-linux setpriv=util-linux script=bsdutils losetup=mount \
	mount=mount qemu-img=qemu-utils qemu-io=qemu-utils zstd=zstd xz=xz-utils bzip2=bzip2 zip=zip \
	python3:libcloud=python3-libcloud
RACE_NEEDS := $(TEST_NEEDS) gcc=build-essential
COMPARE_NEEDS := $(MKFS_NEEDS) pigz=pigz curl=curl nbdcopy=libnbd-bin nbdkit=nbdkit qemu-img=qemu-utils rclone=rclone \
	openssl=openssl

.PHONY: build demo test race lint vuln fuzz chaos needs packages bench bench-compare profile

build:
	@scripts/need.sh $(GO_NEEDS)
	go build -o bin/ ./cmd/...

# IMAGE is any path, as it was typed: make would expand a $ in it. The shell reads it from the environment.
override export IMAGE := $(value IMAGE)
demo:
	@scripts/need.sh $(DEMO_NEEDS)
	@exec scripts/demo.sh $${IMAGE:+"$$IMAGE"}

# The tests of the command line wait for leases and late bytes for minutes, longer on a slow host.
TEST_TIMEOUT := 25m

test: needs build
	go test -timeout $(TEST_TIMEOUT) ./...

race:
	@scripts/need.sh $(RACE_NEEDS)
	go test -race -timeout $(TEST_TIMEOUT) ./...

lint:
	@scripts/need.sh $(GO_NEEDS)
	test -z "$$(gofmt -l .)" || { gofmt -l .; exit 1; }
	go vet ./...
	go run $(GOLANGCI_LINT) run

# Known vulnerabilities in what the programs call, of Go's own library too.
vuln:
	@scripts/need.sh $(VULN_NEEDS)
	scripts/vuln.sh

fuzz:
	@scripts/need.sh $(GO_NEEDS)
	scripts/fuzz.sh $(FUZZ)

# Many jobs while endpoints fail and Redis and transferds are killed, stopped and cut off; SEED=N repeats a run,
# QUEUE=embedded or QUEUE=memory has transferd bring the queue.
chaos: needs
	go run ./chaos -time $(TIME) $(if $(SEED),-seed $(SEED)) $(if $(QUEUE),-queue $(QUEUE))

needs:
	@scripts/need.sh $(TEST_NEEDS)

# The Debian packages that .ci/run installs.
packages:
	@scripts/need.sh --packages $(RACE_NEEDS)

# transferd against other programs that do the same work: bench/README.md explains the table.
bench-compare:
	@scripts/need.sh $(COMPARE_NEEDS)
	go run ./bench/compare

# Where the processor time goes.
profile:
	@scripts/need.sh $(MKFS_NEEDS)
	scripts/profile.sh

# All benchmarks, against the committed figures.
bench:
	@scripts/need.sh $(MKFS_NEEDS)
	go test ./bench -run '^$$' -bench 'Zero|Digest|Compare|Encode|Decode|Plan|Root|Text' -benchtime 100ms -count 6 | tee bench/latest.txt
	go test ./bench -run '^$$' -bench 'Upload|Tebibyte|Others' -benchtime 3x -count 6 | tee -a bench/latest.txt
	go run golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da bench/baseline.txt bench/latest.txt
