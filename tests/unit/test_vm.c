/* SPDX-License-Identifier: MIT */
/*
 * The VM's run state and the vCPU threads, on a KVM whose guests sleep in KVM_RUN until a kick, as real ones may: a kick that is lost
 * shows as a guest that sleeps past SLEEP_MS.
 */
#include "tests/unit/fake_kvm.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/arch.h"
#include "vmm/eventloop.h"
#include "vmm/exit.h"
#include "vmm/guest_mem.h"
#include "vmm/thread.h"
#include "vmm/vcpu.h"
#include "vmm/vm.h"

#define RUN_SIZE 8192
#define SLEEP_MS 15000
#define N_VCPUS 4

/* Of every vCPU, found by its descriptor. */
static struct fake_vcpu {
	int fd;
	atomic_uint runs, completed;
	atomic_bool inside, io_pending;
} fakes[64];
static atomic_uint n_fakes, n_lost, n_ioctls, n_resets, inside_at_reset;
static unsigned fail_ioctl = UINT32_MAX, fail_thread = UINT32_MAX, n_threads;
static int max_vcpus = 8;
static bool reset_fails;
/* What a vCPU does when its guest leaves KVM_RUN by itself; NULL: it never does. */
static enum exit_action (*guest_exit)(struct vcpu *vcpu);

static struct fake_vcpu *fake_of(int fd)
{
	for (unsigned i = 0; i < n_fakes; i++)
		if (fakes[i].fd == fd)
			return &fakes[i];
	abort();
}

static int fake_memory(void)
{
	int fd = memfd_create("vcpu", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, RUN_SIZE), 0);
	return fd;
}

/* As KVM: immediate_exit is looked at with the signal blocked, and then sleeping and unblocking are one step. */
static int fake_run(int fd, struct kvm_run *run)
{
	const struct timespec limit = { SLEEP_MS / 1000, 0 }, soon = { 0, 50000 };
	struct fake_vcpu *fake = fake_of(fd);
	sigset_t kick, old;
	int r;

	fake->runs++;
	if (fake->io_pending) {
		fake->io_pending = false;
		fake->completed++;
	}
	sigemptyset(&kick);
	sigaddset(&kick, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &kick, &old);
	if (__atomic_load_n(&run->immediate_exit, __ATOMIC_SEQ_CST)) {
		r = -EINTR;
	} else {
		fake->inside = true;
		r = ppoll(NULL, 0, guest_exit ? &soon : &limit, &old) < 0 ? -EINTR : 0;
		fake->inside = false;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r == 0 && !guest_exit) {
		n_lost++;
		r = -EINTR;
	}
	if (r == 0)
		fake->io_pending = true;
	return r;
}

static struct kvm_run *fake_run_area(int fd);

int fake_kvm_ioctl(int fd, unsigned long request, void *arg)
{
	unsigned number;

	(void)arg;
	if (request == KVM_RUN)
		return fake_run(fd, fake_run_area(fd));
	number = n_ioctls++;
	if (number == fail_ioctl)
		return -ENOSPC;
	if (request == KVM_CREATE_VM)
		return fake_memory();
	if (request == KVM_CREATE_VCPU) {
		unsigned i = n_fakes++;

		ck_assert_uint_lt(i, ARRAY_SIZE(fakes));
		fakes[i].fd = fake_memory();
		return fakes[i].fd;
	}
	ck_assert_uint_eq(request, KVM_SET_USER_MEMORY_REGION);
	return 0;
}

static int fake_kvm_open(struct kvm *kvm, struct err *err)
{
	(void)err;
	*kvm = (struct kvm){ .fd = fake_memory(), .vcpu_run_size = RUN_SIZE, .max_vcpus = max_vcpus };
	return 0;
}

static int fake_thread_create(pthread_t *t, const sigset_t *mask, void *(*run)(void *), void *arg)
{
	return n_threads++ == fail_thread ? -EAGAIN : thread_create(t, mask, run, arg);
}

static int fake_arch_vm_init(struct vm *v, struct err *err)
{
	(void)v;
	return n_ioctls++ == fail_ioctl ? err_set(err, -EIO, "no controllers") : 0;
}

static int fake_arch_vcpu_init(struct vcpu *vcpu, struct err *err)
{
	vcpu->arch = malloc(1);
	return n_ioctls++ == fail_ioctl ? err_set(err, -EIO, "no registers") : 0;
}

static void fake_arch_vcpu_fini(struct vcpu *vcpu)
{
	free(vcpu->arch);
	vcpu->arch = NULL;
}

static void fake_arch_vcpu_dump(struct vcpu *vcpu)
{
	(void)vcpu;
}

static unsigned n_clocks;

static void fake_arch_vcpu_was_stopped(struct vcpu *vcpu)
{
	(void)vcpu;
	n_clocks++;
}

static enum exit_action fake_exit_dispatch(struct vcpu *vcpu)
{
	return guest_exit ? guest_exit(vcpu) : EXIT_CONTINUE;
}

#define kvm_open fake_kvm_open
#define thread_create fake_thread_create
#define arch_vm_init fake_arch_vm_init
#define arch_vcpu_init fake_arch_vcpu_init
#define arch_vcpu_fini fake_arch_vcpu_fini
#define arch_vcpu_dump fake_arch_vcpu_dump
#define arch_vcpu_was_stopped fake_arch_vcpu_was_stopped
#define exit_dispatch fake_exit_dispatch
#include "vmm/vcpu.c"
#include "vmm/vm.c"
#include "vmm/vm_run.c"
#undef thread_create

static struct vm *vm;
static struct eventloop *loop;

static struct kvm_run *fake_run_area(int fd)
{
	for (unsigned i = 0; i < vm->n_vcpus; i++)
		if (vm->vcpus[i].fd == fd)
			return vm->vcpus[i].run;
	abort();
}

static int machine_reset(void *machine, struct err *err)
{
	ck_assert_ptr_eq(machine, &n_resets);
	for (unsigned i = 0; i < n_fakes; i++) {
		inside_at_reset += fakes[i].inside;
		ck_assert(!fakes[i].io_pending); /* registers are whole */
	}
	n_resets++;
	return reset_fails ? err_set(err, -EIO, "the kernel has gone") : 0;
}

static unsigned n_quiesced, n_resumed;

/* Both with every vCPU parked. */
static void machine_quiesce(void *machine)
{
	ck_assert_ptr_eq(machine, &n_resets);
	for (unsigned i = 0; i < n_fakes; i++)
		ck_assert(!fakes[i].inside && !fakes[i].io_pending);
	n_quiesced++;
}

static void machine_resume(void *machine)
{
	ck_assert_ptr_eq(machine, &n_resets);
	for (unsigned i = 0; i < n_fakes; i++)
		ck_assert(!fakes[i].inside);
	n_resumed++;
}

static const struct vm_machine_ops machine_ops = { .reset = machine_reset, .quiesce = machine_quiesce, .resume = machine_resume };
static struct err err;

static struct vm *create(unsigned n, bool no_reboot)
{
	static const uint32_t ids[16] = { 0, 1, 2, 3, 4, 5, 6, 7 };
	const struct gm_range ram[] = { { 0, 4096 }, { 8192, 4096 } };
	const struct vm_params params = {
		.ram = ram, .n_ram = 2, .vcpu_ids = ids, .n_vcpus = n, .no_reboot = no_reboot, .loop = loop, .name = "a-rather-long-name",
	};
	struct vm *v = vm_create(&params, &err);

	if (v)
		vm_set_machine(v, &machine_ops, &n_resets);
	return v;
}

static void setup(void)
{
	err = (struct err)ERR_INIT;
	vcpu_install_kick_handler();
	loop = eventloop_create(&err);
	ck_assert_ptr_nonnull(loop);
}

static void teardown(void)
{
	vm_destroy(vm);
	eventloop_destroy(loop);
	ck_assert_uint_eq(n_lost, 0);
	ck_assert_uint_eq(inside_at_reset, 0);
}

static void start(bool no_reboot)
{
	vm = create(N_VCPUS, no_reboot);
	ck_assert_msg(vm != NULL, "%s", err.msg);
	ck_assert_int_eq(vm_start(vm, NULL, &err), 0);
}

static void wait_inside(void)
{
	for (unsigned i = 0; i < N_VCPUS; i++)
		while (!fakes[i].inside)
			poll(NULL, 0, 1);
}

START_TEST(pause_and_resume)
{
	start(false);
	poll(NULL, 0, 20);
	for (unsigned i = 0; i < N_VCPUS; i++)
		ck_assert_uint_eq(fakes[i].runs, 0); /* started is paused */
	for (unsigned turn = 0; turn < 20; turn++) {
		unsigned runs[N_VCPUS];

		vm_resume(vm);
		wait_inside();
		vm_pause(vm);
		for (unsigned i = 0; i < N_VCPUS; i++) {
			ck_assert(!fakes[i].inside);
			runs[i] = fakes[i].runs;
		}
		if (turn % 4 == 0)
			poll(NULL, 0, 2);
		for (unsigned i = 0; i < N_VCPUS; i++)
			ck_assert_uint_eq(fakes[i].runs, runs[i]);
	}
	vm_pause(vm);
	vm_stop(vm);
	vm_stop(vm);
}
END_TEST

static enum exit_action exit_io(struct vcpu *vcpu)
{
	(void)vcpu;
	return EXIT_CONTINUE;
}

START_TEST(io_is_completed)
{
	guest_exit = exit_io;
	start(false);
	for (unsigned turn = 0; turn < 200; turn++) {
		vm_resume(vm);
		if (turn % 8 == 0)
			poll(NULL, 0, 1);
		vm_pause(vm);
		for (unsigned i = 0; i < N_VCPUS; i++)
			ck_assert(!fakes[i].io_pending);
	}
	ck_assert_uint_gt(fakes[0].completed, 0);
}
END_TEST

static void run_to_end(int status)
{
	vm_resume(vm);
	ck_assert_int_eq(eventloop_run(loop), 0);
	ck_assert_int_eq(vm->exit_status, status);
	for (unsigned i = 0; i < N_VCPUS; i++)
		ck_assert(!fakes[i].inside);
}

/* Before it runs: what is asked first and last, and how it ends. */
START_TEST(priorities)
{
	static const struct {
		enum vm_request first, second;
		int code, status;
	} cases[] = {
		{ VM_REQUEST_POWEROFF, VM_REQUEST_POWEROFF, 0, 0 },   { VM_REQUEST_RESET, VM_REQUEST_POWEROFF, 0, 0 },
		{ VM_REQUEST_POWEROFF, VM_REQUEST_RESET, 0, 0 },      { VM_REQUEST_EXIT, VM_REQUEST_RESET, 33, 33 },
		{ VM_REQUEST_POWEROFF, VM_REQUEST_EXIT, 35, 35 },     { VM_REQUEST_EXIT, VM_REQUEST_FAIL, 33, 1 },
		{ VM_REQUEST_FAIL, VM_REQUEST_EXIT, 0, 1 },
	};

	start(false);
	vm_request(vm, cases[_i].first, cases[_i].code);
	vm_request(vm, cases[_i].second, cases[_i].code);
	run_to_end(cases[_i].status);
	ck_assert_uint_eq(n_resets, 0);
	for (unsigned i = 0; i < N_VCPUS; i++)
		ck_assert_uint_eq(fakes[i].runs, 0); /* nothing of the guest ran meanwhile */
}
END_TEST

START_TEST(first_exit_counts)
{
	start(false);
	vm_request(vm, VM_REQUEST_EXIT, 3);
	vm_request(vm, VM_REQUEST_EXIT, 5);
	run_to_end(3);
}
END_TEST

START_TEST(no_reboot)
{
	start(true);
	vm_triple_fault(vm, 1);
	run_to_end(0);
	ck_assert_uint_eq(n_resets, 0);
	ck_assert_ptr_nonnull(strstr(fake_log_text, "-no-reboot"));
}
END_TEST

START_TEST(reset_failure)
{
	reset_fails = true;
	start(false);
	vm_request(vm, VM_REQUEST_RESET, 0);
	run_to_end(1);
	ck_assert_ptr_nonnull(strstr(fake_log_text, "the kernel has gone"));
}
END_TEST

static enum exit_action exit_triple(struct vcpu *vcpu)
{
	fakes[vcpu->index].io_pending = false; /* this exit has nothing to complete */
	if (n_resets >= 5)
		vm_request(vcpu->vm, VM_REQUEST_EXIT, 9);
	else
		vm_triple_fault(vcpu->vm, vcpu->index);
	return EXIT_HALT;
}

START_TEST(triple_fault_said_once)
{
	guest_exit = exit_triple;
	start(false);
	run_to_end(9);
	ck_assert_uint_ge(n_resets, 5);
	ck_assert_uint_eq(fake_log_lines, 1);
}
END_TEST

static void stop_loop(void *opaque)
{
	eventloop_stop(opaque);
}

/* Serving a request does not let a paused machine go, and a request waiting holds back a resume. */
START_TEST(paused_stays_paused)
{
	struct event_timer timer = { .fire = stop_loop, .opaque = loop };

	start(false);
	vm_resume(vm);
	wait_inside();
	vm_pause(vm);
	vm_request(vm, VM_REQUEST_RESET, 0);
	eventloop_arm(loop, &timer, now_ns() + 20000000);
	ck_assert_int_eq(eventloop_run(loop), 0);
	ck_assert_uint_eq(n_resets, 1);
	for (unsigned i = 0; i < N_VCPUS; i++)
		ck_assert(!fakes[i].inside);
	vm_request(vm, VM_REQUEST_RESET, 0);
	vm_resume(vm);
	poll(NULL, 0, 5);
	for (unsigned i = 0; i < N_VCPUS; i++)
		ck_assert(!fakes[i].inside);
	eventloop_arm(loop, &timer, now_ns() + 20000000);
	ck_assert_int_eq(eventloop_run(loop), 0);
	ck_assert_uint_eq(n_resets, 2);
	wait_inside();
}
END_TEST

static void loop_turns(void)
{
	struct event_timer timer = { .fire = stop_loop, .opaque = loop };

	eventloop_arm(loop, &timer, now_ns() + 50000000);
	ck_assert_int_eq(eventloop_run(loop), 0);
}

static void *ask_for_io_error(void *opaque)
{
	vm_request(opaque, VM_REQUEST_IO_ERROR, 0);
	return NULL;
}

/* A disk's thread stops the machine, twice for one stop; a reset meanwhile does not let it go; resume does; then it ends while stopped. */
START_TEST(io_error_stops)
{
	unsigned runs[N_VCPUS];
	pthread_t disk;

	start(false);
	vm_resume(vm);
	wait_inside();
	pthread_create(&disk, NULL, ask_for_io_error, vm);
	while (vm->state == VM_RUNNING)
		loop_turns();
	pthread_join(disk, NULL);
	ck_assert_int_eq(vm->state, VM_IO_ERROR);
	for (unsigned i = 0; i < N_VCPUS; i++)
		runs[i] = fakes[i].runs;
	vm_request(vm, VM_REQUEST_IO_ERROR, 0);
	vm_request(vm, VM_REQUEST_RESET, 0);
	loop_turns();
	ck_assert_uint_eq(n_resets, 1);
	vm_request(vm, VM_REQUEST_IO_ERROR, 0);
	loop_turns();
	ck_assert_int_eq(vm->state, VM_IO_ERROR);
	ck_assert(n_quiesced == 1 && n_resumed == 0 && n_clocks == 0);
	for (unsigned i = 0; i < N_VCPUS; i++)
		ck_assert(!fakes[i].inside && fakes[i].runs == runs[i]);
	vm_resume(vm);
	ck_assert(n_resumed == 1 && n_clocks == N_VCPUS && vm->state == VM_RUNNING);
	wait_inside();
	vm_resume(vm); /* is nothing */
	/* A machine that was paused on purpose stays that. */
	vm_pause(vm);
	vm_request(vm, VM_REQUEST_IO_ERROR, 0);
	loop_turns();
	ck_assert_int_eq(vm->state, VM_PAUSED);
	ck_assert_uint_eq(n_resumed, 1);
	vm_resume(vm);
	n_resumed = 1;
	ck_assert_uint_eq(n_resumed, 1);
	/* One that is asked for before the resume and served after it stops the machine again: nothing is forgotten. */
	vm_request(vm, VM_REQUEST_IO_ERROR, 0);
	vm_resume(vm);
	while (vm->state == VM_RUNNING)
		loop_turns();
	vm_request(vm, VM_REQUEST_EXIT, 7);
	ck_assert_int_eq(eventloop_run(loop), 0);
	ck_assert(vm->exit_status == 7 && vm->state == VM_ENDED);
	vm_resume(vm);
	ck_assert_int_eq(vm->state, VM_ENDED);
}
END_TEST

/* A loop that lives longer than a VM with a request not served. */
START_TEST(loop_outlives_vm)
{
	struct event_timer timer = { .fire = stop_loop, .opaque = loop };

	start(false);
	vm_request(vm, VM_REQUEST_RESET, 0);
	vm_destroy(vm);
	vm = NULL;
	eventloop_arm(loop, &timer, now_ns() + 5000000);
	ck_assert_int_eq(eventloop_run(loop), 0);
	ck_assert_uint_eq(n_resets, 0);
}
END_TEST

START_TEST(creation_failures)
{
	unsigned i;

	for (i = 0; i < 100; i++) {
		n_ioctls = 0;
		n_fakes = 0;
		fail_ioctl = i;
		err = (struct err)ERR_INIT;
		vm = create(N_VCPUS, false);
		if (vm)
			break;
		ck_assert(err.code < 0 && err.msg[0]);
	}
	ck_assert_uint_eq(i, 1 + 2 + 1 + 2 * N_VCPUS);
	vm_destroy(vm);
	fail_ioctl = UINT32_MAX;
	max_vcpus = 3;
	vm = create(N_VCPUS, false);
	ck_assert_ptr_null(vm);
	ck_assert_ptr_nonnull(strstr(err.msg, "at most 3"));
}
END_TEST

static atomic_uint entered;
static unsigned entry_fails; /* from which on */

static int enter(void *opaque, struct err *e)
{
	ck_assert_ptr_eq(opaque, &entered);
	poll(NULL, 0, 5);
	return atomic_fetch_add(&entered, 1) >= entry_fails ? err_set(e, -EACCES, "locked") : 0;
}

/* All vCPUs have been through it when vm_start returns, and one that could not ends them all. */
START_TEST(start_through_an_entry)
{
	struct vm_entry entry = { .enter = enter, .opaque = &entered };

	entered = 0;
	entry_fails = N_VCPUS;
	vm = create(N_VCPUS, false);
	ck_assert_int_eq(vm_start(vm, &entry, &err), 0);
	ck_assert_uint_eq(entered, N_VCPUS);
	vm_resume(vm);
	wait_inside();
	vm_destroy(vm);
	n_fakes = 0;
	for (unsigned i = 0; i < N_VCPUS; i++)
		fakes[i].runs = 0;
	entered = 0;
	entry_fails = N_VCPUS - 1;
	vm = create(N_VCPUS, false);
	ck_assert_int_eq(vm_start(vm, &entry, &err), -EACCES);
	ck_assert_str_eq(err.msg, "locked");
	for (unsigned i = 0; i < N_VCPUS; i++)
		ck_assert_uint_eq(fakes[i].runs, 0);
}
END_TEST

START_TEST(start_failures)
{
	for (fail_thread = 0; fail_thread < N_VCPUS; fail_thread++) {
		n_threads = 0;
		n_fakes = 0;
		vm = create(N_VCPUS, false);
		ck_assert_int_eq(vm_start(vm, NULL, &err), -EAGAIN);
		ck_assert_ptr_nonnull(strstr(err.msg, "thread of vCPU"));
		vm_destroy(vm);
	}
	vm = NULL;
}
END_TEST

/* ---- what an observer hears ---- */

static char heard[400];

static void hear(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void hear(const char *fmt, ...)
{
	size_t n = strlen(heard);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(heard + n, sizeof(heard) - n, fmt, ap);
	va_end(ap);
}

static void hear_state(void *opaque, enum vm_state state, enum vm_state before)
{
	ck_assert_ptr_eq(opaque, heard);
	hear(" %d>%d", before, state);
}

static void hear_reset(void *opaque, enum vm_cause cause)
{
	(void)opaque;
	hear(" reset%d", cause);
}

static void hear_shutdown(void *opaque, enum vm_cause cause)
{
	(void)opaque;
	hear(" shutdown%d", cause);
}

static void hear_news(void *opaque, enum machine_news news, int action)
{
	(void)opaque;
	hear(" news%d:%d", news, action);
}

static const struct vm_observer_ops hear_ops = {
	.state = hear_state, .reset = hear_reset, .shutdown = hear_shutdown, .news = hear_news,
};

/* Lets the loop serve what was asked for: 20 ms, and as many more as it takes the vCPUs to park. */
static void hear_out(const char *want)
{
	int64_t end = now_ns() + 60 * NS_PER_SEC;

	do {
		struct event_timer timer = { .fire = stop_loop, .opaque = loop };

		eventloop_arm(loop, &timer, now_ns() + 20000000);
		ck_assert_int_eq(eventloop_run(loop), 0);
		eventloop_cancel(loop, &timer);
	} while (strcmp(heard, want) && vm->state != VM_ENDED && now_ns() < end);
	ck_assert_str_eq(heard, want);
}

/* Asks for `n` things at once. */
static void ask(const char *want, size_t n, const enum vm_request *what)
{
	heard[0] = 0;
	for (size_t i = 0; i < n; i++)
		vm_request(vm, what[i], 0);
	hear_out(want);
	if (vm->state == VM_RUNNING)
		wait_inside();
	for (unsigned i = 0; i < N_VCPUS; i++)
		ck_assert_int_eq(fakes[i].inside, vm->state == VM_RUNNING);
}
#define ASK(want, ...) ask(want, sizeof((enum vm_request[]){ __VA_ARGS__ }) / sizeof(enum vm_request), (enum vm_request[]){ __VA_ARGS__ })

static void go(void)
{
	vm_resume(vm);
	ck_assert_int_eq(vm->state, VM_RUNNING);
	wait_inside();
}

START_TEST(states)
{
	char text[100];
	static const struct {
		enum vm_request request;
		enum vm_state state;
	} stops_it[] = {
		{ VM_REQUEST_PAUSE, VM_PAUSED }, { VM_REQUEST_IO_ERROR, VM_IO_ERROR }, { VM_REQUEST_WATCHDOG, VM_WATCHDOG },
		{ VM_REQUEST_PANIC, VM_PANICKED },
	};

	start(false);
	vm_add_observer(vm, &hear_ops, heard);
	vm->shutdown_pauses = true;
	go();
	for (size_t i = 0; i < ARRAY_SIZE(stops_it); i++) {
		snprintf(text, sizeof(text), " %d>%d", VM_RUNNING, stops_it[i].state);
		ASK(text, stops_it[i].request);
		ASK("", stops_it[i].request, VM_REQUEST_PAUSE); /* it stands already, for the reason that it stands for */
		go();
	}
	snprintf(text, sizeof(text), " reset%d %d>%d", VM_CAUSE_GUEST_RESET, VM_RUNNING, VM_PAUSED);
	ASK(text, VM_REQUEST_PAUSE, VM_REQUEST_RESET);
	go();
	/* Off, and kept: it goes on only after a reset, and not by itself. */
	snprintf(text, sizeof(text), " shutdown%d %d>%d", VM_CAUSE_GUEST_SHUTDOWN, VM_RUNNING, VM_SHUTDOWN);
	ASK(text, VM_REQUEST_POWEROFF);
	vm_resume(vm);
	ck_assert_int_eq(vm->state, VM_SHUTDOWN);
	snprintf(text, sizeof(text), " reset%d %d>%d", VM_CAUSE_GUEST_RESET, VM_SHUTDOWN, VM_PAUSED);
	ASK(text, VM_REQUEST_RESET);
	go();
	snprintf(text, sizeof(text), " %d>%d", VM_RUNNING, VM_INTERNAL_ERROR);
	ASK(text, VM_REQUEST_FAIL);
	vm_resume(vm);
	ck_assert_int_eq(vm->state, VM_INTERNAL_ERROR);
	snprintf(text, sizeof(text), " reset%d %d>%d", VM_CAUSE_GUEST_RESET, VM_INTERNAL_ERROR, VM_PAUSED);
	ASK(text, VM_REQUEST_RESET);
	/* No reset, and no shutdown either: -no-reboot -no-shutdown. */
	go();
	vm->reset_ends = true;
	snprintf(text, sizeof(text), " shutdown%d %d>%d", VM_CAUSE_GUEST_RESET, VM_RUNNING, VM_SHUTDOWN);
	ASK(text, VM_REQUEST_RESET);
	heard[0] = 0;
	vm_request_for(vm, VM_REQUEST_EXIT, VM_CAUSE_HOST_QUIT, 4);
	ck_assert_int_eq(eventloop_run(loop), 0);
	ck_assert_int_eq(vm->exit_status, 4);
	snprintf(text, sizeof(text), " shutdown%d %d>%d", VM_CAUSE_HOST_QUIT, VM_SHUTDOWN, VM_ENDED);
	ck_assert_str_eq(heard, text);
}
END_TEST

/* ---- what devices tell of the guest ---- */

static void press(void *machine)
{
	(void)machine;
	hear(" button");
}

static void nmi(void *machine)
{
	(void)machine;
	hear(" nmi");
}

static void tell(enum machine_news news, const char *want)
{
	heard[0] = 0;
	vm_tell(vm, news);
	hear_out(want);
}

START_TEST(news)
{
	static struct vm_machine_ops ops;
	char text[100];

	log_set_level(LOG_LEVEL_ERROR);
	start(false);
	ops = *vm->machine_ops;
	ops.power_button = press;
	ops.nmi = nmi;
	vm->machine_ops = &ops;
	vm_add_observer(vm, &hear_ops, heard);
	go();
	snprintf(text, sizeof(text), " news%d:%d reset%d", MACHINE_WATCHDOG, WATCHDOG_RESET, VM_CAUSE_GUEST_RESET);
	tell(MACHINE_WATCHDOG, text);
	vm->tell.watchdog = WATCHDOG_SHUTDOWN;
	tell(MACHINE_WATCHDOG, " button news0:1");
	vm->tell.watchdog = WATCHDOG_INJECT_NMI;
	tell(MACHINE_WATCHDOG, " nmi news0:6");
	vm->tell.watchdog = WATCHDOG_NONE;
	tell(MACHINE_WATCHDOG, " news0:5");
	vm->tell.watchdog = WATCHDOG_DEBUG;
	tell(MACHINE_WATCHDOG, " news0:4");
	ck_assert_int_eq(vm->state, VM_RUNNING);
	vm->tell.watchdog = WATCHDOG_PAUSE;
	snprintf(text, sizeof(text), " news0:3 %d>%d", VM_RUNNING, VM_WATCHDOG);
	tell(MACHINE_WATCHDOG, text);
	go();
	tell(MACHINE_CRASHLOADED, " news2:3");
	vm->tell.panic = PANIC_NONE;
	tell(MACHINE_PANICKED, " news1:3");
	ck_assert_int_eq(vm->state, VM_RUNNING);
	vm->tell.panic = PANIC_PAUSE;
	snprintf(text, sizeof(text), " news1:0 %d>%d", VM_RUNNING, VM_PANICKED);
	tell(MACHINE_PANICKED, text);
	go();
	/* Kept as it is where a machine that is off is kept. */
	vm->tell.panic = PANIC_SHUTDOWN;
	vm->shutdown_pauses = true;
	snprintf(text, sizeof(text), " news1:1 %d>%d", VM_RUNNING, VM_PANICKED);
	tell(MACHINE_PANICKED, text);
	go();
	vm->tell.panic = PANIC_EXIT_FAILURE;
	snprintf(text, sizeof(text), " news1:2 shutdown%d %d>%d", VM_CAUSE_GUEST_PANIC, VM_RUNNING, VM_ENDED);
	tell(MACHINE_PANICKED, text);
	ck_assert_int_eq(vm->exit_status, 1);
	heard[0] = 0;
	vm_tell(vm, MACHINE_PANICKED); /* nobody is there any more */
	ck_assert_str_eq(heard, "");
}
END_TEST

START_TEST(panic_is_off)
{
	char text[100];

	log_set_level(LOG_LEVEL_ERROR);
	start(false);
	vm_add_observer(vm, &hear_ops, heard);
	go();
	snprintf(text, sizeof(text), " news1:1 shutdown%d %d>%d", VM_CAUSE_GUEST_PANIC, VM_RUNNING, VM_ENDED);
	tell(MACHINE_PANICKED, text);
	ck_assert_int_eq(vm->exit_status, 0);
}
END_TEST

/* ---- everything at once ---- */

#define STRESS_NS (2 * NS_PER_SEC)

static atomic_bool stress_end;

static enum exit_action exit_stress(struct vcpu *vcpu)
{
	unsigned n = fakes[vcpu->index].runs;

	if (n % 64 == vcpu->index)
		vm_request(vcpu->vm, VM_REQUEST_RESET, 0);
	return EXIT_CONTINUE;
}

static void *stress_requests(void *arg)
{
	while (!stress_end) {
		vm_request(arg, VM_REQUEST_RESET, 0);
		poll(NULL, 0, 1);
	}
	return NULL;
}

struct stress {
	struct event_timer timer;
	int64_t end_ns;
	unsigned turns;
};

static atomic_uint n_called;

/* Each call has its own number, and all numbers come. */
static void called(void *arg)
{
	unsigned *turn = arg;

	*turn = ++n_called;
}

static enum exit_action exit_waits_for_the_loop(struct vcpu *vcpu)
{
	unsigned turn;

	eventloop_call_sync(loop, called, &turn);
	if (turn % 8 == 0)
		vm_request(vcpu->vm, turn < 400 ? VM_REQUEST_RESET : VM_REQUEST_EXIT, 7);
	return EXIT_CONTINUE;
}

/* A register of a device that works on the main loop: neither may the loop wait for the vCPU then. */
START_TEST(vcpus_may_wait_for_the_loop)
{
	guest_exit = exit_waits_for_the_loop;
	start(false);
	run_to_end(7);
	ck_assert_uint_gt(n_resets, 0);
	ck_assert_uint_eq(inside_at_reset, 0);
}
END_TEST

static void stress_turn(void *opaque)
{
	struct stress *s = opaque;

	s->turns++;
	vm_pause(vm);
	if (s->turns % 3)
		vm_resume(vm);
	if (now_ns() < s->end_ns || s->turns <= 10 || n_resets <= 10) { /* few on a busy machine */
		eventloop_arm(loop, &s->timer, now_ns() + 100000 * (s->turns % 7));
		return;
	}
	vm_resume(vm);
	vm_request(vm, VM_REQUEST_EXIT, 77);
}

START_TEST(stress)
{
	struct stress s = { .timer = { .fire = stress_turn, .opaque = &s } };
	pthread_t threads[2];

	guest_exit = exit_stress;
	start(false);
	s.end_ns = now_ns() + STRESS_NS;
	for (unsigned i = 0; i < ARRAY_SIZE(threads); i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, stress_requests, vm), 0);
	eventloop_arm(loop, &s.timer, 0);
	run_to_end(77);
	stress_end = true;
	for (unsigned i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_gt(s.turns, 10);
	ck_assert_uint_gt(n_resets, 10);
}
END_TEST

/* Guests that never leave by themselves: only a kick ends KVM_RUN. */
START_TEST(stress_kicks)
{
	int64_t end = now_ns() + STRESS_NS;
	unsigned turns = 0;

	start(false);
	for (; (now_ns() < end || turns <= 100) && turns < 100000; turns++) {
		vm_resume(vm);
		if (turns % 5 == 0)
			sched_yield();
		if (turns % 64 == 0)
			wait_inside();
		vm_pause(vm);
	}
	ck_assert_uint_gt(turns, 100);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("vm");
	TCase *tc = tcase_create("vm");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, pause_and_resume);
	tcase_add_test(tc, io_is_completed);
	tcase_add_loop_test(tc, priorities, 0, 7);
	tcase_add_test(tc, first_exit_counts);
	tcase_add_test(tc, no_reboot);
	tcase_add_test(tc, reset_failure);
	tcase_add_test(tc, triple_fault_said_once);
	tcase_add_test(tc, paused_stays_paused);
	tcase_add_test(tc, states);
	tcase_add_test(tc, news);
	tcase_add_test(tc, panic_is_off);
	tcase_add_test(tc, io_error_stops);
	tcase_add_test(tc, loop_outlives_vm);
	tcase_add_test(tc, creation_failures);
	tcase_add_test(tc, start_failures);
	tcase_add_test(tc, start_through_an_entry);
	tcase_add_test(tc, stress);
	tcase_add_test(tc, stress_kicks);
	tcase_add_test(tc, vcpus_may_wait_for_the_loop);
	suite_add_tcase(suite, tc);
	return fake_run_tests(suite);
}
