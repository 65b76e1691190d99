/* SPDX-License-Identifier: MIT */
/*
 * What every emulated device has in common: its life cycle, and how it asks something of the machine that it is part of.
 *
 * A device is made by its own constructor (hw/devices.h), which places its regions on the buses and returns the device. The
 * machine then owns it and calls the ops below. A device keeps its guest-visible state in one plain struct of fixed-width
 * fields, apart from its host resources.
 *
 * Thread: all ops on the main thread, with every vCPU paused.
 */
#ifndef VMM_DEVICE_H
#define VMM_DEVICE_H

struct device;

struct device_ops {
	/* Guest-visible state to its power-on values, interrupt lines low. */
	void (*reset)(struct device *dev);
	/*
	 * Stop and restart what the device does by itself (timers, input) as the machine stops and goes on. `resume` also tries again what
	 * VM_REQUEST_IO_ERROR was asked for. NULL: nothing.
	 */
	void (*quiesce)(struct device *dev);
	void (*resume)(struct device *dev);
	/* Off the buses, and freed. */
	void (*destroy)(struct device *dev);
};

/* The first member of every device. */
struct device {
	const struct device_ops *ops;
	const char *name; /* for messages: "serial0"; lives as long as the device */
};

/* What a device or the user asks of the machine. vmm/vm_run.c says what happens when several are asked for at once. */
enum vm_request {
	VM_REQUEST_IO_ERROR, /* a request that the device keeps failed on the host: stop, and go on when somebody has seen to it */
	VM_REQUEST_PAUSE,    /* stop */
	VM_REQUEST_WATCHDOG, /* stop: a watchdog has found the guest asleep */
	VM_REQUEST_PANIC,    /* stop: the guest says that it has crashed */
	VM_REQUEST_RESET,    /* reset by the guest: reset register, keyboard controller, triple fault */
	VM_REQUEST_POWEROFF, /* power-off by the guest */
	VM_REQUEST_EXIT,     /* end the process with a status: isa-debug-exit, or the user's quit */
	VM_REQUEST_FAIL,     /* the vCPU cannot go on */
	VM_REQUESTS,
};

/* What a device tells of the guest; what becomes of it is the user's to say. */
enum machine_news {
	MACHINE_WATCHDOG,    /* the guest has not touched its watchdog in time */
	MACHINE_PANICKED,    /* the guest says that it has crashed */
	MACHINE_CRASHLOADED, /* the same, and that it has a kernel of its own to see to it */
	MACHINE_NEWS,
};

/* What becomes of a guest that sleeps or has crashed: QEMU's -action watchdog= and panic= (qapi/run-state.json). */
enum watchdog_action {
	WATCHDOG_RESET,
	WATCHDOG_SHUTDOWN, /* the power button */
	WATCHDOG_POWEROFF, /* the process ends */
	WATCHDOG_PAUSE,
	WATCHDOG_DEBUG,    /* a line of the log */
	WATCHDOG_NONE,
	WATCHDOG_INJECT_NMI,
};

enum panic_action {
	PANIC_PAUSE,
	PANIC_SHUTDOWN,     /* off, or kept as it is with -no-shutdown */
	PANIC_EXIT_FAILURE, /* the process ends with status 1 */
	PANIC_NONE,
};

/*
 * The way up from a device. `request` may be called from any thread; called from a handler, the vCPU that made the access
 * executes no further guest instruction. It returns at once: what was asked happens later, on the main thread.
 */
struct machine_link {
	void (*request)(void *machine, enum vm_request what, int status);
	void (*tell)(void *machine, enum machine_news news); /* as `request`; NULL: nobody hears of it */
	void *machine;
};

static inline void machine_request(const struct machine_link *link, enum vm_request what, int status)
{
	link->request(link->machine, what, status);
}

static inline void machine_tell(const struct machine_link *link, enum machine_news news)
{
	if (link->tell)
		link->tell(link->machine, news);
}

#endif
