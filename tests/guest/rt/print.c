/* SPDX-License-Identifier: MIT */
/* The console on COM1, formatted output, and the memory functions that the compiler calls. */
#include <stdarg.h>

#include "rt.h"

void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
	void *d = to;

	asm volatile("rep movsb" : "+D"(d), "+S"(from), "+c"(n) : : "memory");
	return to;
}

void *memset(void *to, int c, size_t n)
{
	void *d = to;

	asm volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(c) : "memory");
	return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const uint8_t *x = a, *y = b;

	for (; n; n--, x++, y++)
		if (*x != *y)
			return *x - *y;
	return 0;
}

size_t strlen(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

int strncmp(const char *a, const char *b, size_t n)
{
	for (; n; n--, a++, b++) {
		if (*a != *b)
			return (uint8_t)*a - (uint8_t)*b;
		if (!*a)
			break;
	}
	return 0;
}

void console_init(void)
{
	outb(COM1 + 1, 0);
	outb(COM1 + 3, 0x80);
	outb(COM1 + 0, 1);
	outb(COM1 + 1, 0);
	outb(COM1 + 3, 0x03);
	outb(COM1 + 2, 0x07); /* FIFOs on and empty, trigger at 1 */
	outb(COM1 + 4, 0x0b);
}

/* Sixteen bytes for each time that the transmitter is found empty: every access is an exit. */
void console_write(const char *s, size_t n)
{
	while (n) {
		size_t part = n < 16 ? n : 16;

		while (!(inb(COM1 + 5) & 0x20))
			cpu_relax();
		n -= part;
		while (part--)
			outb(COM1, *s++);
	}
}

/* A line of output under construction; what does not fit is cut off. */
struct line {
	size_t n;
	char text[512];
};

static void line_char(struct line *l, char c)
{
	if (l->n < sizeof(l->text))
		l->text[l->n++] = c;
}

static void line_number(struct line *l, uint64_t v, unsigned base, bool minus, unsigned width, char pad)
{
	char digits[24];
	unsigned n = 0;

	do
		digits[n++] = "0123456789abcdef"[v % base];
	while (v /= base);
	if (minus)
		line_char(l, '-');
	for (unsigned i = n; i < width; i++)
		line_char(l, pad);
	while (n)
		line_char(l, digits[--n]);
}

static void line_format(struct line *l, const char *fmt, va_list ap)
{
	for (; *fmt; fmt++) {
		unsigned width = 0, longs = 0;
		char pad = ' ';

		if (*fmt != '%') {
			line_char(l, *fmt);
			continue;
		}
		if (*++fmt == '0')
			pad = '0';
		for (; *fmt >= '0' && *fmt <= '9'; fmt++)
			width = width * 10 + (unsigned)(*fmt - '0');
		for (; *fmt == 'l' || *fmt == 'z'; fmt++)
			longs++;
		if (*fmt == 'd') {
			int64_t v = longs ? va_arg(ap, int64_t) : va_arg(ap, int);

			line_number(l, v < 0 ? -(uint64_t)v : (uint64_t)v, 10, v < 0, width, pad);
		} else if (*fmt == 'u' || *fmt == 'x') {
			uint64_t v = longs ? va_arg(ap, uint64_t) : va_arg(ap, unsigned);

			line_number(l, v, *fmt == 'u' ? 10 : 16, false, width, pad);
		} else if (*fmt == 'p') {
			line_number(l, va_arg(ap, uint64_t), 16, false, 0, pad);
		} else if (*fmt == 's') {
			for (const char *s = va_arg(ap, const char *); *s; s++)
				line_char(l, *s);
		} else if (*fmt == 'c') {
			line_char(l, (char)va_arg(ap, int));
		} else {
			line_char(l, *fmt); /* %% */
		}
	}
}

void print(const char *fmt, ...)
{
	struct line l = { 0 };
	va_list ap;

	va_start(ap, fmt);
	line_format(&l, fmt, ap);
	va_end(ap);
	console_write(l.text, l.n);
}

static struct {
	unsigned passed, failed, skipped;
} results;

static void report(const char *result, const char *fmt, va_list ap)
{
	struct line l = { 0 };

	line_format(&l, fmt, ap);
	print("%s %u - ", result, results.passed + results.failed + results.skipped);
	console_write(l.text, l.n);
	console_write("\n", 1);
}

bool test(bool pass, const char *fmt, ...)
{
	va_list ap;

	if (pass)
		results.passed++;
	else
		results.failed++;
	va_start(ap, fmt);
	report(pass ? "ok" : "not ok", fmt, ap);
	va_end(ap);
	return pass;
}

bool test_equal(uint64_t got, uint64_t want, const char *name)
{
	if (got == want)
		return test(true, "%s", name);
	return test(false, "%s: got 0x%lx, want 0x%lx", name, got, want);
}

void test_skip(const char *name, const char *why)
{
	results.skipped++;
	print("ok %u - %s # SKIP %s\n", results.passed + results.failed + results.skipped, name, why);
}

unsigned test_failures(void)
{
	return results.failed;
}

void test_done(void)
{
	print("guest: %u passed, %u failed", results.passed, results.failed);
	if (results.skipped)
		print(", %u skipped", results.skipped);
	print("\n");
	outb(EXIT_PORT, results.failed || !results.passed ? EXIT_FAILED : EXIT_PASSED);
	halt_forever();
}

void test_abort(const char *fmt, ...)
{
	va_list ap;

	results.failed++;
	va_start(ap, fmt);
	report("not ok", fmt, ap);
	va_end(ap);
	test_done();
}
