/* SPDX-License-Identifier: MIT */
/* ACPI and SMBIOS are where a guest searches for them, and lead to what the machine has. */
#include "tests/unit/fake_kvm.h"

#include "arch/x86/machine_smbios.h"
#include "arch/x86/memmap.h"
#include "arch/x86/tables.h"
#include "arch/x86/topology.h"
#include "vmm/config.h"
#include "vmm/endian.h"
#include "vmm/guest_mem.h"

static const struct com_port ports[MAX_COM] = { { 0x3f8, 4 }, { 0x2f8, 3 }, { 0x3e8, 4 }, { 0x2e8, 3 } };
static struct guest_mem *mem;
static uint8_t *bios; /* 0xe0000 to 1 MiB */
static struct vm_config vm;
static struct topology topology;
static struct err err;

static void setup(void)
{
	const struct gm_range ram[] = { { 0, MEM_VIDEO_START }, { MEM_SHADOW_START, 64 * MIB - MEM_SHADOW_START } };

	mem = gm_create(ram, 2, &err);
	ck_assert_msg(mem != NULL, "%s", err.msg);
	bios = gm_map(mem, MEM_ACPI_START, MEM_BIOS_END - MEM_ACPI_START);
	config_init(&vm);
}

static void teardown(void)
{
	config_fini(&vm);
	gm_destroy(mem);
}

static const struct acpi_platform board = {
	.pm1_evt_port = 0x600, .pm1_cnt_port = 0x604, .pm_tmr_port = 0x608, .gpe0_port = 0x60c, .sci_irq = 9, .s5_slp_typ = 5,
};

static struct machine_smbios smbios_files;

static struct tables_config tables_of(unsigned sockets, unsigned cores, unsigned threads)
{
	topology = (struct topology){ sockets, cores, threads };
	vm.smp = (struct config_smp){ sockets * cores * threads, sockets, cores, threads };
	return (struct tables_config){ .vm = &vm, .topology = &topology, .com_ports = ports, .board = "pc", .ram_below_4g = 64 * MIB,
				       .ram_above_4g = GIB, .cpu_signature = 0x806f8, .cpu_features = 0x1f8bfbff, .smbios = &smbios_files };
}

static int write_tables(unsigned sockets, unsigned cores, unsigned threads)
{
	const struct tables_config cfg = tables_of(sockets, cores, threads);

	return tables_write(&cfg, &board, mem, &err);
}

static uint8_t sum(const uint8_t *p, size_t n)
{
	uint8_t s = 0;

	while (n--)
		s = (uint8_t)(s + *p++);
	return s;
}

/* As ACPI 6.4, 5.2.5.1 and SMBIOS 3, 5.2.1 say: on 16-byte boundaries. */
static const uint8_t *search(const char *signature)
{
	for (size_t at = 0; at < MEM_BIOS_END - MEM_ACPI_START; at += 16)
		if (memcmp(bios + at, signature, strlen(signature)) == 0)
			return bios + at;
	ck_abort_msg("no '%s'", signature);
	return NULL;
}

static const uint8_t *at_gpa(uint64_t gpa, size_t len)
{
	const uint8_t *p = gm_map(mem, gpa, len);

	ck_assert_msg(p && gpa >= MEM_ACPI_START && gpa + len <= MEM_BIOS_END, "%#llx", (unsigned long long)gpa);
	return p;
}

static const uint8_t *acpi_table(const char *signature)
{
	const uint8_t *rsdp = search("RSD PTR "), *xsdt;
	uint32_t len;

	ck_assert_ptr_eq(rsdp, bios); /* the loader is told MEM_ACPI_START */
	ck_assert_uint_eq(sum(rsdp, 20), 0);
	ck_assert_uint_eq(sum(rsdp, 36), 0);
	xsdt = at_gpa(load_le64(rsdp + 24), 36);
	ck_assert_int_eq(memcmp(xsdt, "XSDT", 4), 0);
	len = load_le32(xsdt + 4);
	ck_assert_uint_eq(sum(xsdt, len), 0);
	for (uint32_t i = 36; i < len; i += 8) {
		const uint8_t *t = at_gpa(load_le64(xsdt + i), 36);

		ck_assert_uint_eq(sum(t, load_le32(t + 4)), 0);
		if (memcmp(t, signature, 4) == 0)
			return t;
	}
	ck_abort_msg("no table '%s'", signature);
	return NULL;
}

static void check_madt(void)
{
	const uint8_t *madt = acpi_table("APIC");
	uint32_t len = load_le32(madt + 4);
	unsigned cpus = 0, ioapics = 0, timer = 0;

	ck_assert_uint_eq(load_le32(madt + 36), MEM_LAPIC);
	for (uint32_t i = 44; i < len; i += madt[i + 1]) {
		ck_assert_uint_ge(madt[i + 1], 2);
		if (madt[i] == 0)
			ck_assert_uint_eq(madt[i + 3], topology_apic_id(&topology, cpus++));
		else if (madt[i] == 1)
			ioapics += load_le32(madt + i + 4) == MEM_IOAPIC;
		else if (madt[i] == 2 && madt[i + 3] == 0)
			timer = load_le32(madt + i + 4);
	}
	ck_assert_uint_eq(cpus, vm.smp.cpus);
	ck_assert_uint_eq(ioapics, 1);
	ck_assert_uint_eq(timer, IOAPIC_PIT_PIN);
}

START_TEST(acpi)
{
	const uint8_t *fadt;

	for (unsigned i = 0; i < CONFIG_MAX_SERIALS; i++)
		vm.serials[vm.n_serials++].index = 3 - i;
	ck_assert_msg(write_tables(_i + 1, 3, 2) == 0, "%s", err.msg);
	check_madt();
	fadt = acpi_table("FACP");
	ck_assert_uint_eq(load_le16(fadt + 46), IRQ_SCI);
	ck_assert_uint_eq(load_le32(fadt + 56), PORT_ACPI_PM);
	vm.n_serials = 0;
}
END_TEST

START_TEST(most_cpus)
{
	ck_assert_msg(write_tables(1, CONFIG_MAX_CPUS, 1) == 0, "%s", err.msg);
	check_madt();
	ck_assert_int_eq(memcmp(search("_SM"), "_SM", 3), 0);
}
END_TEST

START_TEST(smbios)
{
	const uint8_t *entry;
	uint64_t table;

	memset(vm.uuid, 0x5a, sizeof(vm.uuid));
	ck_assert_msg(write_tables(2, 2, 1) == 0, "%s", err.msg);
	entry = search("_SM3_");
	ck_assert_ptr_eq(entry, bios + (MEM_SMBIOS_START - MEM_ACPI_START));
	ck_assert_uint_eq(sum(entry, entry[6]), 0);
	table = load_le64(entry + 16);
	ck_assert_uint_eq(at_gpa(table, load_le32(entry + 12))[0], 0); /* BIOS information comes first */
	/* mov dx, 0xcf9; xor al, al; out dx, al; mov al, 6; out dx, al */
	ck_assert_mem_eq(bios + 0x1fff0, "\xba\xf9\x0c\x30\xc0\xee\xb0\x06\xee", 9);
}
END_TEST

/* A microvm's: no RTC, no 8259s, and what the board says. */
START_TEST(reduced)
{
	static const struct acpi_reduced hw = { .event_port = 0x600, .event_gsi = 9, .sleep_control_port = 0x604, .sleep_status_port = 0x605 };
	static const struct acpi_virtio_mmio slot = { MEM_VIRTIO, MEM_VIRTIO_SLOT, IRQ_VIRTIO };
	static const struct acpi_platform microvm = { .reduced = &hw, .s5_slp_typ = 5, .virtio = &slot, .n_virtio = 1 };
	const struct tables_config cfg = tables_of(1, 2, 1);
	const uint8_t *fadt;

	vm.board = (struct config_board){ .acpi = true };
	ck_assert_msg(tables_write(&cfg, &microvm, mem, &err) == 0, "%s", err.msg);
	fadt = acpi_table("FACP");
	ck_assert_uint_eq(load_le32(fadt + 112) & 1u << 20, 1u << 20); /* HW_REDUCED_ACPI */
	ck_assert_uint_eq(load_le16(fadt + 109) & 0x20, 0x20);         /* no RTC */
	ck_assert_uint_eq(load_le32(acpi_table("APIC") + 40), 0);       /* PCAT_COMPAT */
}
END_TEST

START_TEST(mp_tables)
{
	const struct tables_config cfg = tables_of(_i + 1, 3, 2);
	const struct tables_mp mp = { .level_irqs = BIT(IRQ_VIRTIO) | BIT(IRQ_VIRTIO + 7) };
	const uint8_t *pointer, *table, *e;
	unsigned level = 0, edge = 0;
	uint32_t last = 0;

	vm.board = (struct config_board){ .pit = true, .pic = true };
	vm.serials[vm.n_serials++].index = 0;
	ck_assert_msg(tables_write_mp(&cfg, &mp, mem, &err) == 0, "%s", err.msg);
	for (size_t at = 0; at < MEM_SMBIOS_START - MEM_ACPI_START; at += 16)
		ck_assert_int_ne(memcmp(bios + at, "RSD PTR ", 8), 0);
	pointer = gm_map(mem, MEM_MP_POINTER, 16);
	ck_assert_mem_eq(pointer, "_MP_", 4);
	ck_assert_uint_eq(sum(pointer, 16), 0);
	table = at_gpa(load_le32(pointer + 4), 44);
	ck_assert_mem_eq(table, "PCMP", 4);
	ck_assert_uint_eq(sum(at_gpa(load_le32(pointer + 4), load_le16(table + 4)), load_le16(table + 4)), 0);
	e = table + 44;
	for (unsigned i = 0; i < vm.smp.cpus; i++, e += 20) {
		last = topology_apic_id(&topology, i);
		ck_assert_uint_eq(e[0], 0);
		ck_assert_uint_eq(e[1], last);
	}
	ck_assert_uint_eq(e[8], 2);
	ck_assert_uint_gt(e[9], last); /* the IOAPIC's own */
	for (e += 16; e[0] == 3; e += 8) {
		level += e[2] == 0x0d;
		edge += e[2] == 0;
	}
	ck_assert_uint_eq(level, 2);
	ck_assert_uint_eq(edge, 3); /* PIT, keyboard, COM1 */
	search("_SM3_");
	vm.n_serials = 0;
}
END_TEST

/* The largest topology still has APIC ids for all, and one for the IOAPIC. */
START_TEST(mp_most_cpus)
{
	const struct tables_mp mp = { .level_irqs = 0 };
	const struct tables_config cfg = tables_of(7, 3, 3);

	ck_assert_msg(tables_write_mp(&cfg, &mp, mem, &err) == 0, "%s", err.msg);
}
END_TEST

/* A machine without memory there is told so. */
START_TEST(no_room)
{
	const struct gm_range small = { 0, MEM_VIDEO_START };

	gm_destroy(mem);
	mem = gm_create(&small, 1, &err);
	ck_assert_int_lt(write_tables(1, 1, 1), 0);
	ck_assert_ptr_nonnull(strstr(err.msg, "ACPI"));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tables");
	TCase *tc = tcase_create("tables");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, acpi, 0, 4);
	tcase_add_test(tc, most_cpus);
	tcase_add_test(tc, smbios);
	tcase_add_test(tc, reduced);
	tcase_add_loop_test(tc, mp_tables, 0, 4);
	tcase_add_test(tc, mp_most_cpus);
	tcase_add_test(tc, no_room);
	suite_add_tcase(suite, tc);
	return fake_run_tests(suite);
}
