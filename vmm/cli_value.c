/* SPDX-License-Identifier: MIT */
#include "vmm/cli_value.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "vmm/err.h"
#include "vmm/util.h"

#define NEAR_MAX 32 /* longer words are not compared */
#define FRACTION_MAX 9

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return 16;
}

/* Takes digits of `base` from `*s`. False when there is none, or when they are more than 64 bits. */
static bool take_digits(const char **s, unsigned base, uint64_t *out)
{
	const char *p = *s;
	uint64_t v = 0;

	for (; digit_value(*p) < (int)base; p++)
		if (!mul_u64(v, base, &v) || !add_u64(v, (uint64_t)digit_value(*p), &v))
			return false;
	if (p == *s)
		return false;
	*s = p;
	*out = v;
	return true;
}

static bool take_hex(const char **s, uint64_t *out)
{
	if ((*s)[0] == '0' && ((*s)[1] == 'x' || (*s)[1] == 'X'))
		*s += 2;
	return take_digits(s, 16, out);
}

bool cli_value_pci_addr(const char *s, int *out)
{
	uint64_t slot, fn = 0;

	if (!take_hex(&s, &slot) || slot > 31)
		return false;
	if (*s == '.') {
		s++;
		if (!take_hex(&s, &fn) || fn > 7)
			return false;
	}
	if (*s)
		return false;
	*out = (int)(slot << 3 | fn);
	return true;
}

bool cli_value_uint(const char *s, uint64_t *out)
{
	unsigned base = 10;
	uint64_t v;

	if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X')) {
		base = 16;
		s += 2;
	} else if (s[0] == '0' && s[1]) {
		base = 8;
		s++;
	}
	if (!take_digits(&s, base, &v) || *s)
		return false;
	*out = v;
	return true;
}

/* The factor of a size's suffix; 0 for what is none. */
static uint64_t suffix_factor(char c)
{
	static const char letters[] = "bkmgtpe";
	const char *p = c ? strchr(letters, tolower((unsigned char)c)) : NULL;

	return p ? UINT64_C(1) << (10 * (p - letters)) : 0;
}

bool cli_value_size(const char *s, uint64_t unit, uint64_t *out)
{
	uint64_t whole, part = 0, scale = 1, factor = unit;
	unsigned __int128 bytes;

	if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X')) {
		if (!cli_value_uint(s, &whole) || !mul_u64(whole, unit, &whole))
			return false;
		*out = whole;
		return true;
	}
	if (!take_digits(&s, 10, &whole))
		return false;
	if (*s == '.') {
		const char *digits = ++s;

		if (!take_digits(&s, 10, &part) || s - digits > FRACTION_MAX)
			return false;
		for (ptrdiff_t i = s - digits; i > 0; i--)
			scale *= 10;
	}
	if (*s) {
		factor = suffix_factor(s[0]);
		if (!factor || s[1])
			return false;
	}
	bytes = (unsigned __int128)whole * factor + (unsigned __int128)part * factor / scale;
	if (bytes > UINT64_MAX)
		return false;
	*out = (uint64_t)bytes;
	return true;
}

bool cli_value_bool(const char *s, bool *out)
{
	static const char *const words[][2] = { { "off", "on" }, { "no", "yes" }, { "false", "true" }, { "n", "y" } };

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		for (int on = 0; on < 2; on++)
			if (!strcmp(s, words[i][on])) {
				*out = on;
				return true;
			}
	return false;
}

/* Takes exactly `n` digits and then `after`, which may be the end of the string. */
static bool take_field(const char **s, unsigned n, char after, int *out)
{
	int v = 0;

	for (; n > 0; n--, (*s)++) {
		if (!isdigit((unsigned char)**s))
			return false;
		v = v * 10 + (**s - '0');
	}
	if (**s != after)
		return false;
	if (after)
		(*s)++;
	*out = v;
	return true;
}

bool cli_value_date(const char *s, int64_t *out)
{
	bool with_time = strchr(s, 'T') != NULL;
	struct tm tm = { 0 }, back;
	time_t t;

	if (!take_field(&s, 4, '-', &tm.tm_year) || !take_field(&s, 2, '-', &tm.tm_mon) ||
	    !take_field(&s, 2, with_time ? 'T' : '\0', &tm.tm_mday))
		return false;
	if (with_time && (!take_field(&s, 2, ':', &tm.tm_hour) || !take_field(&s, 2, ':', &tm.tm_min) ||
			  !take_field(&s, 2, '\0', &tm.tm_sec)))
		return false;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	back = tm;
	t = timegm(&back);
	/* timegm carries over what is out of range: 31 February comes back as 3 March. */
	if (t < 0 || back.tm_year != tm.tm_year || back.tm_mon != tm.tm_mon || back.tm_mday != tm.tm_mday ||
	    back.tm_hour != tm.tm_hour || back.tm_min != tm.tm_min || back.tm_sec != tm.tm_sec)
		return false;
	*out = t;
	return true;
}

bool cli_value_uuid(const char *s, uint8_t out[16])
{
	uint8_t bytes[16];

	for (size_t i = 0; i < sizeof(bytes); i++) {
		int high, low;

		if ((i == 4 || i == 6 || i == 8 || i == 10) && *s++ != '-')
			return false;
		high = digit_value(s[0]);
		low = high < 16 ? digit_value(s[1]) : 16;
		if (low >= 16)
			return false;
		bytes[i] = (uint8_t)(high << 4 | low);
		s += 2;
	}
	if (*s)
		return false;
	memcpy(out, bytes, sizeof(bytes));
	return true;
}

bool cli_value_id(const char *s)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

	if (!*s || !strchr(letters, *s))
		return false;
	s += strspn(s, letters);
	for (; *s; s++)
		if (!strchr(letters, *s) && !strchr("0123456789-._", *s))
			return false;
	return true;
}

int cli_near(const char *typed, const char *candidate)
{
	size_t n = strnlen(typed, NEAR_MAX + 1), m = strlen(candidate);
	/* Three rows of the usual table of distances between prefixes: a swap looks two rows back. */
	unsigned rows[3][NEAR_MAX + 1], *before = rows[0], *last = rows[1], *row = rows[2], limit;

	if (n > NEAR_MAX || m > NEAR_MAX || !n || !m)
		return -1;
	for (size_t j = 0; j <= m; j++)
		last[j] = (unsigned)j;
	for (size_t i = 1; i <= n; i++) {
		unsigned *spare = before;

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= m; j++) {
			unsigned d = last[j - 1] + (typed[i - 1] != candidate[j - 1]);

			d = d < last[j] + 1 ? d : last[j] + 1;
			d = d < row[j - 1] + 1 ? d : row[j - 1] + 1;
			if (i > 1 && j > 1 && typed[i - 1] == candidate[j - 2] && typed[i - 2] == candidate[j - 1])
				d = d < before[j - 2] + 1 ? d : before[j - 2] + 1;
			row[j] = d;
		}
		before = last;
		last = row;
		row = spare;
	}
	limit = (unsigned)((n > m ? n : m) + 1) / 3;
	return last[m] <= limit && last[m] < n && last[m] < m ? (int)last[m] : -1;
}

int cli_set_string(char **dst, const char *src, struct err *e)
{
	char *copy = strdup(src);

	if (!copy)
		return err_set_errno(e, -ENOMEM, "the command line");
	free(*dst);
	*dst = copy;
	return 0;
}
