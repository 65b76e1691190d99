/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation
 *
 * What the machine does next is asked for by vm_request, on any thread, and decided by vm_serve, on the main thread with every vCPU
 * parked. Requests do not queue: there is a bit for each kind, and what is asked twice before it is served happens once. They are served
 * together, those that end the machine first: one that ends has no use for the others, and a stop asked for together with a reset is
 * a stop in a machine that was reset.
 */
#include "vmm/vm.h"

#include <assert.h>
#include <string.h>

#include "vmm/arch.h"
#include "vmm/err.h"
#include "vmm/log.h"
#include "vmm/util.h"
#include "vmm/vcpu.h"

static void vm_serve(void *opaque);

void vm_run_init(struct vm *vm, bool no_reboot)
{
	atomic_init(&vm->reset_ends, no_reboot);
	vm->request_work = (struct event_work){ .run = vm_serve, .opaque = vm };
	atomic_init(&vm->goal, VCPU_PAUSE);
	vm_tell_init(vm);
	pthread_mutex_init(&vm->lock, NULL);
	pthread_cond_init(&vm->changed, NULL);
	pthread_cond_init(&vm->all_parked, NULL);
}

void vm_run_fini(struct vm *vm)
{
	/* A vCPU may have asked for something when the loop had already ended: the loop may outlive us. */
	eventloop_cancel_work(vm->loop, &vm->request_work);
	vm_tell_fini(vm);
	pthread_cond_destroy(&vm->all_parked);
	pthread_cond_destroy(&vm->changed);
	pthread_mutex_destroy(&vm->lock);
}

void vm_add_observer(struct vm *vm, const struct vm_observer_ops *ops, void *opaque)
{
	struct vm_observer *o = vm->observers;

	while (o < vm->observers + VM_MAX_OBSERVERS && o->ops)
		o++;
	assert(o < vm->observers + VM_MAX_OBSERVERS);
	*o = (struct vm_observer){ .ops = ops, .opaque = opaque };
}

void vm_remove_observer(struct vm *vm, void *opaque)
{
	for (size_t i = 0; i < VM_MAX_OBSERVERS; i++)
		if (vm->observers[i].opaque == opaque)
			vm->observers[i] = (struct vm_observer){ .ops = NULL };
}

/* Calls an op of every observer. */
#define OBSERVE(vm, op, ...)                                                                   \
	do                                                                                     \
		for (size_t i_ = 0; i_ < VM_MAX_OBSERVERS; i_++)                               \
			if ((vm)->observers[i_].ops)                                           \
				(vm)->observers[i_].ops->op((vm)->observers[i_].opaque, __VA_ARGS__); \
	while (0)

static void vm_set_goal(struct vm *vm, enum vcpu_goal goal)
{
	/* Pairs with the load in vcpu_run: see there. */
	atomic_store(&vm->goal, goal);
	if (goal != VCPU_PAUSE) /* who waits is parked already */
		pthread_cond_broadcast(&vm->changed);
}

static int start_threads(struct vm *vm, struct err *err)
{
	for (unsigned i = 0; i < vm->n_vcpus; i++) {
		int r;

		pthread_mutex_lock(&vm->lock);
		vm->running_threads++;
		pthread_mutex_unlock(&vm->lock);
		r = vcpu_start(&vm->vcpus[i], err);
		if (r < 0) {
			pthread_mutex_lock(&vm->lock);
			vm->running_threads--; /* this one never existed */
			pthread_mutex_unlock(&vm->lock);
			return r;
		}
	}
	return 0;
}

/* They park behind the entry. */
static int wait_for_entry(struct vm *vm, struct err *err)
{
	pthread_mutex_lock(&vm->lock);
	while (vm->parked < vm->running_threads)
		pthread_cond_wait(&vm->all_parked, &vm->lock);
	if (vm->entry->err.code < 0)
		*err = vm->entry->err;
	pthread_mutex_unlock(&vm->lock);
	return vm->entry->err.code;
}

int vm_start(struct vm *vm, struct vm_entry *entry, struct err *err)
{
	int r;

	vm->entry = entry;
	r = start_threads(vm, err);
	if (r == 0 && entry)
		r = wait_for_entry(vm, err);
	if (r < 0)
		vm_stop(vm);
	/* It is the caller's, and all have been through it. Without one, threads may only be about to look. */
	if (entry)
		vm->entry = NULL;
	return r;
}

void vm_vcpu_enters(struct vm *vm)
{
	struct err err = ERR_INIT;

	if (!vm->entry || vm->entry->enter(vm->entry->opaque, &err) == 0)
		return;
	pthread_mutex_lock(&vm->lock);
	vm->entry->err = err;
	pthread_mutex_unlock(&vm->lock);
}

static void vm_kick_all(struct vm *vm)
{
	for (unsigned i = 0; i < vm->n_vcpus; i++)
		vcpu_kick(&vm->vcpus[i]);
}

void vm_stop(struct vm *vm)
{
	bool stay;

	pthread_mutex_lock(&vm->lock);
	/* Who is parked does nothing, and goes with the process. */
	stay = vm->left && vm->parked == vm->running_threads;
	if (!stay)
		vm_set_goal(vm, VCPU_QUIT);
	pthread_mutex_unlock(&vm->lock);
	if (stay)
		return;
	vm_kick_all(vm);
	for (unsigned i = 0; i < vm->n_vcpus; i++)
		vcpu_join(&vm->vcpus[i]);
	vm->running_threads = 0;
}

/* Every vCPU parked. */
static void vm_halt(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	vm_set_goal(vm, VCPU_PAUSE);
	pthread_mutex_unlock(&vm->lock);
	vm_kick_all(vm);
	pthread_mutex_lock(&vm->lock);
	while (vm->parked < vm->running_threads)
		pthread_cond_wait(&vm->all_parked, &vm->lock);
	pthread_mutex_unlock(&vm->lock);
}

/*
 * As vm_halt without waiting: whether every vCPU is parked. If not, the last one to park posts request_work again. The loop must not
 * wait for vCPUs, since one of them may be waiting for the loop (eventloop_call_sync, from the register of a device that works on it).
 */
static bool vm_try_halt(struct vm *vm)
{
	bool halted;

	pthread_mutex_lock(&vm->lock);
	vm_set_goal(vm, VCPU_PAUSE);
	halted = vm->parked == vm->running_threads;
	vm->serve_when_parked = !halted;
	pthread_mutex_unlock(&vm->lock);
	if (!halted)
		vm_kick_all(vm);
	return halted;
}

void vm_vcpu_parked(struct vm *vm)
{
	vm->parked++;
	if (vm->parked < vm->running_threads)
		return;
	pthread_cond_signal(&vm->all_parked);
	if (vm->serve_when_parked) {
		vm->serve_when_parked = false;
		eventloop_post(vm->loop, &vm->request_work);
	}
}

/* Lets the vCPUs go, if that is what the main thread last wanted. */
static void vm_release(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	/* A request made meanwhile has set the goal to pause, and is about to be served. */
	if (vm->state == VM_RUNNING && vm->requests == 0)
		vm_set_goal(vm, VCPU_RUN);
	pthread_mutex_unlock(&vm->lock);
}

/* ---- states ---- */

/* With every vCPU parked, if it is to be another than running. */
static void vm_set_state(struct vm *vm, enum vm_state state)
{
	enum vm_state before = vm->state;

	vm->state = state;
	if (before == VM_RUNNING && state != VM_RUNNING && state != VM_ENDED && vm->machine_ops->quiesce)
		vm->machine_ops->quiesce(vm->machine);
	if (before != state)
		OBSERVE(vm, state, state, before);
}

bool vm_needs_reset(const struct vm *vm)
{
	return vm->state == VM_SHUTDOWN || vm->state == VM_INTERNAL_ERROR;
}

void vm_pause(struct vm *vm)
{
	vm_halt(vm);
	if (vm->state == VM_RUNNING || vm->state == VM_CREATED)
		vm_set_state(vm, VM_PAUSED);
}

void vm_resume(struct vm *vm)
{
	bool stopped = vm->state != VM_CREATED && vm->state != VM_RUNNING;

	if (vm->state == VM_ENDED || vm_needs_reset(vm))
		return;
	vm_set_state(vm, VM_RUNNING);
	for (unsigned i = 0; stopped && i < vm->n_vcpus; i++)
		arch_vcpu_was_stopped(&vm->vcpus[i]);
	if (stopped && vm->machine_ops->resume)
		vm->machine_ops->resume(vm->machine);
	vm_release(vm);
}

/* ---- requests ---- */

void vm_request_for(struct vm *vm, enum vm_request what, enum vm_cause cause, int status)
{
	pthread_mutex_lock(&vm->lock);
	if (!(vm->requests & BIT(what))) {
		vm->requests |= BIT(what);
		vm->asked[what].cause = cause;
		vm->asked[what].status = status;
	}
	if (atomic_load(&vm->goal) == VCPU_RUN)
		vm_set_goal(vm, VCPU_PAUSE);
	pthread_mutex_unlock(&vm->lock);
	eventloop_post(vm->loop, &vm->request_work);
}

/* The cause, where a device or the guest asks. */
static const enum vm_cause causes[VM_REQUESTS] = {
	[VM_REQUEST_RESET] = VM_CAUSE_GUEST_RESET,
	[VM_REQUEST_POWEROFF] = VM_CAUSE_GUEST_SHUTDOWN,
	[VM_REQUEST_EXIT] = VM_CAUSE_GUEST_SHUTDOWN,
	[VM_REQUEST_FAIL] = VM_CAUSE_HOST_ERROR,
};

void vm_request(struct vm *vm, enum vm_request what, int status)
{
	vm_request_for(vm, what, causes[what], status);
}

void vm_triple_fault(struct vm *vm, unsigned vcpu_index)
{
	bool say;

	pthread_mutex_lock(&vm->lock);
	say = !vm->triple_fault_said;
	vm->triple_fault_said = true;
	pthread_mutex_unlock(&vm->lock);
	if (say)
		log_info("vCPU %u: triple fault: the guest is %s", vcpu_index,
			 atomic_load(&vm->reset_ends) ? "ended (-no-reboot)" : "reset; further ones are not reported");
	vm_request(vm, VM_REQUEST_RESET, 0);
}

static void vm_finish(struct vm *vm, int status)
{
	vm->exit_status = status;
	vm_set_state(vm, VM_ENDED);
	eventloop_stop(vm->loop);
}

/* The machine is off. */
static void vm_shut_down(struct vm *vm, enum vm_cause cause)
{
	OBSERVE(vm, shutdown, cause);
	if (vm->shutdown_pauses)
		vm_set_state(vm, VM_SHUTDOWN);
	else
		vm_finish(vm, 0);
}

/* A vCPU cannot go on. Where the machine is kept, somebody may want to look at it. */
static void vm_fail(struct vm *vm)
{
	if (vm->shutdown_pauses)
		vm_set_state(vm, VM_INTERNAL_ERROR);
	else
		vm_finish(vm, 1);
}

static void vm_reset(struct vm *vm, enum vm_cause cause)
{
	struct err err = ERR_INIT;

	if (atomic_load(&vm->reset_ends)) {
		vm_shut_down(vm, cause);
		return;
	}
	if (vm->machine_ops->reset(vm->machine, &err) < 0) {
		log_error("reset: %s", err.msg);
		vm_finish(vm, 1);
		return;
	}
	OBSERVE(vm, reset, cause);
	/* As new, and somebody has to start it. */
	if (vm_needs_reset(vm))
		vm_set_state(vm, VM_PAUSED);
}

/* Those that only stop it, the one with the most to say first. */
static const struct {
	enum vm_request request;
	enum vm_state state;
} stops[] = {
	{ VM_REQUEST_PANIC, VM_PANICKED },
	{ VM_REQUEST_WATCHDOG, VM_WATCHDOG },
	{ VM_REQUEST_IO_ERROR, VM_IO_ERROR },
	{ VM_REQUEST_PAUSE, VM_PAUSED },
};

/* In the order in which they count. */
static void vm_serve_requests(struct vm *vm, unsigned requests, const struct vm_asked asked[])
{
	if (requests & BIT(VM_REQUEST_FAIL)) {
		vm_fail(vm);
	} else if (requests & BIT(VM_REQUEST_EXIT)) {
		OBSERVE(vm, shutdown, asked[VM_REQUEST_EXIT].cause);
		vm_finish(vm, asked[VM_REQUEST_EXIT].status);
	} else if (requests & BIT(VM_REQUEST_POWEROFF)) {
		vm_shut_down(vm, asked[VM_REQUEST_POWEROFF].cause);
	} else {
		if (requests & BIT(VM_REQUEST_RESET))
			vm_reset(vm, asked[VM_REQUEST_RESET].cause);
		/* Whoever asks for these may find out only when the machine has been stopped already. */
		for (size_t i = 0; i < ARRAY_SIZE(stops); i++)
			if (vm->state == VM_RUNNING && requests & BIT(stops[i].request))
				vm_set_state(vm, stops[i].state);
	}
}

/* The main thread's end of vm_request. */
static void vm_serve(void *opaque)
{
	struct vm *vm = opaque;
	struct vm_asked asked[VM_REQUESTS];
	unsigned requests;

	if (!vm_try_halt(vm))
		return;
	pthread_mutex_lock(&vm->lock);
	requests = vm->requests;
	vm->requests = 0;
	memcpy(asked, vm->asked, sizeof(asked));
	pthread_mutex_unlock(&vm->lock);
	if (vm->state != VM_ENDED)
		vm_serve_requests(vm, requests, asked);
	vm_release(vm);
}
