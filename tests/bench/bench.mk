# SPDX-License-Identifier: MIT
# make bench: what this machine can measure, against QEMU and against the floor; the rest is measured in the lab.
$(B)/bench/floor: tests/bench/floor.c tests/bench/bench.mk
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $<

.PHONY: bench
bench: $(B)/kite $(B)/bench/floor payloads
	@B=$(B) tests/bench/run.py
