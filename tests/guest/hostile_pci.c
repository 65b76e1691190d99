/* SPDX-License-Identifier: MIT */
/*
 * The machine's ports and the registers of virtio devices accessed in every width, misaligned, by string instructions and across
 * their ends; BARs moved onto other things while the device is in use; MSI-X entries that mean nothing; the command register switched
 * under load. The devices must work afterwards, memory and interrupt controllers be as they were.
 */
#include "victim.h"

#define LOAD_MS 80
#define PATIENCE_MS 20000

/* ---- ports ---- */

/* Ports that are not written: they end the run, reset the machine, or are the console. 8042, 92h, RCR, ACPI's control, ISA debug exit. */
static bool dangerous(uint16_t port)
{
	return (port >= 0xf1 && port <= 0xf7) || (port >= 0x60 && port <= 0x64) || port == 0x92 || (port >= 0x8f && port < 0x92) ||
	       (port >= 0xcf5 && port <= 0xcff) || (port >= 0x600 && port < 0x640) || (port >= COM1 - 3 && port < COM1 + 8) || port == 0x70 ||
	       port == 0x71 || port == 0x6f || port == 0x6e || port == 0x6d || port == 0xb2 || port == 0xb3 || (port >= 0xe0 && port < 0xf1) ||
	       (port >= 0x2000 && port < 0x2020);
}

/* Everything that has something, and a part of what has not. */
static uint32_t next_port(uint32_t port)
{
	if (port < 0x500 || (port >= 0xb00 && port < 0xd00) || (port >= 0x5f0 && port < 0x640))
		return port + 1;
	return port + 37;
}

static void string_in(uint16_t port, void *to)
{
	uint64_t n = 3;

	asm volatile("rep insb" : "+D"(to), "+c"(n) : "d"(port) : "memory");
	n = 3;
	asm volatile("rep insw" : "+D"(to), "+c"(n) : "d"(port) : "memory");
	n = 3;
	asm volatile("rep insl" : "+D"(to), "+c"(n) : "d"(port) : "memory");
}

static void string_out(uint16_t port, const void *from)
{
	uint64_t n = 2;

	asm volatile("rep outsb" : "+S"(from), "+c"(n) : "d"(port) : "memory");
	n = 2;
	asm volatile("rep outsw" : "+S"(from), "+c"(n) : "d"(port) : "memory");
	n = 2;
	asm volatile("rep outsl" : "+S"(from), "+c"(n) : "d"(port) : "memory");
}

static void ports(void)
{
	static uint8_t bytes[64];
	unsigned n = 0;

	for (uint32_t port = 0; port < 0x10000; port = next_port(port), n++) {
		(void)inb((uint16_t)port);
		(void)inw((uint16_t)port);
		(void)inl((uint16_t)port);
		if (port % 4 == 1 && !dangerous((uint16_t)port))
			string_in((uint16_t)port, bytes);
	}
	memset(bytes, 0, sizeof(bytes));
	for (uint32_t port = 0x80; port < 0x10000; port = next_port(port)) {
		if (dangerous((uint16_t)port))
			continue;
		outb((uint16_t)port, 0);
		outw((uint16_t)port, 0);
		outl((uint16_t)port, 0);
		if (port % 8 == 3)
			string_out((uint16_t)port, bytes);
	}
	console_init();
	pic_init();
	for (size_t i = 0; i < n_victims; i++) /* their legacy registers were among them */
		victim_begin(&victims[i], 0);
	test(inl(0xfff0) == 0xffffffff, "%u ports in every width, misaligned and by string instructions", n);
}

/* ---- registers in memory and ports ---- */

static void read_all(uint64_t base, unsigned size)
{
	for (unsigned page = 0; page < size; page += 0x1000)
		for (unsigned at = 0; at < 0x1000; at = at == 0x60 ? 0xff0 : at + 1) {
			uint64_t a = base + page + at;

			(void)read8(a);
			(void)read16(a);
			(void)read32(a);
			(void)read64(a);
		}
}

static void write_some(uint64_t base, unsigned size, unsigned n)
{
	while (n--) {
		uint64_t a = base + random32() % size;
		uint64_t value = n & 4 ? container_bits(random32(), random32()) : n & 8 ? ~UINT64_C(0) : 0;

		switch (n & 3) {
		case 0: write8(a, (uint8_t)value); break;
		case 1: write16(a, (uint16_t)value); break;
		case 2: write32(a, (uint32_t)value); break;
		case 3: write64(a, value); break;
		}
	}
}

/* The common configuration with whatever; rings may then be anywhere in memory, so no DRIVER_OK. */
static bool registers(struct victim *v)
{
	static uint8_t bytes[256];

	virtio_reset(&v->dev);
	read_all(v->modern.common & ~UINT64_C(0x3fff), 0x4000);
	for (unsigned i = 0; i < 200; i++) {
		write_some(v->modern.common, COMMON_STATUS, 2);
		write_some(v->modern.common + COMMON_STATUS + 1, 60, 2);
	}
	write_some((v->modern.common & ~UINT64_C(0x3fff)) + 0x1000, 0x2ff8, 300);
	memcpy(bytes, (void *)v->modern.common, sizeof(bytes));
	memcpy((void *)(v->modern.notify + 0xff0), bytes, 16);
	return true;
}

static bool msix_noise(struct victim *v)
{
	uint64_t bar = v->dev.msix_table;
	bool ok = victim_begin(v, 0);

	if (!v->dev.msix)
		return ok;
	read_all(bar, 0x1000);
	virtio_msix_on(&v->dev);
	virtio_set_vector(&v->dev, (int)v->queue, 0);
	virtq_interrupts(&v->vq, true);
	for (unsigned round = 0; round < 40; round++) {
		/* Any address but that of a local APIC: what comes there is an interrupt, as it should be. */
		write32(bar, random32() & 0x0fffffff);
		write64(bar + 8 + 16 * (random32() % 300), ~UINT64_C(0));
		write64(bar + 8, random32());
		ok = victim_request(v) && ok;
	}
	write_some(v->dev.msix_pba, 0x700, 60);
	write_some(bar + 16 * v->dev.msix_vectors, 0x400, 60);
	ok = ok && read32(bar + 16 * v->dev.msix_vectors + 16) == 0;
	pci_write(v->dev.devfn, v->dev.msix, 0xc0000000);
	ok = ok && victim_request(v);
	/* The answer is in the ring before the interrupt is raised. */
	for (uint64_t end = rdtsc() + tsc_khz() * PATIENCE_MS; !(read32(v->dev.msix_pba) & 1) && rdtsc() < end;)
		cpu_relax();
	ok = ok && (read32(v->dev.msix_pba) & 1) && !(read32(v->dev.msix_pba) >> v->dev.msix_vectors);
	pci_write(v->dev.devfn, v->dev.msix, 0);
	return ok;
}

static bool legacy_registers(struct victim *v)
{
	static uint8_t bytes[64];
	bool ok = true;

	if (!v->has_legacy)
		return true;
	virtio_reset(&v->dev);
	for (uint16_t at = 0; at < 140; at++) {
		uint16_t port = v->legacy.io + at;

		(void)inb(port);
		(void)inw(port);
		(void)inl(port);
		string_in(port, bytes);
	}
	memset(bytes, 0xff, sizeof(bytes));
	for (uint16_t at = 0; at < 140; at++) {
		uint16_t port = v->legacy.io + at;

		if (at + 3 >= LEGACY_STATUS && at <= LEGACY_STATUS)
			continue;
		outb(port, 0xff);
		outw(port, 0xffff);
		outl(port, 0xffffffff);
		if (at >= LEGACY_CONFIG && at < 60)
			string_out(port, bytes);
	}
	return ok;
}

/* ---- where it is ---- */

static void bar_set(const struct victim *v, uint64_t at)
{
	pci_write(v->dev.devfn, PCI_BAR0 + 16, (uint32_t)at);
	pci_write(v->dev.devfn, PCI_BAR0 + 20, (uint32_t)(at >> 32));
}

/* In use, put onto things that are there already, and back. */
static bool moved(struct victim *v)
{
	uint64_t home = pci_bar(v->dev.devfn, 4), other = 0;
	uint32_t lapic = lapic_read(LAPIC_VERSION), ioapic = ioapic_read(1);
	bool ok = victim_begin(v, 0);

	for (size_t i = 0; i < n_victims; i++)
		if (&victims[i] != v && victims[i].modern.common)
			other = pci_bar(victims[i].dev.devfn, 4);
	{
		const uint64_t places[] = { 0, (uintptr_t)v->data & ~UINT64_C(0x3fff), ram_end() - 0x4000, ram_end(), LAPIC, IOAPIC & ~UINT64_C(0x3fff),
					    other, v->dev.msix_table & ~UINT64_C(0x3fff), 0xb0000000, 0xfffffffffffc0000, UINT64_C(1) << 52, 0xffffc000 };

		for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
			bar_set(v, places[i]);
			ok = ok && lapic_read(LAPIC_VERSION) == lapic && ioapic_read(1) == ioapic;
			for (size_t n = 0; n < n_victims; n++)
				if (&victims[n] != v && victims[n].dev.type == VIRTIO_CONSOLE)
					ok = victim_request(&victims[n]) && ok;
			bar_set(v, home);
		}
	}
	virtq_ring(&v->vq);
	return victim_request(v) && ok;
}

/* Makes a buffer available and rings. Whether there is an answer within `us`. */
static bool answered(struct victim *v, unsigned us)
{
	struct buffer b[2] = { { v->data, 16 }, { v->data + 64, 1 } };
	int head;

	*(struct blk_header *)v->data = (struct blk_header){ .type = BLK_FLUSH };
	head = v->dev.type == VIRTIO_RNG ? virtq_chain(&v->vq, b + 1, 0, 1) : virtq_chain(&v->vq, b, 1, v->dev.type == VIRTIO_BLK);
	virtq_publish(&v->vq, (uint16_t)head);
	virtq_ring(&v->vq);
	delay_us(us);
	return v->vq.used->idx != v->vq.next_used;
}

/* Off before it starts: nothing happens until it is on. Off under a device that is at work: nothing happens any more. */
static bool mastering(struct victim *v)
{
	bool ok;

	pci_write(v->dev.devfn, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
	ok = victim_begin(v, 0) && !answered(v, 3000);
	pci_write(v->dev.devfn, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	ok = ok && virtq_wait(&v->vq, NULL, PATIENCE_MS) >= 0 && !(virtio_status(&v->dev) & VIRTIO_NEEDS_RESET);
	pci_write(v->dev.devfn, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
	ok = ok && virtio_status(&v->dev) & VIRTIO_NEEDS_RESET && !answered(v, 1000);
	pci_write(v->dev.devfn, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	return ok;
}

/* ---- under load: the other CPU switches, this one works ---- */

static struct victim *load;
static volatile bool stop, other_done;
static volatile uint32_t rounds;

static void switcher(void *arg)
{
	uint64_t home = pci_bar(load->dev.devfn, 4);

	(void)arg;
	for (unsigned i = 0; !stop; i++, rounds++) {
		pci_write(load->dev.devfn, PCI_COMMAND, i & 1 ? 7 : i & 6);
		if (i % 8 == 0)
			bar_set(load, 0xd8000000);
		if (i % 8 == 4)
			bar_set(load, home);
	}
	bar_set(load, home);
	pci_write(load->dev.devfn, PCI_COMMAND, 7);
	other_done = true;
}

static void worker(void *arg)
{
	uint64_t end = rdtsc() + tsc_khz() * LOAD_MS;
	struct virtq *vq = &load->vq;
	struct buffer b = { load->data, 64 };

	(void)arg;
	/* Until the other CPU has had its turn, too: on a busy machine it may begin late. */
	for (uint64_t now = rdtsc(); now < end || (rounds < 16 && now < end + tsc_khz() * PATIENCE_MS); now = rdtsc()) {
		int head = load->dev.type == VIRTIO_BLK ? -1 : virtq_chain(vq, &b, load->dev.type == VIRTIO_CONSOLE, load->dev.type == VIRTIO_RNG);

		if (head >= 0)
			virtq_publish(vq, (uint16_t)head);
		virtq_ring(vq);
		(void)read32(load->modern.common);
		while ((head = virtq_poll(vq, NULL)) >= 0)
			virtq_free(vq, (unsigned)head);
	}
	stop = true;
}

static void load_begin(void *arg)
{
	(void)arg;
	victim_interface(load, false);
	victim_begin(load, 0);
}

static void load_after(void *arg)
{
	(void)arg;
	/* Bus mastering was off (PCI 3.0, 6.2.2), and a device that was at work gives up. */
	victim_after(load, rounds > 0 && (vmm_is_qemu() || virtio_status(&load->dev) & VIRTIO_NEEDS_RESET),
		     "the command register and BARs under load");
}

static void under_load(struct victim *v)
{
	load = v;
	stop = other_done = false;
	rounds = 0;
	user_call(load_begin, NULL);
	smp_call_async(1, switcher, NULL);
	user_call(worker, NULL);
	while (!other_done)
		cpu_relax();
	user_call(load_after, NULL);
}

/* ---- */

static const struct {
	const char *name;
	bool (*run)(struct victim *v);
} attacks[] = {
	{ "registers in every width, misaligned, across ends", registers },
	{ "legacy registers, the same", legacy_registers },
	{ "MSI-X entries that mean nothing, and beyond the table", msix_noise },
	{ "bus mastering off", mastering },
};

static void all(void *arg)
{
	(void)arg;
	victims_start();
	ports();
	for (size_t i = 0; i < n_victims; i++) {
		if (!victim_interface(&victims[i], false))
			continue;
		for (size_t n = 0; n < ARRAY_SIZE(attacks); n++)
			victim_after(&victims[i], attacks[n].run(&victims[i]), attacks[n].name);
	}
}

void payload_main(void)
{
	tsc_khz();
	if (!test(smp_start() >= 1, "a second CPU"))
		return;
	user_call(all, NULL);
	for (size_t i = 0; i < n_victims; i++) {
		victim_after(&victims[i], moved(&victims[i]), "its registers moved onto other things"); /* reads the APIC: ring 0 */
		under_load(&victims[i]);
	}
}
