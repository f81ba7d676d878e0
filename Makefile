# netboot-imager. `make` alone lists the targets.

GO ?= go

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

.PHONY: test
test: deps-test check ## everything CI runs: checks and all tests (as root also on real disks)
	$(GO) test -race -timeout 60m ./...

.PHONY: check
check: ## formatting, vet, staticcheck, tidy
	@out=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$out" || { echo "gofmt would change: $$out" >&2; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) mod tidy -diff
	cd gokrazy-instance/builddir && $(GO) mod tidy -diff
	cd internal/e2e/testdata/hello/builddir && $(GO) mod tidy -diff

.PHONY: deps-test
deps-test:
	@tools/install-deps.sh test

.PHONY: faults
faults: deps-test ## the whole fault matrix, three quarters of an hour, and docs/faults.md from it (flags: FAULTS='-run TestDisk')
	$(GO) test ./internal/faults -count=1 -timeout 4h $(FAULTS) -args -full -page

.PHONY: fuzz
fuzz: ## each fuzz target for a minute (FUZZTIME=1m)
	tools/fuzz.sh $(FUZZTIME)

.PHONY: build
build: ## the imager for this machine, in build/imager
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags='-s -w' -o build/imager ./imager

.PHONY: flash
flash: ## the command for operators, in build/flash
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags='-s -w' -o build/flash ./tools/flash

.PHONY: man
man: ## manual pages of flash, in build/man
	$(GO) run ./tools/flash/man build/man

.PHONY: netboot
netboot: build/station.gaf ## the tree that Pis netboot from, in build/netboot (flags: MKNETBOOT='-station SERIAL -config-url URL')
	$(GO) run ./tools/mknetboot -gaf build/station.gaf -out build/netboot $(MKNETBOOT)

.PHONY: netbootd
netbootd: build/station.gaf ## the boot server, in build/netbootd, and the system that it serves first
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags='-s -w' -o build/netbootd ./tools/netbootd

# gok decides what to build anew; the archive is made each time.
.PHONY: build/station.gaf
build/station.gaf:
	@mkdir -p build
	$(GO) tool gok -i gokrazy-instance --parent_dir . overwrite --gaf build/station.gaf

.PHONY: demo
demo: deps-demo build/station.gaf ## netboot an emulated Pi 3B, write its card, boot that (flags: DEMO='-model virt-nvme')
	$(GO) run ./tools/emupi demo -gaf build/station.gaf $(DEMO)

.PHONY: deps-demo
deps-demo:
	@tools/install-deps.sh $$(test $$(id -u) -eq 0 && echo demo || echo demo-user)

.PHONY: bench
bench: deps-bench ## measure against other tools and write docs/performance.md (flags: BENCH='-quick -formats gzip')
	$(GO) run ./tools/bench -docs docs $(BENCH)
	$(GO) test -run '^$$' -bench . -benchtime 1x ./tools/netbootd

.PHONY: deps-bench
deps-bench:
	@tools/install-deps.sh bench
