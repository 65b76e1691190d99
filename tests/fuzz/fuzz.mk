# SPDX-License-Identifier: MIT
# libFuzzer targets, one for each tests/fuzz/fuzz_NAME.c: build/fuzz/fuzz_NAME, with clang and its sanitizers.
#
#   make fuzz               all of them, FUZZ_S seconds each
#   make fuzz FUZZ_S=5      a short run
#
# New inputs gather in build/fuzz/corpus/NAME, beside the seeds that tests/fuzz/make_seeds.py makes. An input that crashes is
# kept as build/fuzz/NAME-crash-*; give it to build/fuzz/fuzz_NAME as its argument to see it again.
FUZZ_CC ?= clang
FUZZ_S ?= 60
FUZZ_SRC := $(sort $(wildcard tests/fuzz/fuzz_*.c))
FUZZ_BIN := $(FUZZ_SRC:tests/fuzz/%.c=$(B)/fuzz/%)
FUZZ_LIB_OBJ := $(LIB_SRC:%.c=$(B)/fuzz/obj/%.o)
FUZZ_USERNET_OBJ := $(patsubst %.c,$(B)/fuzz/obj/%.o,$(filter-out %/main.c %/stack.c %/forward.c %/control.c %/sandbox.c,$(USERNET_SRC)))
FUZZ_SAN := -fsanitize=address,undefined -fno-sanitize-recover=all
FUZZ_CFLAGS := -std=gnu11 -O1 -g -fno-omit-frame-pointer $(WARN) -pthread
FUZZ_SEEDS := $(B)/fuzz/corpus/.seeds

.PHONY: fuzz
$(B)/fuzz/obj/%.o: %.c tests/fuzz/fuzz.mk
	@mkdir -p $(@D)
	$(call say,CC,  $@)
	$(Q)$(FUZZ_CC) $(CPPFLAGS) $(FUZZ_CFLAGS) $(FUZZ_SAN) -fsanitize=fuzzer-no-link -MMD -MP -c -o $@ $<

$(B)/fuzz/libkite.a: $(FUZZ_LIB_OBJ)
	$(call say,AR,  $@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(B)/fuzz/fuzz_%: $(B)/fuzz/obj/tests/fuzz/fuzz_%.o $(B)/fuzz/libkite.a
	$(call say,LINK,$@)
	$(Q)$(FUZZ_CC) $(FUZZ_CFLAGS) $(FUZZ_SAN) -fsanitize=fuzzer -o $@ $< $(B)/fuzz/libkite.a $(LIBS)

$(B)/fuzz/fuzz_qcow2: LIBS := -Wl,-u,q_deflate $(LIBS) $(PACK_LIBS)
# Parts of kite-user-net that need no libslirp.
$(filter $(B)/fuzz/fuzz_usernet_%,$(FUZZ_BIN)): $(B)/fuzz/libusernet.a
$(filter $(B)/fuzz/fuzz_usernet_%,$(FUZZ_BIN)): LIBS := $(B)/fuzz/libusernet.a $(B)/fuzz/libkite.a $(LIBS)
$(B)/fuzz/libusernet.a: $(FUZZ_USERNET_OBJ)
	$(call say,AR,  $@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(FUZZ_SEEDS): tests/fuzz/make_seeds.py
	@mkdir -p $(@D)
	$(Q)python3 $< $(@D)
	@touch $@

fuzz: $(FUZZ_BIN) $(FUZZ_SEEDS)
	@FUZZ_S=$(FUZZ_S) tests/fuzz/run $(FUZZ_BIN)

-include $(FUZZ_USERNET_OBJ:.o=.d) $(FUZZ_LIB_OBJ:.o=.d) $(FUZZ_SRC:%.c=$(B)/fuzz/obj/%.d)
