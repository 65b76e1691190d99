/* SPDX-License-Identifier: MIT */
/* Finding ACPI tables (ACPI 6.4, 5.2). Lengths are believed only up to a limit, so that a bad table ends in a failed test. */
#include "rt.h"

#define TABLE_MAX (1u << 20)

uint8_t acpi_sum(const void *p, size_t n)
{
	const uint8_t *b = p;
	uint8_t sum = 0;

	while (n--)
		sum += *b++;
	return sum;
}

const struct acpi_rsdp *acpi_rsdp(void)
{
	for (uintptr_t a = 0xe0000; a < 0x100000; a += 16) {
		const struct acpi_rsdp *r = (const struct acpi_rsdp *)a;

		if (!memcmp(r->signature, "RSD PTR ", 8) && !acpi_sum(r, 20))
			return r;
	}
	return NULL;
}

const struct acpi_header *acpi_table(size_t n)
{
	const struct acpi_rsdp *rsdp = acpi_rsdp();
	const struct acpi_header *root;
	size_t width;
	uint64_t at = 0;

	if (!rsdp)
		return NULL;
	width = rsdp->revision >= 2 && rsdp->xsdt ? 8 : 4;
	root = (const struct acpi_header *)(uintptr_t)(width == 8 ? rsdp->xsdt : rsdp->rsdt);
	if (root->length < sizeof(*root) || root->length > TABLE_MAX || n >= (root->length - sizeof(*root)) / width)
		return NULL;
	memcpy(&at, (const char *)(root + 1) + n * width, width);
	return at && at < (UINT64_C(1) << 32) ? (const struct acpi_header *)at : NULL;
}

const void *acpi_find(const char *signature)
{
	const struct acpi_header *t;

	for (size_t n = 0; (t = acpi_table(n)); n++)
		if (!memcmp(t->signature, signature, 4))
			return t;
	return NULL;
}

size_t acpi_cpus(uint32_t *ids, size_t max)
{
	const uint8_t *madt = acpi_find("APIC"), *e, *end;
	size_t n = 0;
	uint32_t length, flags;

	if (!madt)
		return 0;
	memcpy(&length, madt + 4, 4);
	end = madt + (length < TABLE_MAX ? length : 0);
	for (e = madt + 44; e + 2 <= end && e[1] >= 2; e += e[1]) {
		if (e[0] == 0) { /* processor local APIC */
			memcpy(&flags, e + 4, 4);
			if ((flags & 1) && n < max)
				ids[n++] = e[3];
		} else if (e[0] == 9) { /* processor local x2APIC */
			memcpy(&flags, e + 8, 4);
			if ((flags & 1) && n < max)
				memcpy(&ids[n++], e + 4, 4);
		}
	}
	return n;
}

unsigned acpi_isa_pin(unsigned irq)
{
	const uint8_t *madt = acpi_find("APIC"), *e, *end;
	uint32_t length, gsi;

	if (!madt)
		return irq;
	memcpy(&length, madt + 4, 4);
	end = madt + (length < TABLE_MAX ? length : 0);
	for (e = madt + 44; e + 2 <= end && e[1] >= 2; e += e[1]) {
		if (e[0] == 2 && e[2] == 0 && e[3] == irq) { /* interrupt source override */
			memcpy(&gsi, e + 4, 4);
			return gsi;
		}
	}
	return irq;
}

/* Name (_S5, Package () { type, ... }): the first element, as AML encodes it. */
int acpi_s5(void)
{
	const struct acpi_fadt *fadt = acpi_find("FACP");
	const struct acpi_header *dsdt;
	const uint8_t *p, *end;

	if (!fadt)
		return -1;
	dsdt = (const struct acpi_header *)(uintptr_t)fadt->dsdt;
	if (!dsdt && fadt->header.length >= 148)
		dsdt = (const struct acpi_header *)(uintptr_t)fadt->x_dsdt;
	if (!dsdt || dsdt->length > TABLE_MAX)
		return -1;
	end = (const uint8_t *)dsdt + dsdt->length - 8;
	for (p = (const uint8_t *)(dsdt + 1); p < end; p++) {
		if (memcmp(p, "_S5_", 4) || p[4] != 0x12)
			continue;
		p += 5;
		p += 1 + (*p >> 6); /* package length */
		p++;                /* number of elements */
		if (*p == 0x00 || *p == 0x01)
			return *p; /* ZeroOp, OneOp */
		return *p == 0x0a ? p[1] : -1;
	}
	return -1;
}
