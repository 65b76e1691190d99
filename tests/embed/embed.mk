# SPDX-License-Identifier: MIT
# The library for other programs: one object in which nothing is visible but what kite.h declares, so that none of Kite's own names can meet one
# of theirs. `make install-lib` installs it with its header and its pkg-config file; `make install` does, too.
EMBED_B := $(B)/embed
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include

$(EMBED_B)/names: vmm/kite.h
	@mkdir -p $(@D)
	$(Q)grep -oE '\bkite_[a-z_]+\(' $< | tr -d '(' | sort -u >$@

# As in kite, what only packs is not in it (blk/qcow2_pack.c), nor the libraries for that.
EMBED_OBJ := $(filter-out %/blk/qcow2_pack.o,$(LIB_OBJ))
$(EMBED_B)/libkite.a: $(EMBED_OBJ) $(EMBED_B)/names
	$(call say,AR,  $@)
	$(Q)$(LD) -r -o $(EMBED_B)/kite.o $(EMBED_OBJ)
	$(Q)objcopy --keep-global-symbols=$(EMBED_B)/names $(EMBED_B)/kite.o
	$(Q)rm -f $@ && $(AR) rcs $@ $(EMBED_B)/kite.o

# The library is static only: what it needs is always linked with it.
$(EMBED_B)/kite.pc: Makefile tests/embed/embed.mk
	@mkdir -p $(@D)
	$(Q)printf '%s\n' 'prefix=$(PREFIX)' 'libdir=$(LIBDIR)' 'includedir=$(INCLUDEDIR)' '' 'Name: kite' \
		'Description: virtual machines on KVM, inside a program' 'Version: $(VERSION)' 'Cflags: -I$${includedir}' \
		'Libs: -L$${libdir} -lkite $(filter -l%,$(LIBS)) -pthread' >$@

.PHONY: install-lib
install-lib: $(EMBED_B)/libkite.a $(EMBED_B)/kite.pc
	install -D -m 644 vmm/kite.h $(DESTDIR)$(INCLUDEDIR)/kite.h
	install -D -m 644 $(EMBED_B)/libkite.a $(DESTDIR)$(LIBDIR)/libkite.a
	install -D -m 644 $(EMBED_B)/kite.pc $(DESTDIR)$(LIBDIR)/pkgconfig/kite.pc
install: install-lib
