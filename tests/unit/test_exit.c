/* SPDX-License-Identifier: MIT */
/* Every exit reason: which bus accesses it makes, what it asks of the VM, and whether the vCPU goes on. */
#include "tests/unit/fake_kvm.h"

#include "vmm/arch.h"
#include "vmm/bus.h"
#include "vmm/endian.h"
#include "vmm/vcpu.h"
#include "vmm/vm.h"

struct access {
	const struct bus *bus;
	uint64_t addr, value;
	unsigned len;
	bool write;
};

static struct access seen[16];
static unsigned n_seen, n_dumps, n_requests, n_triple;
static enum vm_request requested;
static int status;

static bool fake_access(const struct bus *bus, uint64_t addr, uint8_t *buf, unsigned len, bool write)
{
	struct access *a = &seen[n_seen];

	ck_assert_uint_lt(n_seen, ARRAY_SIZE(seen));
	*a = (struct access){ .bus = bus, .addr = addr, .len = len, .write = write };
	if (write)
		memcpy(&a->value, buf, len);
	else
		memset(buf, (int)(0x10 + n_seen), len);
	n_seen++;
	return true;
}

static bool fake_bus_read(struct bus *bus, uint64_t addr, uint8_t *buf, unsigned len)
{
	return fake_access(bus, addr, buf, len, false);
}

static bool fake_bus_write(struct bus *bus, uint64_t addr, const uint8_t *buf, unsigned len)
{
	return fake_access(bus, addr, (uint8_t *)buf, len, true);
}

static void fake_vm_request(struct vm *vm, enum vm_request what, int code)
{
	(void)vm;
	n_requests++;
	requested = what;
	status = code;
}

static void fake_triple_fault(struct vm *vm, unsigned index)
{
	(void)vm;
	(void)index;
	n_triple++;
}

static void fake_dump(struct vcpu *vcpu)
{
	(void)vcpu;
	n_dumps++;
}

#define bus_read fake_bus_read
#define bus_write fake_bus_write
#define vm_request(...) fake_vm_request(__VA_ARGS__)
#define vm_triple_fault fake_triple_fault
#define arch_vcpu_dump fake_dump
#include "vmm/exit.c"

static struct vm vm;
static struct vcpu vcpu;
static union {
	struct kvm_run run;
	uint8_t space[8192];
} shared;

#define PIO ((struct bus *)0x1000)
#define MMIO ((struct bus *)0x2000)
#define DATA 4096

static void setup(void)
{
	memset(&shared, 0, sizeof(shared));
	vm = (struct vm){ .pio = PIO, .mmio = MMIO };
	vcpu = (struct vcpu){ .vm = &vm, .index = 3, .run = &shared.run };
}

static void io(uint8_t direction, uint16_t port, uint8_t size, uint32_t count)
{
	shared.run.exit_reason = KVM_EXIT_IO;
	shared.run.io.direction = direction;
	shared.run.io.port = port;
	shared.run.io.size = size;
	shared.run.io.count = count;
	shared.run.io.data_offset = DATA;
}

static const uint8_t sizes[] = { 1, 2, 4 };
static const uint32_t counts[] = { 0, 1, 2, 7 };

START_TEST(io_out)
{
	uint8_t size = sizes[_i % 3];
	uint32_t count = counts[_i / 3];

	for (unsigned i = 0; i < 64; i++)
		shared.space[DATA + i] = (uint8_t)(i + 1);
	io(KVM_EXIT_IO_OUT, 0x3f8, size, count);
	ck_assert_int_eq(exit_dispatch(&vcpu), EXIT_CONTINUE);
	ck_assert_uint_eq(n_seen, count);
	for (uint32_t i = 0; i < count; i++) {
		ck_assert(seen[i].bus == PIO && seen[i].write && seen[i].addr == 0x3f8 && seen[i].len == size);
		ck_assert_int_eq(memcmp(&seen[i].value, &shared.space[DATA + i * size], size), 0);
	}
}
END_TEST

START_TEST(io_in)
{
	uint8_t size = sizes[_i % 3];
	uint32_t count = counts[_i / 3];

	io(KVM_EXIT_IO_IN, 0x60, size, count);
	ck_assert_int_eq(exit_dispatch(&vcpu), EXIT_CONTINUE);
	ck_assert_uint_eq(n_seen, count);
	for (uint32_t i = 0; i < count; i++) {
		ck_assert(seen[i].bus == PIO && !seen[i].write && seen[i].addr == 0x60 && seen[i].len == size);
		for (unsigned k = 0; k < size; k++)
			ck_assert_uint_eq(shared.space[DATA + i * size + k], 0x10 + i);
	}
	ck_assert_uint_eq(shared.space[DATA + count * size], 0); /* and not a byte more */
}
END_TEST

START_TEST(mmio)
{
	uint32_t len = 1u << _i;

	shared.run.exit_reason = KVM_EXIT_MMIO;
	shared.run.mmio.phys_addr = 0xfed00000;
	shared.run.mmio.len = len;
	shared.run.mmio.is_write = 0;
	ck_assert_int_eq(exit_dispatch(&vcpu), EXIT_CONTINUE);
	ck_assert(n_seen == 1 && seen[0].bus == MMIO && !seen[0].write && seen[0].addr == 0xfed00000 && seen[0].len == len);
	for (uint32_t i = 0; i < 8; i++)
		ck_assert_uint_eq(shared.run.mmio.data[i], i < len ? 0x10 : 0);
	store_le64(shared.run.mmio.data, 0x1122334455667788);
	shared.run.mmio.is_write = 1;
	ck_assert_int_eq(exit_dispatch(&vcpu), EXIT_CONTINUE);
	ck_assert(n_seen == 2 && seen[1].write && seen[1].len == len);
	ck_assert_uint_eq(seen[1].value, len == 8 ? 0x1122334455667788 : 0x1122334455667788 & ((UINT64_C(1) << (8 * len)) - 1));
}
END_TEST

START_TEST(shutdown_and_interrupt)
{
	shared.run.exit_reason = KVM_EXIT_SHUTDOWN;
	ck_assert_int_eq(exit_dispatch(&vcpu), EXIT_HALT);
	ck_assert(n_triple == 1 && n_requests == 0 && n_dumps == 0);
	shared.run.exit_reason = KVM_EXIT_INTR;
	ck_assert_int_eq(exit_dispatch(&vcpu), EXIT_CONTINUE);
	ck_assert(n_triple == 1 && n_requests == 0 && fake_log_lines == 0);
}
END_TEST

static void check_fails(uint32_t reason, const char *says)
{
	n_dumps = n_requests = fake_log_lines = 0;
	shared.run.exit_reason = reason;
	ck_assert_int_eq(exit_dispatch(&vcpu), EXIT_HALT);
	ck_assert_uint_eq(n_dumps, 1);
	ck_assert_uint_eq(n_requests, 1);
	ck_assert(requested == VM_REQUEST_FAIL && status == 1);
	ck_assert_uint_eq(fake_log_lines, 1);
	ck_assert_msg(strstr(fake_log_text, says), "'%s' is not in '%s'", says, fake_log_text);
	ck_assert_ptr_nonnull(strstr(fake_log_text, "vCPU 3"));
}

START_TEST(failures)
{
	shared.run.internal.suberror = KVM_INTERNAL_ERROR_EMULATION;
	check_fails(KVM_EXIT_INTERNAL_ERROR, "cannot emulate");
	shared.run.internal.suberror = 0;
	check_fails(KVM_EXIT_INTERNAL_ERROR, "no description");
	shared.run.internal.suberror = UINT32_MAX;
	check_fails(KVM_EXIT_INTERNAL_ERROR, "no description");
	shared.run.fail_entry.hardware_entry_failure_reason = 0x80000021;
	check_fails(KVM_EXIT_FAIL_ENTRY, "0x80000021");
	shared.run.hw.hardware_exit_reason = 0x77;
	check_fails(KVM_EXIT_UNKNOWN, "0x77");
	check_fails(KVM_EXIT_HLT, "KVM_EXIT_HLT");
	check_fails(KVM_EXIT_DEBUG, "KVM_EXIT_DEBUG");
	check_fails(KVM_EXIT_X86_RDMSR, "KVM_EXIT_X86_RDMSR");
	check_fails(4000, "unknown");
	check_fails(UINT32_MAX, "unknown");
	shared.run.system_event.type = KVM_SYSTEM_EVENT_CRASH;
	check_fails(KVM_EXIT_SYSTEM_EVENT, "crash");
}
END_TEST

START_TEST(system_events)
{
	shared.run.exit_reason = KVM_EXIT_SYSTEM_EVENT;
	shared.run.system_event.type = KVM_SYSTEM_EVENT_SHUTDOWN;
	ck_assert_int_eq(exit_dispatch(&vcpu), EXIT_HALT);
	ck_assert(n_requests == 1 && requested == VM_REQUEST_POWEROFF);
	shared.run.system_event.type = KVM_SYSTEM_EVENT_RESET;
	ck_assert_int_eq(exit_dispatch(&vcpu), EXIT_HALT);
	ck_assert(n_requests == 2 && requested == VM_REQUEST_RESET);
}
END_TEST

/* No reason up to far beyond those known is without an end or a way on, and none touches a bus that should not. */
START_TEST(every_reason)
{
	for (uint32_t reason = 0; reason < 300; reason++) {
		setup();
		n_seen = n_requests = n_triple = 0;
		shared.run.exit_reason = reason;
		if (exit_dispatch(&vcpu) == EXIT_HALT)
			ck_assert_uint_eq(n_requests + n_triple, 1);
		else
			ck_assert(reason == KVM_EXIT_IO || reason == KVM_EXIT_MMIO || reason == KVM_EXIT_INTR);
		ck_assert(n_seen == 0 || reason == KVM_EXIT_MMIO);
		ck_assert_ptr_nonnull(exit_reason_name(reason));
	}
	ck_assert_str_eq(exit_reason_name(KVM_EXIT_IO), "KVM_EXIT_IO");
	ck_assert_str_eq(exit_reason_name(299), "unknown");
}
END_TEST

/* -d exits: each exit in its row, and the same is done as without. */
START_TEST(counted)
{
	static const struct {
		uint32_t reason;
		struct exit_key key;
	} each[] = {
		{ KVM_EXIT_IO, { EXIT_KIND_OUT, 0x3f8, 2 } }, { KVM_EXIT_IO, { EXIT_KIND_IN, 0x60, 1 } },
		{ KVM_EXIT_MMIO, { EXIT_KIND_MMIO_READ, 0xfed00000, 4 } }, { KVM_EXIT_MMIO, { EXIT_KIND_MMIO_WRITE, 0xfed00004, 8 } },
		{ KVM_EXIT_SHUTDOWN, { EXIT_KIND_REASON, KVM_EXIT_SHUTDOWN, 0 } },
	};

	vcpu.exits = exit_stats_create();
	ck_assert_ptr_nonnull(vcpu.exits);
	for (unsigned i = 0; i < ARRAY_SIZE(each); i++) {
		const struct exit_row *row;

		n_seen = 0;
		io(each[i].key.kind == EXIT_KIND_OUT ? KVM_EXIT_IO_OUT : KVM_EXIT_IO_IN, (uint16_t)each[i].key.addr, (uint8_t)each[i].key.width, 3);
		shared.run.exit_reason = each[i].reason;
		if (each[i].reason == KVM_EXIT_MMIO) {
			shared.run.mmio.phys_addr = each[i].key.addr;
			shared.run.mmio.len = each[i].key.width;
			shared.run.mmio.is_write = each[i].key.kind == EXIT_KIND_MMIO_WRITE;
		}
		ck_assert_int_eq(exit_dispatch(&vcpu), each[i].reason == KVM_EXIT_SHUTDOWN ? EXIT_HALT : EXIT_CONTINUE);
		ck_assert_uint_eq(n_seen, each[i].reason == KVM_EXIT_IO ? 3 : each[i].reason == KVM_EXIT_MMIO);
		ck_assert_uint_eq(vcpu.exits->used, i + 1);
		for (row = vcpu.exits->rows; row->count == 0 || row->key.kind != each[i].key.kind || row->key.addr != each[i].key.addr; row++)
			ck_assert(row < &vcpu.exits->rows[EXIT_STATS_ROWS - 1]);
		ck_assert(row->count == 1 && row->key.width == each[i].key.width);
	}
	exit_interrupted(&vcpu);
	ck_assert_uint_eq(vcpu.exits->used, ARRAY_SIZE(each) + 1);
	free(vcpu.exits);
	vcpu.exits = NULL;
	exit_interrupted(&vcpu);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("exit");
	TCase *tc = tcase_create("exit");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_loop_test(tc, io_out, 0, 12);
	tcase_add_loop_test(tc, io_in, 0, 12);
	tcase_add_loop_test(tc, mmio, 0, 4);
	tcase_add_test(tc, shutdown_and_interrupt);
	tcase_add_test(tc, failures);
	tcase_add_test(tc, system_events);
	tcase_add_test(tc, every_reason);
	tcase_add_test(tc, counted);
	suite_add_tcase(suite, tc);
	return fake_run_tests(suite);
}
