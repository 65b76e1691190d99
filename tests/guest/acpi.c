/* SPDX-License-Identifier: MIT */
/*
 * ACPI tables as a kernel walks them: checksums and lengths, FADT against the hardware it names, one MADT entry for each of
 * cpus=N, no duplicates.
 */
#include "rt.h"

static void test_rsdp(void)
{
	const struct acpi_rsdp *r = acpi_rsdp();

	if (!r)
		test_abort("no RSDP with a good checksum between 0xE0000 and 0xFFFFF");
	test(true, "RSDP at 0x%lx, revision %u", (uint64_t)(uintptr_t)r, r->revision);
	if (r->revision >= 2) {
		test_equal(r->length, sizeof(*r), "RSDP length");
		test_equal(acpi_sum(r, sizeof(*r)), 0, "RSDP extended checksum");
		test(r->xsdt, "RSDP names an XSDT");
	}
}

static void test_table(const struct acpi_header *t, bool checksum)
{
	char name[5] = { t->signature[0], t->signature[1], t->signature[2], t->signature[3], 0 };

	if (!test(t->length >= (checksum ? sizeof(*t) : 64) && t->length < 1u << 20, "%s: %u bytes", name, t->length))
		return;
	if (checksum)
		test_equal(acpi_sum(t, t->length), 0, name);
}

static void test_fadt(const struct acpi_fadt *f)
{
	const struct acpi_header *dsdt = (const void *)(uintptr_t)f->dsdt;
	uint32_t before;

	if (!dsdt && f->header.length >= sizeof(*f))
		dsdt = (const void *)(uintptr_t)f->x_dsdt;
	if (test(dsdt, "FADT names a DSDT"))
		test_table(dsdt, true);
	if (f->facs) {
		test_table((const void *)(uintptr_t)f->facs, false);
		test(!(f->facs & 63), "FACS on 64 bytes");
	}
	test(acpi_s5() >= 0, "\\_S5 in the DSDT");
	test(f->sci && f->sci < 24, "SCI is %u", f->sci);
	test(f->pm1_evt_len >= 4 && f->pm1_cnt_len >= 2 && f->pm_tmr_len == 4, "lengths of the PM registers");
	test(!f->smi_cmd ? inw((uint16_t)f->pm1a_cnt) & 1 : true, "SCI_EN set where there is no SMI command port");
	test(!(inw((uint16_t)f->pm1a_cnt) & 1 << 13), "SLP_EN reads 0");
	outw((uint16_t)(f->pm1a_evt + 2), 0x0100);
	test_equal(inw((uint16_t)(f->pm1a_evt + 2)) & 0x0100, 0x0100, "PM1a enable register holds PWRBTN_EN");
	outw((uint16_t)(f->pm1a_evt + 2), 0);
	outw((uint16_t)f->pm1a_evt, 0xffff);
	test_equal(inw((uint16_t)f->pm1a_evt) & 0x0100, 0, "PM1a status is clear");
	before = inl((uint16_t)f->pm_tmr);
	delay_us(100);
	test(inl((uint16_t)f->pm_tmr) != before, "the PM timer runs");
	if (vmm_is_qemu() && f->header.length < 129) {
		test_skip("the reset register", "this machine of QEMU's has none");
		return;
	}
	test(f->flags & FADT_RESET_REG, "a reset register");
	test(f->reset.space == 1 && f->reset.address && f->reset.address < 0x10000 && f->reset.bits == 8,
	     "it is port 0x%lx, value 0x%x", f->reset.address, f->reset_value);
	if (f->header.length >= sizeof(*f)) {
		test(!f->x_pm1a_evt.address || f->x_pm1a_evt.address == f->pm1a_evt, "X_PM1a_EVT agrees");
		test(!f->x_pm1a_cnt.address || f->x_pm1a_cnt.address == f->pm1a_cnt, "X_PM1a_CNT agrees");
		test(!f->x_pm_tmr.address || f->x_pm_tmr.address == f->pm_tmr, "X_PM_TMR agrees");
	}
}

static void test_madt(const uint8_t *madt)
{
	uint32_t ids[MAX_CPUS], length, lapic, ioapics = 0;
	size_t n = acpi_cpus(ids, MAX_CPUS), want = arg_u64("cpus", 1);
	const uint8_t *e;
	bool twice = false, first = false, whole;

	memcpy(&length, madt + 4, 4);
	memcpy(&lapic, madt + 36, 4);
	test_equal(lapic, LAPIC, "MADT: local APIC address");
	test_equal(n, want, "MADT: enabled CPUs");
	for (size_t i = 0; i < n; i++) {
		first = first || ids[i] == lapic_id();
		for (size_t j = 0; j < i; j++)
			twice = twice || ids[i] == ids[j];
	}
	test(!twice, "MADT: no APIC id twice");
	test(first, "MADT: this CPU is in it");
	for (e = madt + 44; e + 2 <= madt + length && e[1] >= 2; e += e[1]) {
		uint32_t address;

		memcpy(&address, e + 4, 4);
		if (e[0] == 1 && address == IOAPIC)
			ioapics++;
	}
	whole = e == madt + length;
	test(whole, "MADT: entries end where the table ends");
	test_equal(ioapics, 1, "MADT: IOAPIC");
}

void payload_main(void)
{
	const struct acpi_header *t;
	const void *fadt, *madt;

	test_rsdp();
	for (size_t n = 0; (t = acpi_table(n)); n++)
		test_table(t, true);
	fadt = acpi_find("FACP");
	madt = acpi_find("APIC");
	if (test(fadt, "a FADT"))
		test_fadt(fadt);
	if (test(madt, "a MADT"))
		test_madt(madt);
}
