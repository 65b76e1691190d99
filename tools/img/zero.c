/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "tools/img/img.h"
#include "vmm/util.h"

typedef uint64_t words __attribute__((vector_size(64), aligned(1), may_alias));

/* 256 bytes at a time, with a look after each: most data is not zero at its beginning. */
bool img_is_zero(const void *buf, size_t len)
{
	const uint8_t *p = buf, *end = p + len;

	for (; end - p >= 256; p += 256) {
		const words *w = (const words *)p;
		words any = w[0] | w[1] | w[2] | w[3];

		if (any[0] | any[1] | any[2] | any[3] | any[4] | any[5] | any[6] | any[7])
			return false;
	}
	for (; p < end; p++)
		if (*p)
			return false;
	return true;
}

size_t img_zero_run(const uint8_t *buf, size_t len, size_t unit, bool *zero)
{
	size_t run = min_u64(unit, len);

	*zero = img_is_zero(buf, run);
	while (run < len) {
		size_t part = min_u64(unit, len - run);

		if (img_is_zero(buf + run, part) != *zero)
			break;
		run += part;
	}
	return run;
}
