/* SPDX-License-Identifier: MIT */
/*
 * A virtual machine: KVM's VM, its memory, buses and vCPUs, and the run state that they share.
 *
 * Run state: the main thread alone starts, pauses and resumes. Any thread may ask for something (vm_request); that sets the goal
 * of all vCPUs to "pause" at once, so that the one that asked executes nothing more, and posts the rest to the main thread's
 * loop, which pauses the others, does what was asked, and resumes or ends. A machine that the main thread has paused stays paused: a
 * reset changes what is in it, not whether it runs.
 *
 *   state    VM_CREATED -> VM_RUNNING <-> VM_PAUSED, VM_IO_ERROR; -> VM_ENDED     the main thread's
 *
 *   goal     VCPU_PAUSE <-> VCPU_RUN -> VCPU_QUIT     set under `lock`, read by vCPU threads without it
 *   parked   how many vCPU threads wait on `changed`  under `lock`
 *
 * Ownership: the VM owns everything in it but the event loop.
 */
#ifndef VMM_VM_H
#define VMM_VM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/device.h"
#include "vmm/err.h"
#include "vmm/eventloop.h"
#include "vmm/guest_mem.h"
#include "vmm/irq_kvm.h"
#include "vmm/kvm.h"
#include "vmm/vm_tell.h"

struct bus;
struct guest_mem;
struct vcpu;
struct vm_config;

enum vcpu_goal { VCPU_PAUSE, VCPU_RUN, VCPU_QUIT };

/* What the machine does for the VM: the board's end of a reset. On the main thread, every vCPU paused. */
struct vm_machine_ops {
	/* The whole machine to its power-on state, the kernel or firmware loaded again. */
	int (*reset)(void *machine, struct err *err);
	/* The machine stops, and goes on: the devices' ops of these names. NULL: nothing. */
	void (*quiesce)(void *machine);
	void (*resume)(void *machine);
	/* For watchdogs: the power button, and an NMI for every vCPU. Any thread. NULL: nothing. */
	void (*power_button)(void *machine);
	void (*nmi)(void *machine);
};

/* What the machine is doing, and why it is not running. */
enum vm_state {
	VM_CREATED,
	VM_RUNNING,
	VM_PAUSED,   /* by vm_pause or VM_REQUEST_PAUSE */
	VM_IO_ERROR, /* by VM_REQUEST_IO_ERROR */
	VM_WATCHDOG, /* by VM_REQUEST_WATCHDOG */
	VM_PANICKED, /* by VM_REQUEST_PANIC */
	VM_SHUTDOWN, /* it is off, and kept (-no-shutdown): needs a reset to go on */
	VM_INTERNAL_ERROR, /* KVM cannot go on with a vCPU: needs a reset */
	VM_ENDED,
};

/* Why it was reset or is off. */
enum vm_cause {
	VM_CAUSE_GUEST_SHUTDOWN,
	VM_CAUSE_GUEST_RESET,
	VM_CAUSE_GUEST_PANIC,
	VM_CAUSE_HOST_ERROR,
	VM_CAUSE_HOST_QUIT,  /* by the control protocol */
	VM_CAUSE_HOST_RESET, /* the same */
	VM_CAUSE_HOST_SIGNAL,
	VM_CAUSE_HOST_UI,
};

/* Hears of what the machine does. Main thread, every vCPU parked; nothing of it may call back into the VM but vm_request. */
struct vm_observer_ops {
	void (*state)(void *opaque, enum vm_state state, enum vm_state before);
	void (*reset)(void *opaque, enum vm_cause cause);
	void (*shutdown)(void *opaque, enum vm_cause cause); /* also when it goes on as VM_SHUTDOWN */
	/* A device told of the guest; `action` is enum watchdog_action or panic_action. vCPUs may run. NULL: nothing. */
	void (*news)(void *opaque, enum machine_news news, int action);
};

#define VM_MAX_OBSERVERS 2 /* the monitors, and the program that embeds Kite */

/* What was asked for with a request. */
struct vm_asked {
	enum vm_cause cause;
	int status;
};

struct vm {
	struct kvm kvm;
	int fd;
	struct guest_mem *mem;
	struct bus *pio, *mmio;
	struct irq_kvm irqs;
	struct eventloop *loop; /* the main thread's; borrowed */
	struct vcpu *vcpus;
	unsigned n_vcpus;
	const char *name; /* NULL, or for the threads' names; borrowed */

	const struct vm_machine_ops *machine_ops;
	void *machine;
	struct vm_observer {
		const struct vm_observer_ops *ops; /* NULL: nobody */
		void *opaque;
	} observers[VM_MAX_OBSERVERS];
	int blocked_kick; /* see vcpu.c: 0, or the signal that ends KVM_RUN without a handler; before vm_start */
	atomic_bool reset_ends; /* -no-reboot; written by the main thread, vCPU threads name it in a message */
	bool shutdown_pauses;   /* -no-shutdown; main thread */
	bool left; /* by launch_leave: not taken down any more; main thread */
	bool triple_fault_said; /* vCPU threads; under lock */
	enum vm_state state; /* main thread */

	pthread_mutex_t lock;
	pthread_cond_t changed; /* the goal: vCPU threads wait for it while they are parked */
	pthread_cond_t all_parked; /* the main thread waits for it. One for both would wake every parked vCPU for each that parks */
	_Atomic int goal; /* enum vcpu_goal; see vcpu.c for its ordering with immediate_exit */
	unsigned parked, running_threads;
	bool serve_when_parked; /* the last vCPU to park posts request_work */
	struct vm_entry *entry; /* of vm_start, while that waits; NULL: none */
	unsigned requests; /* not served yet: a bit for each enum vm_request */
	struct vm_asked asked[VM_REQUESTS];
	struct event_work request_work;
	struct vm_tell tell;
	int exit_status;
};

struct vm_params {
	const struct gm_range *ram;
	size_t n_ram;
	/* The start of one of `ram`, which the machine maps itself with vm_set_slot; size 0: none. */
	struct gm_range unmapped;
	const uint32_t *vcpu_ids; /* KVM's ids, n_vcpus of them: on x86 the APIC ids */
	unsigned n_vcpus;
	const char *name;
	bool no_reboot;
	struct eventloop *loop;
};

/* Memory slots of KVM that the machine may use, beside those of RAM. */
#define VM_FIRST_SLOT GM_MAX_REGIONS

/*
 * Opens KVM, makes the VM, its memory and buses, and the architecture's interrupt controllers. vCPUs are created, their
 * threads are not started. NULL with `err`.
 */
struct vm *vm_create(const struct vm_params *params, struct err *err);
/* Ends the threads if need be. A request not served yet is dropped. NULL is fine. */
void vm_destroy(struct vm *vm);

/* What KVM has in a memory slot. The host memory is borrowed until the slot is changed, or the VM destroyed. */
struct vm_slot {
	uint64_t gpa, size; /* whole pages; size 0: nothing */
	const void *hva;
	bool read_only;     /* a write is an access to the memory bus */
};
/*
 * Puts something into a slot in place of what is there, `old`, which may be nothing; for a moment there is nothing. 0 or -errno with `err`.
 * Any thread, each slot by one at a time.
 */
int vm_set_slot(struct vm *vm, unsigned slot, const struct vm_slot *old, const struct vm_slot *now, struct err *err);

/* Before vm_start. `machine` is borrowed. */
void vm_set_machine(struct vm *vm, const struct vm_machine_ops *ops, void *machine);
/* The same; at most VM_MAX_OBSERVERS. */
void vm_add_observer(struct vm *vm, const struct vm_observer_ops *ops, void *opaque);
void vm_remove_observer(struct vm *vm, void *opaque);

/* For vm.c: vm_run.c's part of a VM. */
void vm_run_init(struct vm *vm, bool no_reboot);
void vm_run_fini(struct vm *vm);

/* What each vCPU thread goes through before all else, any number of them at a time. 0 or -errno with `err`. */
struct vm_entry {
	int (*enter)(void *opaque, struct err *err);
	void *opaque;
	struct err err; /* of a thread that could not; the VM's */
};

/* Starts the vCPU threads, paused, and has them all go through `entry`, which may be NULL. 0 or -errno with `err`, then none runs. */
int vm_start(struct vm *vm, struct vm_entry *entry, struct err *err);
/* Ends and joins them; in a machine that is left, unless all are parked. */
void vm_stop(struct vm *vm);

/*
 * Main thread. vm_pause returns with every vCPU parked outside KVM_RUN and its last I/O completed. It waits for them, and one of them may be
 * waiting for the main thread's loop: so not from a handler of that loop, where a request stops the machine instead (VM_REQUEST_PAUSE).
 *
 * vm_resume starts the machine, or lets it go on whatever stopped it, unless a request waits to be served; then that decides. From
 * anywhere on the main thread; nothing happens once the machine has ended.
 */
void vm_pause(struct vm *vm);
void vm_resume(struct vm *vm);

/* Whether it can go on only after a reset. Main thread. */
bool vm_needs_reset(const struct vm *vm);

/* -d exits: counts the vCPUs' exits from now on, before vm_start; and their histogram on the log, after vm_stop. */
int vm_count_exits(struct vm *vm, struct err *err);
void vm_log_exits(struct vm *vm);

/* Any thread; see above and vmm/device.h. `status` counts for VM_REQUEST_EXIT. */
void vm_request(struct vm *vm, enum vm_request what, int status);
/* The same, asked by somebody else than the guest. */
void vm_request_for(struct vm *vm, enum vm_request what, enum vm_cause cause, int status);

/*
 * vm_tell.c: a device tells of the guest. Any thread; what is asked of the machine is asked for before this returns, the rest happens on the
 * main thread. The actions may be changed at any time, by the main thread.
 */
void vm_tell(struct vm *vm, enum machine_news news);
void vm_tell_init(struct vm *vm);
void vm_tell_fini(struct vm *vm);

/* For vcpu.c: the calling thread goes through the entry of vm_start. */
void vm_vcpu_enters(struct vm *vm);
/* For vcpu.c, under `lock`: the calling vCPU is parked from now on. */
void vm_vcpu_parked(struct vm *vm);

/* A triple fault: says so once in the life of the VM, then a reset. vCPU threads. */
void vm_triple_fault(struct vm *vm, unsigned vcpu_index);

#endif
