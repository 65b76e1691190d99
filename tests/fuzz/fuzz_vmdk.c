/* SPDX-License-Identifier: MIT */
/* The input is a vmdk image. */
#include "tests/fuzz/import_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_import(vmdk_open, data, size);
	return 0;
}
