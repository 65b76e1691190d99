/* SPDX-License-Identifier: MIT */
/*
 * What watches over a guest: how=panic tells of a crash at the port, how=panic-pci by the function; how=ib700 and how=esb let a watchdog run
 * out. What then becomes of the machine is the runner's to say, and to see: with wait=nmi an NMI comes, with wait=boot the second boot does.
 */
#include "virtio.h"

#define PVPANIC_PORT 0x505
#define PVPANIC_ID 0x00111b36
#define ESB_ID 0x25ab8086
#define ESB_CONFIG 0x60
#define ESB_LOCK 0x68
#define ESB_RELOAD 0x0c
#define ESB_TIMEOUT 0x200
#define WAIT_MS 40000 /* for whatever ends it */

static volatile uint32_t nmis;

static void on_nmi(struct trap_frame *frame)
{
	(void)frame;
	nmis++;
}

static unsigned find(uint32_t id)
{
	for (unsigned devfn = 0; devfn < 256; devfn += 8)
		if (pci_read(devfn, 0) == id)
			return devfn;
	test_abort("no function %x", id);
}

static void panic_port(void)
{
	test_equal(inb(PVPANIC_PORT), 3, "events of pvpanic");
	print("guards: telling\n");
	outb(PVPANIC_PORT, 2);
	outb(PVPANIC_PORT, 1);
	print("guards: goes on\n");
}

static void panic_pci(void)
{
	uint64_t bar = pci_bar(find(PVPANIC_ID), 0);

	test_equal(read8(bar), 3, "events of pvpanic-pci");
	print("guards: telling\n");
	write8(bar, 1);
	print("guards: goes on\n");
}

static void ib700(void)
{
	outb(0x443, 0); /* 30 s */
	outb(0x441, 0); /* never */
	print("guards: telling\n");
	outb(0x443, 14); /* 2 s */
}

static void esb_unlock(uint64_t bar)
{
	write16(bar + ESB_RELOAD, 0x80);
	write16(bar + ESB_RELOAD, 0x86);
}

/* In 1/1024 s, each of the two. They count from the next feeding on. */
static void esb_stages(uint64_t bar, uint32_t ticks)
{
	for (unsigned stage = 0; stage < 2; stage++) {
		esb_unlock(bar);
		write32(bar + 4 * stage, ticks);
	}
}

static void esb_feed(uint64_t bar)
{
	esb_unlock(bar);
	write16(bar + ESB_RELOAD, 0x100);
}

static void esb(void)
{
	unsigned devfn = find(ESB_ID);
	uint64_t bar = pci_bar(devfn, 0);

	if (read16(bar + ESB_RELOAD) & ESB_TIMEOUT) {
		print("guards: boot after the watchdog\n");
		test(true, "it says who has reset the machine");
		test_done();
	}
	pci_write(devfn, ESB_CONFIG, 3);
	/* Two stages of 3 s that are fed for 8: a host that does something else for less than 5 is none the wiser. */
	esb_stages(bar, 3072);
	pci_write(devfn, ESB_LOCK, 2);
	for (unsigned i = 0; i < 8 && arg_is("feed", "yes"); i++) {
		delay_us(1000000);
		esb_feed(bar);
	}
	test(true, "it is content while it is fed");
	print("guards: telling\n");
	esb_stages(bar, 512);
	esb_feed(bar);
}

void payload_main(void)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} hows[] = { { "panic", panic_port }, { "panic-pci", panic_pci }, { "ib700", ib700 }, { "esb", esb } };

	tsc_khz();
	trap_set(2, on_nmi);
	for (size_t i = 0; i < ARRAY_SIZE(hows); i++)
		if (arg_is("how", hows[i].name))
			hows[i].run();
	if (arg_is("wait", "no"))
		return;
	test(wait_count(&nmis, 1, WAIT_MS), "an NMI");
}
