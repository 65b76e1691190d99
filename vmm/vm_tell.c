/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation
 *
 * A device tells from a vCPU's thread, or from a timer of its loop. What the user wants done is looked up there and then, and where the
 * machine is to stop, that is asked for before vm_tell returns: a guest that says that it has crashed executes nothing more. The observer
 * hears of it on the main thread, by work that is posted before the request's, and so first: as the events of QEMU are ordered.
 *
 * News do not queue; of what is told again before the main thread looks, it sees the first.
 */
#include <pthread.h>

#include "vmm/log.h"
#include "vmm/util.h"
#include "vmm/vm.h"

static int action_of(struct vm *vm, enum machine_news news)
{
	switch (news) {
	case MACHINE_WATCHDOG:
		return atomic_load(&vm->tell.watchdog);
	case MACHINE_PANICKED:
		return atomic_load(&vm->tell.panic);
	case MACHINE_CRASHLOADED: /* it helps itself */
	case MACHINE_NEWS:
		break;
	}
	return PANIC_NONE;
}

static void watchdog_act(struct vm *vm, enum watchdog_action action)
{
	switch (action) {
	case WATCHDOG_RESET:
		vm_request(vm, VM_REQUEST_RESET, 0);
		break;
	case WATCHDOG_SHUTDOWN:
		if (vm->machine_ops->power_button)
			vm->machine_ops->power_button(vm->machine);
		break;
	case WATCHDOG_POWEROFF:
		vm_request(vm, VM_REQUEST_EXIT, 0);
		break;
	case WATCHDOG_PAUSE:
		vm_request(vm, VM_REQUEST_WATCHDOG, 0);
		break;
	case WATCHDOG_INJECT_NMI:
		if (vm->machine_ops->nmi)
			vm->machine_ops->nmi(vm->machine);
		break;
	case WATCHDOG_DEBUG: /* the main thread's */
	case WATCHDOG_NONE:
		break;
	}
}

void vm_tell(struct vm *vm, enum machine_news news)
{
	int action = action_of(vm, news);

	pthread_mutex_lock(&vm->lock);
	if (!(vm->tell.news & BIT(news))) {
		vm->tell.news |= BIT(news);
		vm->tell.action[news] = action;
	}
	pthread_mutex_unlock(&vm->lock);
	eventloop_post(vm->loop, &vm->tell.work);
	if (news == MACHINE_WATCHDOG)
		watchdog_act(vm, (enum watchdog_action)action);
	else if (news == MACHINE_PANICKED && action != PANIC_NONE)
		vm_request(vm, VM_REQUEST_PANIC, 0);
}

/* What the main thread adds to a request that has stopped the machine, or is about to. */
static void panic_act(struct vm *vm, enum panic_action action)
{
	log_guest(&vm->tell.log, "machine", "the guest says that it has crashed");
	if (action == PANIC_SHUTDOWN && !vm->shutdown_pauses)
		vm_request_for(vm, VM_REQUEST_POWEROFF, VM_CAUSE_GUEST_PANIC, 0);
	else if (action == PANIC_EXIT_FAILURE)
		vm_request_for(vm, VM_REQUEST_EXIT, VM_CAUSE_GUEST_PANIC, 1);
}

static void observe(struct vm *vm, enum machine_news news, int action)
{
	for (const struct vm_observer *o = vm->observers; o < vm->observers + VM_MAX_OBSERVERS; o++)
		if (o->ops && o->ops->news)
			o->ops->news(o->opaque, news, action);
}

static void tell_work(void *opaque)
{
	struct vm *vm = opaque;
	int action[MACHINE_NEWS];
	unsigned news;

	pthread_mutex_lock(&vm->lock);
	news = vm->tell.news;
	vm->tell.news = 0;
	for (unsigned i = 0; i < MACHINE_NEWS; i++)
		action[i] = vm->tell.action[i];
	pthread_mutex_unlock(&vm->lock);
	if (vm->state == VM_ENDED)
		return;
	for (unsigned i = 0; i < MACHINE_NEWS; i++) {
		if (!(news & BIT(i)))
			continue;
		observe(vm, (enum machine_news)i, action[i]);
		if (i == MACHINE_WATCHDOG && action[i] == WATCHDOG_DEBUG)
			log_guest(&vm->tell.log, "machine", "the guest's watchdog has run out");
		if (i == MACHINE_PANICKED)
			panic_act(vm, (enum panic_action)action[i]);
	}
}

void vm_tell_init(struct vm *vm)
{
	vm->tell = (struct vm_tell){ .work = { .run = tell_work, .opaque = vm }, .log = LOG_LIMIT_INIT };
	atomic_init(&vm->tell.watchdog, WATCHDOG_RESET);
	atomic_init(&vm->tell.panic, PANIC_SHUTDOWN);
}

void vm_tell_fini(struct vm *vm)
{
	eventloop_cancel_work(vm->loop, &vm->tell.work);
}
