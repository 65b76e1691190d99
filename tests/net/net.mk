# SPDX-License-Identifier: MIT
# What tests/net/run needs.
$(B)/tests/net/tapguest: $(B)/tests/net/tapguest.o $(B)/libkite.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $< $(B)/libkite.a $(LIBS)

nettests: $(B)/tests/net/tapguest $(B)/kite-user-net
.PHONY: nettests
