/* SPDX-License-Identifier: MIT */
/*
 * The descriptor of a VMDK: lines of text, in a file of its own or inside a sparse one. Some are KEY=VALUE, those that matter here
 * are the kind and the parent. The others that matter name extents: ACCESS SECTORS TYPE "FILE" OFFSET.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blk/vmdk_priv.h"
#include "vmm/err.h"

/* The value of `key`, without quotes, into `out`. */
static bool take_value(const char *line, const char *key, char *out, size_t size)
{
	size_t len = strlen(key);

	if (strncasecmp(line, key, len) != 0)
		return false;
	line += len;
	line += strspn(line, " \t");
	if (*line++ != '=')
		return false;
	line += strspn(line, " \t\"");
	len = strcspn(line, "\"\r");
	if (len >= size)
		len = size - 1;
	memcpy(out, line, len);
	out[len] = 0;
	return true;
}

/* False: no line of an extent. */
static bool take_extent(const char *line, struct vmdk_line *x)
{
	char access[16] = "";
	int n = 0, fields;

	*x = (struct vmdk_line){ .sectors = 0 };
	if (sscanf(line, "%15s %*[0-9] %n", access, &n) < 1 || n == 0)
		return false;
	if (strcmp(access, "RW") != 0 && strcmp(access, "RDONLY") != 0 && strcmp(access, "NOACCESS") != 0)
		return false;
	errno = 0;
	x->sectors = strtoull(line + strcspn(line, " \t"), NULL, 10);
	fields = sscanf(line + n, "%15s \"%255[^\"\r\n]\" %n", x->type, x->file, &n);
	if (fields < 1 || errno)
		return false;
	if (fields == 2) {
		const char *last = strrchr(line, '"');

		x->off = last ? strtoull(last + 1, NULL, 10) : 0;
	}
	return errno == 0;
}

int vmdk_desc_parse(char *text, const char *name, struct vmdk_info *info, bool *has_parent,
		    int (*extent)(void *opaque, const struct vmdk_line *line, struct err *err), void *opaque, struct err *err)
{
	char *save = NULL, value[16];

	info->parent_cid = UINT32_MAX;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		struct vmdk_line x;

		line += strspn(line, " \t");
		if (*line == '#')
			continue;
		if (take_value(line, "CID", value, sizeof(value))) {
			info->cid = (uint32_t)strtoul(value, NULL, 16);
		} else if (take_value(line, "parentCID", value, sizeof(value))) {
			info->parent_cid = (uint32_t)strtoul(value, NULL, 16);
		} else if (take_value(line, "createType", info->create_type, sizeof(info->create_type))) {
			continue;
		} else if (!strncasecmp(line, "parentFileNameHint", 18)) {
			*has_parent = true;
		} else if (extent && take_extent(line, &x)) {
			int rc = extent(opaque, &x, err);

			if (rc < 0)
				return rc;
		}
	}
	if (!info->create_type[0])
		return err_set(err, -EINVAL, "%s: the VMDK descriptor does not say what kind it is (createType)", name);
	return 0;
}
