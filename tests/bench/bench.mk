# SPDX-License-Identifier: MIT
# make bench: what this machine can measure, against QEMU and against the floor; the rest is measured in the lab. ONLY=start,size...: some of it.
# make bench-compare BASE=rev: this tree against another of its commits. Status 1 and a line for each figure that is 5 % worse.
BENCH_BIN := $(B)/bench/floor $(B)/bench/floor-linux $(B)/bench/netpeer $(B)/bench/init

$(B)/bench/floor: tests/bench/floor.c tests/bench/bench.mk
$(B)/bench/floor-linux: tests/bench/floor_linux.c tests/bench/bench.mk
$(B)/bench/netpeer: tests/bench/netpeer.c tests/bench/bench.mk
$(B)/bench/floor $(B)/bench/floor-linux $(B)/bench/netpeer:
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $<

# The first program of the guests that boot.
$(B)/bench/init: tests/bench/init.c tests/bench/bench.mk
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) -std=gnu11 -Os $(WARN) -D_GNU_SOURCE -static -s -o $@ $<

.PHONY: bench bench-compare bench-deps
bench-deps:
	@tools/deps build guest lab bench

bench: bench-deps $(B)/kite $(B)/kite-img $(B)/kite-user-net $(BENCH_BIN) payloads
	@B=$(B) tests/bench/run.py $(if $(ONLY),--only $(ONLY)) $(if $(RUNS),--runs $(RUNS))

bench-compare: bench-deps $(B)/kite $(BENCH_BIN) payloads
	@B=$(B) tests/bench/compare.py $(if $(ONLY),--only $(ONLY)) $(if $(RUNS),--runs $(RUNS)) $(BASE)

.PHONY: bench-check
bench-check:
	@tests/bench/test_bench.py
check: bench-check
