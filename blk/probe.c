/* SPDX-License-Identifier: MIT */
/*
 * Formats by their magic numbers. As a guest can write the head of a raw disk, what is recognised here is also what such a guest is kept
 * from writing (probe_guard.c). So a match is generous: any version of a format counts, as the next program to open the
 * file may know more of them.
 */
#include <string.h>
#include <strings.h>

#include "blk/blockdev.h"
#include "vmm/util.h"

struct magic {
	enum blk_format format;
	uint16_t off, len;
	const char *bytes;
};

static const struct magic magics[] = {
	{ BLK_FORMAT_QCOW, 0, 8, "QFI\xfb\0\0\0\1" },
	{ BLK_FORMAT_QCOW2, 0, 4, "QFI\xfb" },
	{ BLK_FORMAT_VMDK, 0, 4, "KDMV" },
	{ BLK_FORMAT_VMDK, 0, 4, "COWD" },
	{ BLK_FORMAT_VDI, 0x40, 4, "\x7f\x10\xda\xbe" },
	{ BLK_FORMAT_VPC, 0, 8, "conectix" },
	{ BLK_FORMAT_VHDX, 0, 8, "vhdxfile" },
	{ BLK_FORMAT_QED, 0, 4, "QED\0" },
	{ BLK_FORMAT_LUKS, 0, 6, "LUKS\xba\xbe" },
	{ BLK_FORMAT_PARALLELS, 0, 16, "WithoutFreeSpace" },
	{ BLK_FORMAT_PARALLELS, 0, 16, "WithouFreSpacExt" },
	{ BLK_FORMAT_DMG, 0, 4, "koly" },
};

static const char *const names[] = {
	[BLK_FORMAT_RAW] = "raw",   [BLK_FORMAT_QCOW2] = "qcow2", [BLK_FORMAT_QCOW] = "qcow", [BLK_FORMAT_VMDK] = "vmdk",
	[BLK_FORMAT_VDI] = "vdi",   [BLK_FORMAT_VPC] = "vpc",     [BLK_FORMAT_VHDX] = "vhdx", [BLK_FORMAT_QED] = "qed",
	[BLK_FORMAT_LUKS] = "luks", [BLK_FORMAT_PARALLELS] = "parallels", [BLK_FORMAT_DMG] = "dmg",
};

static bool starts_with(const uint8_t *p, const uint8_t *end, const char *text)
{
	size_t len = strlen(text);

	return (size_t)(end - p) >= len && strncasecmp((const char *)p, text, len) == 0;
}

/* A VMDK's descriptor is text: blank lines and comments, and then "version=". */
static bool is_vmdk_text(const uint8_t *p, const uint8_t *end)
{
	while (p < end) {
		if (starts_with(p, end, "# Disk DescriptorFile") || starts_with(p, end, "version="))
			return true;
		if (*p == '#') {
			p = memchr(p, '\n', (size_t)(end - p));
			if (!p)
				return false;
		} else if (*p != ' ' && *p != '\t' && *p != '\r' && *p != '\n') {
			return false;
		}
		p++;
	}
	return false;
}

enum blk_format blk_probe(const uint8_t *head, size_t len)
{
	if (len > BLK_PROBE_BYTES)
		len = BLK_PROBE_BYTES;
	for (size_t i = 0; i < ARRAY_SIZE(magics); i++) {
		const struct magic *m = &magics[i];

		if (range_ok(m->off, m->len, len) && memcmp(head + m->off, m->bytes, m->len) == 0)
			return m->format;
	}
	return is_vmdk_text(head, head + len) ? BLK_FORMAT_VMDK : BLK_FORMAT_RAW;
}

const char *blk_format_name(enum blk_format format)
{
	return format < ARRAY_SIZE(names) ? names[format] : "unknown";
}
