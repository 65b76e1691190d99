/* SPDX-License-Identifier: MIT */
/* What commands print. */
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/img/img.h"

int img_fail(struct img *img, int status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(img->err.msg, sizeof(img->err.msg), fmt, ap);
	va_end(ap);
	img->err.code = -EINVAL;
	return status;
}

void img_say(const struct img *img, const char *fmt, ...)
{
	va_list ap;

	if (img->args.quiet)
		return;
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
}

/* Three digits; up to 999 of a unit. */
const char *img_human_size(uint64_t bytes, char out[32])
{
	static const char *const units[] = { "", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei" };
	double value = (double)bytes;
	size_t unit = 0;

	while (value >= 1000 && unit < 6) {
		value /= 1024;
		unit++;
	}
	snprintf(out, 32, "%0.3g %sB", value, units[unit]);
	return out;
}

json_t *img_json_text(const char *text)
{
	json_t *json = json_string(text);
	char *copy;

	if (json)
		return json;
	copy = strdup(text);
	if (!copy)
		return NULL;
	for (char *p = copy; *p; p++)
		if (*p & 0x80)
			*p = '?';
	json = json_string(copy);
	free(copy);
	return json;
}

int img_json_print(struct img *img, json_t *json)
{
	char *text = json ? json_dumps(json, JSON_INDENT(4)) : NULL;

	json_decref(json);
	if (!text)
		return img_fail(img, 1, "no memory for the output");
	puts(text);
	free(text);
	return 0;
}

static void snapshot_print(const struct qcow2_snapshot_info *s)
{
	uint64_t sec = s->vm_clock_ns / 1000000000, ms = s->vm_clock_ns / 1000000 % 1000;
	char size[32], date[32] = "", clock[48], icount[32] = "";
	time_t t = s->date_sec;
	struct tm tm;

	if (localtime_r(&t, &tm))
		strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &tm);
	snprintf(clock, sizeof(clock), "%02llu:%02u:%02u.%03u", (unsigned long long)(sec / 3600), (unsigned)(sec / 60 % 60), (unsigned)(sec % 60),
		 (unsigned)ms);
	if (s->icount != UINT64_MAX)
		snprintf(icount, sizeof(icount), "%lld", (long long)s->icount);
	printf("%-9s %-16s %8s%20s%13s%11s\n", s->id, s->name, img_human_size(s->vm_state_size, size), date, clock, icount);
}

void img_snapshot_list_print(struct blockdev *bd)
{
	struct qcow2_snapshot_info *list;
	int n = qcow2_is(bd) ? qcow2_snapshots(bd, &list) : 0;

	if (n <= 0)
		return;
	printf("Snapshot list:\n%-10s%-17s%8s%20s%13s%11s\n", "ID", "TAG", "VM SIZE", "DATE", "VM CLOCK", "ICOUNT");
	for (int i = 0; i < n; i++)
		snapshot_print(&list[i]);
	qcow2_snapshots_free(list, n);
}
