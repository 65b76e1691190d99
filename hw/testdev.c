/* SPDX-License-Identifier: MIT */
/*
 * pc-testdev: what small test kernels (kvm-unit-tests) expect of QEMU's device of this name.
 *
 *   ports 0xe0-0xe3      a 32-bit register that reads what was written, in accesses of 1, 2 and 4 bytes
 *   ports 0xe4-0xe7      a 4-byte write of a guest address: the mapping of that page is taken from the guest, whose next access
 *                        faults in the host and goes on. No effect that the guest can see but time
 *   ports 0xe8-0xeb      the same register as 0xe0, through a device that is one byte wide
 *   ports 0x2000-0x2017  a write sets the level of GSI 0 to 23: 0 low, else high
 *   memory 0xff000000    64 KiB that read what was written, with an exit for each access
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "hw/devices.h"
#include "vmm/bus.h"
#include "vmm/endian.h"
#include "vmm/err.h"
#include "vmm/guest_mem.h"
#include "vmm/util.h"

#define TESTDEV_ECHO_PORT 0xe0
#define TESTDEV_FLUSH_PORT 0xe4
#define TESTDEV_ECHO_BYTE_PORT 0xe8
#define TESTDEV_ECHO_SIZE 4
#define TESTDEV_IRQ_PORT 0x2000
#define TESTDEV_MEM_BASE 0xff000000
#define TESTDEV_MEM_SIZE 0x10000
#define TESTDEV_PAGE 4096

enum testdev_region { TESTDEV_ECHO, TESTDEV_FLUSH, TESTDEV_ECHO_BYTE, TESTDEV_IRQ, TESTDEV_MEM, TESTDEV_REGIONS };

struct testdev {
	struct device dev;
	pthread_mutex_t lock; /* echo, mem, irqs, and one flush at a time */
	uint8_t echo[TESTDEV_ECHO_SIZE];
	uint8_t mem[TESTDEV_MEM_SIZE];
	struct irq_line irqs[TESTDEV_IRQS];

	const struct guest_mem *guest_mem;
	struct bus_region region[TESTDEV_REGIONS];
	struct bus *bus[TESTDEV_REGIONS];
};

static void echo_read(void *dev, uint64_t offset, uint8_t *buf, unsigned len)
{
	struct testdev *s = dev;

	pthread_mutex_lock(&s->lock);
	memcpy(buf, s->echo + offset, len);
	pthread_mutex_unlock(&s->lock);
}

static void echo_write(void *dev, uint64_t offset, const uint8_t *buf, unsigned len)
{
	struct testdev *s = dev;

	pthread_mutex_lock(&s->lock);
	memcpy(s->echo + offset, buf, len);
	pthread_mutex_unlock(&s->lock);
}

/*
 * A change of protection makes KVM drop its mapping of the page. PROT_EXEC comes and goes, not PROT_READ or PROT_WRITE: other
 * threads of Kite may be at the page now. When the host forbids it, the test kernel has one fault less.
 */
static void flush_write(void *dev, uint64_t offset, const uint8_t *buf, unsigned len)
{
	struct testdev *s = dev;
	void *page;

	(void)offset;
	if (len != sizeof(uint32_t) || !s->guest_mem)
		return;
	page = gm_map(s->guest_mem, align_down(load_le32(buf), TESTDEV_PAGE), TESTDEV_PAGE);
	if (!page)
		return;
	pthread_mutex_lock(&s->lock);
	if (mprotect(page, TESTDEV_PAGE, PROT_READ | PROT_WRITE | PROT_EXEC) == 0)
		(void)!mprotect(page, TESTDEV_PAGE, PROT_READ | PROT_WRITE);
	pthread_mutex_unlock(&s->lock);
}

static void irq_write(void *dev, uint64_t offset, const uint8_t *buf, unsigned len)
{
	struct testdev *s = dev;

	(void)len;
	pthread_mutex_lock(&s->lock);
	irq_set(&s->irqs[offset], *buf != 0);
	pthread_mutex_unlock(&s->lock);
}

static void mem_read(void *dev, uint64_t offset, uint8_t *buf, unsigned len)
{
	struct testdev *s = dev;

	pthread_mutex_lock(&s->lock);
	memcpy(buf, s->mem + offset, len);
	pthread_mutex_unlock(&s->lock);
}

static void mem_write(void *dev, uint64_t offset, const uint8_t *buf, unsigned len)
{
	struct testdev *s = dev;

	pthread_mutex_lock(&s->lock);
	memcpy(s->mem + offset, buf, len);
	pthread_mutex_unlock(&s->lock);
}

static const struct bus_ops echo_ops = { .read = echo_read, .write = echo_write, .width = 4 };
static const struct bus_ops flush_ops = { .write = flush_write, .width = 4 };
static const struct bus_ops echo_byte_ops = { .read = echo_read, .write = echo_write, .width = 1 };
static const struct bus_ops irq_ops = { .write = irq_write, .width = 1 };
static const struct bus_ops mem_ops = { .read = mem_read, .write = mem_write, .width = BUS_ANY_WIDTH };

static const struct bus_region testdev_map[TESTDEV_REGIONS] = {
	[TESTDEV_ECHO] = { .name = "pc-testdev echo", .base = TESTDEV_ECHO_PORT, .size = TESTDEV_ECHO_SIZE, .ops = &echo_ops },
	[TESTDEV_FLUSH] = { .name = "pc-testdev flush", .base = TESTDEV_FLUSH_PORT, .size = 4, .ops = &flush_ops },
	[TESTDEV_ECHO_BYTE] = {
		.name = "pc-testdev byte echo", .base = TESTDEV_ECHO_BYTE_PORT, .size = TESTDEV_ECHO_SIZE, .ops = &echo_byte_ops,
	},
	[TESTDEV_IRQ] = { .name = "pc-testdev irq", .base = TESTDEV_IRQ_PORT, .size = TESTDEV_IRQS, .ops = &irq_ops },
	[TESTDEV_MEM] = { .name = "pc-testdev memory", .base = TESTDEV_MEM_BASE, .size = TESTDEV_MEM_SIZE, .ops = &mem_ops },
};

static void testdev_reset(struct device *dev)
{
	struct testdev *s = CONTAINER_OF(dev, struct testdev, dev);

	pthread_mutex_lock(&s->lock);
	memset(s->echo, 0, sizeof(s->echo));
	memset(s->mem, 0, sizeof(s->mem));
	for (unsigned i = 0; i < TESTDEV_IRQS; i++)
		irq_set(&s->irqs[i], false);
	pthread_mutex_unlock(&s->lock);
}

/* Not all regions may be on their bus yet: bus_remove does not mind. */
static void testdev_destroy(struct device *dev)
{
	struct testdev *s = CONTAINER_OF(dev, struct testdev, dev);

	for (unsigned i = 0; i < TESTDEV_REGIONS; i++)
		bus_remove(s->bus[i], &s->region[i]);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

static const struct device_ops testdev_ops = {
	.reset = testdev_reset,
	.destroy = testdev_destroy,
};

struct device *testdev_create(const struct device_env *env, const struct testdev_config *cfg, struct err *err)
{
	struct testdev *s = calloc(1, sizeof(*s));

	if (!s) {
		err_set(err, -ENOMEM, "pc-testdev: not enough memory on the host");
		return NULL;
	}
	s->dev.ops = &testdev_ops;
	s->dev.name = "pc-testdev";
	s->guest_mem = cfg->mem;
	memcpy(s->irqs, cfg->irqs, sizeof(s->irqs));
	pthread_mutex_init(&s->lock, NULL);
	for (unsigned i = 0; i < TESTDEV_REGIONS; i++) {
		s->region[i] = testdev_map[i];
		s->region[i].dev = s;
		s->bus[i] = i == TESTDEV_MEM ? env->mmio : env->pio;
	}
	for (unsigned i = 0; i < TESTDEV_REGIONS; i++) {
		if (bus_add(s->bus[i], &s->region[i], err) < 0) {
			testdev_destroy(&s->dev);
			return NULL;
		}
	}
	return &s->dev;
}
