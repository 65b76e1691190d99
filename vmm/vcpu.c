/* SPDX-License-Identifier: MIT */
/*
 * The vCPU thread, and how it is stopped.
 *
 * A thread in KVM_RUN is stopped by a kick: the kicker sets run->immediate_exit, which makes the next entry return at once, and
 * sends a signal, which ends the present one. There is no gap between the two, whatever the thread is doing:
 *
 *   main thread                        vCPU thread
 *   A  goal = PAUSE                    1  immediate_exit = 0
 *   B  immediate_exit = 1              2  read goal; not RUN: leave
 *   C  send the signal                 3  KVM_RUN
 *
 * All of A, B, 1 and 2 are sequentially consistent. Is 1 before B, then 3 sees immediate_exit, or is in the guest when the signal
 * comes. Is B before 1, then A is before 2, and 2 sees it. So the signal's handler has nothing to do, and needs no way to find
 * the vCPU.
 *
 * A program that embeds Kite may have the signal's disposition left alone (vm->blocked_kick): the signal is blocked in the thread then, and
 * KVM unblocks it while it is inside KVM_RUN (KVM_SET_SIGNAL_MASK), which it ends without ever being delivered. The thread takes it off the pending
 * ones after EINTR. A kick that comes just then was sent for a goal that is looked at next.
 *
 * KVM finishes an I/O exit (the result of a read, the step over the instruction) only when KVM_RUN is entered again. Before it
 * parks, a vCPU therefore enters once more with immediate_exit set: registers are then whole, for a reset as for a look.
 */
#include "vmm/vcpu.h"

#include <assert.h>
#include <errno.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "vmm/arch.h"
#include "vmm/err.h"
#include "vmm/exit.h"
#include "vmm/kvm.h"
#include "vmm/log.h"
#include "vmm/syscall_rules.h"
#include "vmm/thread.h"
#include "vmm/util.h"
#include "vmm/vm.h"

#define KICK_SIGNAL SIGUSR1
#define THREAD_NAME_MAX 16 /* pthread_setname_np(3), with the terminator */

SYSCALL_RULES(
	{ CALL(ioctl), ARG(1, KVM_RUN), .threads = THREAD_VCPU },
	{ CALL(rt_sigreturn), .threads = THREAD_VCPU },				  /* from the kick */
	{ CALL(sched_yield), .threads = THREAD_MAIN, .rare = THREAD_ANY }, /* vcpu_tid */
	{ CALL(tgkill), ARGS(0, ARG_OWN_PID, 2, KICK_SIGNAL), .threads = THREAD_MAIN }, /* the kick */
);

static void vcpu_kick_handler(int sig)
{
	(void)sig;
}

void vcpu_install_kick_handler(void)
{
	/* No SA_RESTART: KVM_RUN shall return EINTR. */
	struct sigaction sa = { .sa_handler = vcpu_kick_handler };

	sigemptyset(&sa.sa_mask);
	sigaction(KICK_SIGNAL, &sa, NULL);
}

int vcpu_create(struct vcpu *vcpu, struct vm *vm, unsigned index, uint32_t kvm_id, struct err *err)
{
	int r;

	*vcpu = (struct vcpu){ .vm = vm, .index = index, .kvm_id = kvm_id, .fd = -1 };
	r = kvm_ioctl(vm->fd, KVM_CREATE_VCPU, (void *)(uintptr_t)kvm_id);
	if (r < 0)
		return err_set_errno(err, r, "KVM cannot create vCPU %u", index);
	vcpu->fd = r;
	vcpu->run_size = vm->kvm.vcpu_run_size;
	vcpu->run = mmap(NULL, vcpu->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (vcpu->run == MAP_FAILED) {
		vcpu->run = NULL;
		r = err_set_errno(err, -errno, "cannot map the shared area of vCPU %u", index);
		goto fail;
	}
	r = arch_vcpu_init(vcpu, err);
	if (r < 0)
		goto fail;
	return 0;
fail:
	vcpu_destroy(vcpu);
	return r;
}

void vcpu_destroy(struct vcpu *vcpu)
{
	arch_vcpu_fini(vcpu);
	free(vcpu->exits);
	vcpu->exits = NULL;
	if (vcpu->run)
		munmap(vcpu->run, vcpu->run_size);
	vcpu->run = NULL;
	fd_close(&vcpu->fd);
}

static void vcpu_set_immediate_exit(struct vcpu *vcpu, uint8_t value)
{
	__atomic_store_n(&vcpu->run->immediate_exit, value, __ATOMIC_SEQ_CST);
}

void vcpu_kick(struct vcpu *vcpu)
{
	if (!vcpu->thread_started)
		return;
	vcpu_set_immediate_exit(vcpu, 1);
	pthread_kill(vcpu->thread, vcpu->vm->blocked_kick ? vcpu->vm->blocked_kick : KICK_SIGNAL);
}

/* Waits while the goal is to pause. */
static enum vcpu_goal vcpu_park(struct vcpu *vcpu)
{
	struct vm *vm = vcpu->vm;
	enum vcpu_goal goal;

	pthread_mutex_lock(&vm->lock);
	if (atomic_load(&vm->goal) == VCPU_PAUSE) {
		vm_vcpu_parked(vm);
		while (atomic_load(&vm->goal) == VCPU_PAUSE)
			pthread_cond_wait(&vm->changed, &vm->lock);
		vm->parked--;
	}
	goal = (enum vcpu_goal)atomic_load(&vm->goal);
	pthread_mutex_unlock(&vm->lock);
	return goal;
}

static int vcpu_enter(struct vcpu *vcpu)
{
	return kvm_ioctl(vcpu->fd, KVM_RUN, NULL);
}

static void vcpu_fail(struct vcpu *vcpu, int error)
{
	const char *why = strerrordesc_np(-error);

	log_error("vCPU %u: KVM_RUN failed: %s", vcpu->index, why ? why : "unknown error");
	arch_vcpu_dump(vcpu);
	vm_request(vcpu->vm, VM_REQUEST_FAIL, 1);
}

/* Lets KVM finish the last exit. It may take several entries: a page-crossing access has two halves, each an exit. */
static void vcpu_complete_io(struct vcpu *vcpu)
{
	do
		vcpu_set_immediate_exit(vcpu, 1);
	while (vcpu_enter(vcpu) == 0 && exit_dispatch(vcpu) == EXIT_CONTINUE);
}

/* A kick that is blocked stays pending after it has ended KVM_RUN, and would end every further one. */
static void vcpu_take_kick(const struct vcpu *vcpu)
{
	const struct timespec now = { 0 };
	sigset_t kick;

	if (!vcpu->vm->blocked_kick)
		return;
	sigemptyset(&kick);
	sigaddset(&kick, vcpu->vm->blocked_kick);
	sigtimedwait(&kick, NULL, &now);
}

/* Runs until the VM's goal is another, or the vCPU cannot go on. */
static void vcpu_run(struct vcpu *vcpu)
{
	enum exit_action action = EXIT_CONTINUE;

	while (action == EXIT_CONTINUE) {
		int r;

		vcpu_set_immediate_exit(vcpu, 0);
		if (atomic_load(&vcpu->vm->goal) != VCPU_RUN) {
			vcpu_complete_io(vcpu);
			return;
		}
		r = vcpu_enter(vcpu);
		if (r == 0) {
			action = exit_dispatch(vcpu);
		} else if (r == -EINTR || r == -EAGAIN) {
			exit_interrupted(vcpu);
			if (r == -EINTR)
				vcpu_take_kick(vcpu);
		} else {
			vcpu_fail(vcpu, r);
			action = EXIT_HALT;
		}
	}
}

/* By the thread itself: another's name is written by way of a file. */
static void vcpu_name_thread(const struct vcpu *vcpu)
{
	char name[64];

	snprintf(name, sizeof(name), "CPU %u/%.32s", vcpu->index, vcpu->vm->name ? vcpu->vm->name : "KVM");
	name[THREAD_NAME_MAX - 1] = '\0';
	pthread_setname_np(pthread_self(), name);
}

static void *vcpu_thread(void *arg)
{
	struct vcpu *vcpu = arg;

	vcpu_name_thread(vcpu);
	atomic_store(&vcpu->tid, gettid()); /* for vcpu_tid, which looks before it parks */
	vm_vcpu_enters(vcpu->vm);
	while (vcpu_park(vcpu) == VCPU_RUN)
		vcpu_run(vcpu);
	return NULL;
}

/* The thread takes the kick and the faults of its own code; all else is for the main thread. */
static void vcpu_signal_mask(const struct vcpu *vcpu, sigset_t *mask)
{
	static const int own[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS };

	sigfillset(mask);
	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		sigdelset(mask, own[i]);
	if (!vcpu->vm->blocked_kick)
		sigdelset(mask, KICK_SIGNAL);
}

/* The kick that is blocked in the thread, with `mask`, ends KVM_RUN all the same. */
static int vcpu_unblock_inside(struct vcpu *vcpu, const sigset_t *mask, struct err *err)
{
	struct { /* struct kvm_signal_mask with its set */
		uint32_t len;
		uint64_t set; /* the kernel's sigset_t, which is where glibc's begins */
	} __attribute__((packed)) arg = { .len = sizeof(arg.set) };
	sigset_t inside = *mask;
	int r;

	static_assert(offsetof(struct kvm_signal_mask, sigset) == sizeof(arg.len), "the set follows its length");
	if (!vcpu->vm->blocked_kick)
		return 0;
	sigdelset(&inside, vcpu->vm->blocked_kick);
	memcpy(&arg.set, &inside, sizeof(arg.set));
	r = kvm_ioctl(vcpu->fd, KVM_SET_SIGNAL_MASK, &arg);
	return r < 0 ? err_set_errno(err, r, "KVM does not take the signal mask of vCPU %u", vcpu->index) : 0;
}

int vcpu_start(struct vcpu *vcpu, struct err *err)
{
	sigset_t mask;
	int r;

	vcpu_signal_mask(vcpu, &mask);
	r = vcpu_unblock_inside(vcpu, &mask, err);
	if (r < 0)
		return r;
	r = thread_create(&vcpu->thread, &mask, vcpu_thread, vcpu);
	if (r < 0)
		return err_set_errno(err, r, "cannot start the thread of vCPU %u", vcpu->index);
	vcpu->thread_started = true;
	return 0;
}

pid_t vcpu_tid(struct vcpu *vcpu)
{
	while (vcpu->thread_started && atomic_load(&vcpu->tid) == 0)
		sched_yield();
	return atomic_load(&vcpu->tid);
}

void vcpu_join(struct vcpu *vcpu)
{
	if (!vcpu->thread_started)
		return;
	pthread_join(vcpu->thread, NULL);
	vcpu->thread_started = false;
}
