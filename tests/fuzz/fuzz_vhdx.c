/* SPDX-License-Identifier: MIT */
/*
 * A VHDX image whose checksums are right: the input is the header, the region table, the metadata and what follows, in pieces that are put
 * where they belong.
 */
#include "tests/fuzz/import_fuzz.h"
#include "vmm/endian.h"

#define HEADER 80u
#define REGIONS 336u /* ten entries */
#define METADATA 4096u
#define FILE_SIZE (1024u * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t crc32c(const uint8_t *p, size_t len)
{
	uint32_t crc = UINT32_MAX;

	while (len--) {
		crc ^= *p++;
		for (int i = 0; i < 8; i++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
	}
	return ~crc;
}

static void part(uint8_t *to, size_t max, const uint8_t **data, size_t *size)
{
	size_t n = *size < max ? *size : max;

	memcpy(to, *data, n);
	*data += n;
	*size -= n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t file[FILE_SIZE];

	memset(file, 0, sizeof(file));
	memcpy(file, "vhdxfile", 8);
	part(file + 0x10000, HEADER, &data, &size);
	memcpy(file + 0x10000, "head\0\0\0", 8);
	store_le32(file + 0x10004, crc32c(file + 0x10000, 4096));
	part(file + 0x30000, REGIONS, &data, &size);
	memcpy(file + 0x30000, "regi\0\0\0", 8);
	store_le32(file + 0x30004, crc32c(file + 0x30000, 65536));
	part(file + 0x50000, METADATA, &data, &size);
	part(file + 0x60000, sizeof(file) - 0x60000, &data, &size);
	fuzz_import(vhdx_open, file, sizeof(file));
	return 0;
}
