/* SPDX-License-Identifier: MIT */
/*
 * A hostile guest on the PCI bus: each 12 bytes of the input are one access to the configuration ports, ECAM, or the place of a BAR, or
 * an interrupt from a device. Whatever it does, a BAR is on its bus exactly where its bytes say, or nowhere, `moved` tells the same,
 * and vectors are bounded and all given back.
 */
#include <stdio.h>

#define FAKE_WITHOUT_CHECK
#include "tests/unit/fake_pci.h"

#define STEP 12
#define MAX_STEPS 256
#define N_FUNCTIONS 3
#define VECTORS 9

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fuzz_pci_config: broken promise: %s\n", what);
	abort();
}

static uint64_t bytes_of(const struct pci_bar *bar)
{
	unsigned i = (unsigned)(bar - bar->dev->bars);
	const uint8_t *config = bar->dev->config + PCI_BAR0 + 4 * i;
	uint64_t v = bar->kind == PCI_BAR_MEM64 ? load_le64(config) : load_le32(config);

	return v & ~(bar->region.size - 1);
}

static void check(const struct fake_fn *fn)
{
	uint16_t command = load_le16(fn->pci.config + PCI_COMMAND);

	for (unsigned i = 0; i < PCI_BARS; i++) {
		const struct pci_bar *bar = &fn->pci.bars[i];

		if (!bar->used)
			continue;
		if (bar->mapped) {
			require(bar->region.base && bar->region.base == bytes_of(bar), "a BAR is where its bytes say");
			require(command & (bar->kind == PCI_BAR_IO ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY), "it decodes");
			require(bar->kind == PCI_BAR_IO || bar->region.base >= FAKE_RAM, "it is not over RAM");
		}
		require(fn->place[i] == (bar->mapped ? bar->region.base : 0), "`moved` tells the same");
	}
	require((load_le32(fn->pci.config) == 0x56781234) && fn->pci.config[PCI_INTERRUPT_PIN] == 1, "what is read-only stays");
}

static void step(struct fake_pci *p, struct fake_fn *const *fns, const uint8_t *d)
{
	struct fake_fn *fn = fns[d[1] % N_FUNCTIONS];
	const struct pci_bar *bar = &fn->pci.bars[d[2] % PCI_BARS];
	unsigned len = 1 + d[3] % 8;
	uint64_t v = load_le64(d + 4);

	switch (d[0] % 8) {
	case 0: /* ports, anywhere around */
		fake_bus_write(p->env.pio, 0xcf6 + d[2] % 12, v, len > 4 ? 4 : len);
		fake_bus_read(p->env.pio, 0xcf6 + d[2] % 12, len > 4 ? 4 : len);
		break;
	case 1: /* ECAM, anywhere */
		fake_bus_write(p->env.mmio, FAKE_ECAM + load_le32(d + 1) % (PCI_ECAM_SIZE + 8), v, len);
		fake_bus_read(p->env.mmio, FAKE_ECAM + load_le32(d + 1) % (PCI_ECAM_SIZE + 8), len);
		break;
	case 2: /* the header of a function that is there */
		fake_ecam_write(p, (unsigned)fn->pci.devfn, d[2] % 0x50, v, len);
		break;
	case 3: /* a BAR near others, decoding on */
		fake_bar_write(p, (unsigned)fn->pci.devfn, d[2] % PCI_BARS, (d[3] & 1 ? FAKE_MEM32 : 0xc000) + (d[4] << 12));
		fake_command(p, (unsigned)fn->pci.devfn, d[5]);
		break;
	case 4:
	case 5: /* what is in a BAR: the MSI-X table, too */
		if (bar->used) {
			struct bus *space = bar->kind == PCI_BAR_IO ? p->env.pio : p->env.mmio;

			fake_bus_write(space, bar->region.base + load_le16(d + 10) % bar->region.size, v, len);
			fake_bus_read(space, bar->region.base + load_le16(d + 10) % bar->region.size, len);
		}
		break;
	case 6:
		pci_msix_fire(&fn->pci, d[2] % (VECTORS + 1));
		pci_set_intx(&fn->pci, d[3] & 1);
		break;
	case 7:
		if (d[2] < 16)
			pci_dev_reset(&fn->pci);
		fake_ecam_write(p, (unsigned)fn->pci.devfn, 0x40 + PCI_MSIX_CONTROL, v, 2);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fake_pci p;
	struct fake_fn *fns[N_FUNCTIONS];
	struct err err = ERR_INIT;

	fake_pci_init(&p);
	p.msis.room = 2 * VECTORS; /* not enough for all */
	for (unsigned i = 0; i < N_FUNCTIONS; i++)
		fns[i] = fake_fn_add(&p, "fuzzed", i == 2 ? PCI_DEVFN(3, 1) : PCI_ADDR_AUTO, VECTORS);
	require(pci_bus_assign(p.bus, &err) == 0, "places for all");
	for (size_t n = 0; n < MAX_STEPS && size >= STEP; n++, data += STEP, size -= STEP) {
		step(&p, fns, data);
		for (unsigned i = 0; i < N_FUNCTIONS; i++)
			check(fns[i]);
	}
	for (unsigned i = 0; i < N_FUNCTIONS; i++)
		fake_fn_remove(fns[i]);
	for (unsigned i = 0; i < 4; i++)
		require(!p.intx[i], "interrupt lines are low when all is gone");
	fake_pci_fini(&p);
	return 0;
}
