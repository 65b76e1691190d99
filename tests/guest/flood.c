/* SPDX-License-Identifier: MIT */
/*
 * Writes bytes=N (default 10 MB) lines of 64 characters to COM1 as fast as it can: for tests of readers that are slow or gone.
 * wait=no does not look at the line status first; the UART may then lose bytes, but the guest must never stand still.
 */
#include "rt.h"

#define LINE 64

struct flood {
	uint64_t bytes;
	bool wait;
};

static void flood(void *arg)
{
	const struct flood *f = arg;
	char line[LINE + 1] = "0000000 the quick brown fox jumps over the lazy dog and runs off\n";

	line[LINE - 1] = '\n';
	for (uint64_t n = 0; n < f->bytes; n += LINE) {
		uint64_t v = n / LINE;

		for (int i = 6; i >= 0; i--, v /= 10)
			line[i] = (char)('0' + v % 10);
		if (f->wait) {
			console_write(line, LINE);
		} else {
			const char *p = line;
			uint64_t count = LINE;

			asm volatile("rep outsb" : "+S"(p), "+c"(count) : "d"(COM1) : "memory");
		}
	}
}

void payload_main(void)
{
	struct flood f = { .bytes = arg_u64("bytes", 10000000), .wait = !arg_is("wait", "no") };

	user_call(flood, &f);
	test(true, "%lu bytes written", f.bytes);
}
