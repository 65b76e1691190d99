/* SPDX-License-Identifier: MIT */
/* fw_cfg from the guest's side: port accesses of any width, and DMA requests made of the input. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "hw/devices.h"
#include "hw/fw_cfg.h"
#include "vmm/bus.h"
#include "vmm/err.h"
#include "vmm/guest_mem.h"
#include "vmm/log.h"

#define RAM_SIZE 16384
#define HIGH (UINT64_C(4) << 30)
#define STEP 9 /* bytes of input: where and what, and a value */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct device *make(struct device_env *env)
{
	const struct gm_range ram[] = { { 0, RAM_SIZE }, { HIGH, RAM_SIZE } };
	static const char item[1000] = "an item";
	struct err err = ERR_INIT;
	struct device *dev;

	log_set_level(LOG_LEVEL_NONE);
	env->pio = bus_create("I/O port", 0xffff, &err);
	env->mem = gm_create(ram, 2, &err);
	dev = fw_cfg_create(env, &err);
	if (!dev || fw_cfg_add_file(dev, "etc/a", item, sizeof(item), &err) < 0 || fw_cfg_add_file(dev, "opt/empty", "", 0, &err) < 0)
		abort();
	return dev;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct device_env env = { .pio = NULL };
	struct device *dev = make(&env);

	for (; size >= STEP; data += STEP, size -= STEP) {
		uint16_t port = FW_CFG_PORT - 2 + (data[0] & 0xf);
		unsigned len = 1u << (data[0] >> 4 & 3) % 3;
		uint8_t buf[8];

		switch (data[0] >> 6) {
		case 0:
			bus_read(env.pio, port, buf, len);
			break;
		case 1:
			bus_write(env.pio, port, data + 1, len);
			break;
		case 2: /* bytes of a request, near its start or the end of memory */
			gm_write(env.mem, (data[0] & 8 ? HIGH + RAM_SIZE - 32 : 0) + (data[0] & 7) * 4, data + 1, 8);
			break;
		default: /* rings for it */
			memset(buf, 0, sizeof(buf));
			buf[3] = data[0] & 8 ? HIGH >> 32 : 0;
			buf[6] = data[0] & 8 ? (RAM_SIZE - 32) >> 8 : 0;
			buf[7] = (uint8_t)((data[0] & 8 ? (RAM_SIZE - 32) & 0xff : 0) + (data[0] & 7) * 4);
			bus_write(env.pio, FW_CFG_PORT + 4, buf, 4);
			bus_write(env.pio, FW_CFG_PORT + 8, buf + 4, 4);
			break;
		}
	}
	dev->ops->destroy(dev);
	gm_destroy((struct guest_mem *)(uintptr_t)env.mem);
	bus_destroy(env.pio);
	return 0;
}
