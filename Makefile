# What users and developers type. `make demo` and `make test` need nothing but Go on a machine with the usual tools.

GOLANGCI_LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
# A Go older than the toolchain line of go.mod, which has fixes for known vulnerabilities, fetches that
# one, also where it was installed to fetch none; GOTOOLCHAIN=local takes what there is.
export GOTOOLCHAIN ?= auto
FUZZ ?= 100000x
TIME ?= 2m

# Programs of the administrator, such as mkfs, are not on every user's path.
export PATH := $(PATH):/usr/sbin:/sbin

.PHONY: build demo test race lint vuln fuzz chaos needs bench bench-compare profile

build:
	go build -o bin/ ./cmd/...

demo: build
	scripts/demo.sh $(if $(IMAGE),"$(IMAGE)")

test: needs build
	go test ./...

race: needs
	go test -race ./...

lint:
	test -z "$$(gofmt -l .)" || { gofmt -l .; exit 1; }
	go vet ./...
	go run $(GOLANGCI_LINT) run

# Known vulnerabilities in what the programs call, of Go's own library too.
vuln:
	@scripts/need.sh jq jq
	scripts/vuln.sh

fuzz:
	scripts/fuzz.sh $(FUZZ)

# Many jobs while endpoints fail and Redis and transferds are killed, stopped and cut off; SEED=N does again what it did,
# QUEUE=embedded or QUEUE=memory has transferd bring the queue.
chaos: needs
	go run ./chaos -time $(TIME) $(if $(SEED),-seed $(SEED)) $(if $(QUEUE),-queue $(QUEUE))

# Programs that tests run, each with the Debian package that has it. No test passes without one that it needs.
NEEDS := "redis-server redis-server" "jq jq" "mkfs.ext4 e2fsprogs" "mkfs.xfs xfsprogs" "mkfs.btrfs btrfs-progs" \
	"mkfs.vfat dosfstools" "mkswap util-linux" "losetup mount" "qemu-img qemu-utils" "zstd zstd" "xz xz-utils" \
	"bzip2 bzip2" "zip zip"

needs:
	@for need in $(NEEDS); do scripts/need.sh $$need || exit 1; done

# What users would pick instead, beside transferd: bench/README.md says how to read it.
bench-compare:
	@for need in "pigz pigz" "nbdcopy libnbd-bin" "nbdkit nbdkit" "qemu-img qemu-utils" "rclone rclone" "mkfs.ext4 e2fsprogs" "openssl openssl"; do \
		scripts/need.sh $$need || exit 1; done
	go run ./bench/compare

# Where the processor time goes.
profile:
	scripts/profile.sh

# Everything that is measured, against the committed figures.
bench:
	go test ./bench -run '^$$' -bench 'Zero|Digest|Compare|Encode|Decode|Plan|Root|Text' -benchtime 100ms -count 6 | tee bench/latest.txt
	go test ./bench -run '^$$' -bench 'Upload|Tebibyte|Others' -benchtime 3x -count 6 | tee -a bench/latest.txt
	go run golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da bench/baseline.txt bench/latest.txt
