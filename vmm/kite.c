/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation: a machine inside another program (kite.h).
 *
 * A struct kite is one configuration and at most one machine made of it. kite_start and kite_attach make the event loop and the machine (launch.h)
 * on the calling thread, and then give both to the thread that runs the loop: the machine's own, or the caller. kite_wait takes them back
 * when the loop has ended.
 *
 * Control comes from any thread while that goes on. `up` says that there is a machine, and `users` counts the calls that are using it: who takes
 * the machine down clears the one and waits for the other. What belongs to the loop's thread is done there (eventloop_call_sync); a call that
 * finds the loop ended is made by the caller, and `late` keeps such callers apart. kite_pause waits for what the observer tells, which is
 * kept in `state` and `stops`.
 *
 * Lock order: `late`, then `lock`. Neither is held while a callback of the host's runs.
 */
#include "vmm/kite.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/chardev.h"
#include "vmm/config.h"
#include "vmm/eventloop.h"
#include "vmm/kite_priv.h"
#include "vmm/launch.h"
#include "vmm/thread.h"
#include "vmm/util.h"
#include "vmm/vm.h"

#define THREAD_NAME "kite"

struct kite {
	struct vm_config cfg;
	struct kite_host host;
	struct log_sink sink;
	struct chardev_callback callback;
	struct launch_host launch_host;

	/* Between start and wait. */
	struct eventloop *loop;
	struct launch *launch;
	struct event_work begin; /* in the loop's first turn, and again in its second, when the machine runs */
	bool attached;
	bool shut;               /* an event has told why it ends; the loop's thread, until it ends */
	int fd;                  /* of an attached one */
	pthread_t thread;        /* else */
	int status;              /* the loop's thread, until it ends */
	struct err err;

	pthread_mutex_t late;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* Under the lock: */
	bool up;             /* control may use the machine: from the loop's first turn on */
	bool begun;          /* the loop's second turn */
	bool running;        /* the loop's thread has begun, and not ended */
	pthread_t loop_thread;
	unsigned users;
	enum kite_state state;
	unsigned stops;      /* how often it ceased to run */
};

/* ---- what the host hears ---- */

static const enum kite_state states[] = {
	[VM_CREATED] = KITE_CREATED,
	[VM_RUNNING] = KITE_RUNNING,
	[VM_PAUSED] = KITE_PAUSED,
	[VM_IO_ERROR] = KITE_IO_ERROR,
	[VM_WATCHDOG] = KITE_WATCHDOG,
	[VM_PANICKED] = KITE_PANICKED,
	[VM_SHUTDOWN] = KITE_SHUTDOWN,
	[VM_INTERNAL_ERROR] = KITE_INTERNAL_ERROR,
	[VM_ENDED] = KITE_ENDED,
};

static const enum kite_reason reasons[] = {
	[VM_CAUSE_GUEST_SHUTDOWN] = KITE_REASON_GUEST_SHUTDOWN,
	[VM_CAUSE_GUEST_RESET] = KITE_REASON_GUEST_RESET,
	[VM_CAUSE_GUEST_PANIC] = KITE_REASON_GUEST_PANIC,
	[VM_CAUSE_HOST_ERROR] = KITE_REASON_HOST_ERROR,
	[VM_CAUSE_HOST_QUIT] = KITE_REASON_HOST_QUIT,
	[VM_CAUSE_HOST_RESET] = KITE_REASON_HOST_RESET,
	[VM_CAUSE_HOST_SIGNAL] = KITE_REASON_HOST_SIGNAL,
	[VM_CAUSE_HOST_UI] = KITE_REASON_HOST_UI,
};

static void tell(struct kite *k, enum kite_event_type type, enum kite_reason reason)
{
	const struct kite_event event = { .size = sizeof(event), .type = type, .state = kite_state(k), .reason = reason };

	if (k->host.event)
		k->host.event(k->host.opaque, &event);
}

static void set_state(struct kite *k, enum kite_state state)
{
	pthread_mutex_lock(&k->lock);
	if (k->state == KITE_RUNNING && state != KITE_RUNNING)
		k->stops++;
	k->state = state;
	pthread_cond_broadcast(&k->changed);
	pthread_mutex_unlock(&k->lock);
}

static void on_state(void *opaque, enum vm_state state, enum vm_state before)
{
	(void)before;
	set_state(opaque, states[state]);
	tell(opaque, state == VM_RUNNING ? KITE_EVENT_RESUME : state == VM_ENDED ? KITE_EVENT_ENDED : KITE_EVENT_STOP, KITE_REASON_NONE);
}

static void on_reset(void *opaque, enum vm_cause cause)
{
	tell(opaque, KITE_EVENT_RESET, reasons[cause]);
}

static void on_shutdown(void *opaque, enum vm_cause cause)
{
	struct kite *k = opaque;

	k->shut = true;
	tell(opaque, KITE_EVENT_SHUTDOWN, reasons[cause]);
}

static void on_news(void *opaque, enum machine_news news, int action)
{
	(void)action;
	tell(opaque, news == MACHINE_WATCHDOG ? KITE_EVENT_WATCHDOG : KITE_EVENT_PANICKED, KITE_REASON_NONE);
}

static const struct vm_observer_ops observer_ops = { .state = on_state, .reset = on_reset, .shutdown = on_shutdown, .news = on_news };

static void on_output(void *opaque, const char *id, const void *buf, size_t len)
{
	struct kite *k = opaque;

	if (k->host.output)
		k->host.output(k->host.opaque, id, buf, len);
}

static void on_input_ready(void *opaque, const char *id)
{
	struct kite *k = opaque;

	if (k->host.input_ready)
		k->host.input_ready(k->host.opaque, id);
}

static void on_line(void *opaque, enum log_level level, const char *text)
{
	struct kite *k = opaque;

	static_assert((int)LOG_LEVEL_ERROR == KITE_LOG_ERROR && (int)LOG_LEVEL_DEBUG == KITE_LOG_DEBUG, "the same levels");
	if (k->host.log)
		k->host.log(k->host.opaque, (enum kite_log_level)level, text);
}

/* ---- creation ---- */

static int copy_host(struct kite *k, const struct kite_host *host, struct err *err)
{
	if (host && host->size < offsetof(struct kite_host, opaque))
		return err_set(err, -EINVAL, "kite_create: the size of struct kite_host is not set");
	if (host)
		memcpy(&k->host, host, min_u64(host->size, sizeof(k->host)));
	if (k->host.kick_signal < 0 || k->host.kick_signal > SIGRTMAX)
		return err_set(err, -EINVAL, "kite_create: kick_signal %d is no signal", k->host.kick_signal);
	k->sink.line = on_line;
	k->sink.opaque = k;
	k->callback = (struct chardev_callback){ .output = on_output, .input_ready = on_input_ready, .opaque = k };
	k->launch_host = (struct launch_host){
		.callback = &k->callback,
		.observer = &observer_ops,
		.opaque = k,
		.blocked_kick = k->host.kick_signal ? k->host.kick_signal : SIGRTMAX,
	};
	return 0;
}

static void free_machine(struct kite *k)
{
	config_fini(&k->cfg);
	pthread_cond_destroy(&k->changed);
	pthread_mutex_destroy(&k->lock);
	pthread_mutex_destroy(&k->late);
	free(k);
}

struct kite *kite_create(const struct kite_config *config, const struct kite_host *host, struct kite_error *error)
{
	struct kite *k = calloc(1, sizeof(*k));
	struct err err = ERR_INIT;
	struct kite_inside inside;
	int ret;

	if (!k) {
		err_set(&err, -ENOMEM, "no memory for a machine");
		kite_tell(&err, error);
		return NULL;
	}
	pthread_mutex_init(&k->late, NULL);
	pthread_mutex_init(&k->lock, NULL);
	pthread_cond_init(&k->changed, NULL);
	config_init(&k->cfg);
	k->sink.level = LOG_LEVEL_INFO;
	ret = copy_host(k, host, &err);
	if (ret == 0) {
		kite_go_in(&inside, &k->sink);
		ret = kite_config_resolve(config, &k->cfg, &err);
		kite_go_out(&inside);
	}
	kite_tell(&err, error);
	if (ret == 0)
		return k;
	free_machine(k);
	return NULL;
}

/* ---- start ---- */

/* The loop's first turn lets the machine go, after this. */
static void on_begin(void *opaque)
{
	struct kite *k = opaque;
	bool first;

	pthread_mutex_lock(&k->lock);
	first = !k->up;
	k->up = true;
	k->begun = !first;
	pthread_cond_broadcast(&k->changed);
	pthread_mutex_unlock(&k->lock);
	if (first)
		eventloop_post(k->loop, &k->begin);
}

static void set_running(struct kite *k, bool running)
{
	pthread_mutex_lock(&k->lock);
	k->running = running;
	k->loop_thread = pthread_self();
	pthread_cond_broadcast(&k->changed);
	pthread_mutex_unlock(&k->lock);
}

static void *kite_thread(void *arg)
{
	struct kite *k = arg;

	pthread_setname_np(pthread_self(), THREAD_NAME);
	set_running(k, true);
	k->status = launch_run(k->launch, &k->err);
	set_state(k, KITE_ENDED); /* also when the loop could not go on */
	set_running(k, false);
	return NULL;
}

/* Nobody uses the machine any more. */
static void take_down(struct kite *k)
{
	if (k->loop) {
		launch_destroy(k->launch);
		eventloop_destroy(k->loop);
	}
	k->launch = NULL;
	k->loop = NULL;
	set_state(k, KITE_ENDED);
}

/* Makes the loop and the machine. */
static int bring_up(struct kite *k, struct err *err)
{
	if (k->loop)
		return err_set(err, -EBUSY, "the machine is started already; kite_wait comes first");
	k->err = (struct err)ERR_INIT;
	k->status = 0;
	k->begun = k->shut = false;
	set_state(k, KITE_CREATED);
	k->loop = eventloop_create(err);
	if (!k->loop)
		return err->code;
	k->launch = launch_create_in(&k->cfg, k->loop, &k->launch_host, err);
	if (k->launch && launch_start(k->launch, NULL, err) == 0)
		return 0;
	launch_destroy(k->launch);
	k->launch = NULL;
	eventloop_destroy(k->loop);
	k->loop = NULL;
	return err->code;
}

static int start_thread(struct kite *k, struct err *err)
{
	int r = bring_up(k, err);

	if (r < 0)
		return r;
	k->attached = false;
	k->begin = (struct event_work){ .run = on_begin, .opaque = k };
	eventloop_post(k->loop, &k->begin);
	set_running(k, true);
	r = thread_create(&k->thread, NULL, kite_thread, k);
	if (r < 0) {
		err_set_errno(err, r, "cannot start the machine's thread");
		eventloop_cancel_work(k->loop, &k->begin);
		set_running(k, false);
		take_down(k);
		return r;
	}
	pthread_mutex_lock(&k->lock);
	while (!k->begun && k->running)
		pthread_cond_wait(&k->changed, &k->lock);
	k->up = true; /* even if it has ended: control finds that out */
	pthread_mutex_unlock(&k->lock);
	return 0;
}

int kite_start(struct kite *k, struct kite_error *error)
{
	struct kite_inside inside;
	struct err err = ERR_INIT;
	int r;

	kite_go_in(&inside, &k->sink);
	r = start_thread(k, &err);
	kite_go_out(&inside);
	kite_tell(&err, error);
	return r;
}

static int attach(struct kite *k, struct err *err)
{
	int r = bring_up(k, err);

	if (r < 0)
		return r;
	k->fd = eventloop_enter(k->loop, err);
	if (k->fd < 0) {
		take_down(k);
		return err->code;
	}
	k->attached = true;
	set_running(k, true);
	pthread_mutex_lock(&k->lock);
	k->up = true;
	pthread_mutex_unlock(&k->lock);
	if (!k->cfg.paused)
		vm_resume(launch_vm(k->launch));
	return k->fd;
}

int kite_attach(struct kite *k, struct kite_error *error)
{
	struct kite_inside inside;
	struct err err = ERR_INIT;
	int r;

	kite_go_in(&inside, &k->sink);
	r = attach(k, &err);
	kite_go_out(&inside);
	kite_tell(&err, error);
	return r;
}

int kite_dispatch(struct kite *k)
{
	struct kite_inside inside;
	int r;

	if (!k->loop || !k->attached)
		return -ESRCH;
	kite_go_in(&inside, &k->sink);
	r = eventloop_dispatch(k->loop);
	kite_go_out(&inside);
	return r;
}

/* ---- end ---- */

/* The caller's loop, for as long as the machine lives. */
static int wait_attached(struct kite *k)
{
	struct pollfd fd = { .fd = k->fd, .events = POLLIN };
	int r;

	while ((r = kite_dispatch(k)) == 0)
		poll(&fd, 1, -1);
	k->status = r < 0 ? err_set_errno(&k->err, r, "the event loop cannot wait for events") : launch_vm(k->launch)->exit_status;
	return 0;
}

/* The loop has ended, or is ended here: control lets go, and all is closed. */
static void finish(struct kite *k)
{
	if (k->attached)
		eventloop_leave(k->loop);
	else
		pthread_join(k->thread, NULL);
	eventloop_cancel_work(k->loop, &k->begin);
	set_running(k, false);
	pthread_mutex_lock(&k->lock);
	k->up = false;
	while (k->users > 0)
		pthread_cond_wait(&k->changed, &k->lock);
	pthread_mutex_unlock(&k->lock);
	take_down(k);
}

static bool on_loop_thread(struct kite *k)
{
	bool here;

	pthread_mutex_lock(&k->lock);
	here = k->running && pthread_equal(k->loop_thread, pthread_self());
	pthread_mutex_unlock(&k->lock);
	return here;
}

int kite_wait(struct kite *k, struct kite_error *error)
{
	struct kite_inside inside;
	struct err err = ERR_INIT;

	if (!k->loop)
		err_set(&err, -ESRCH, "the machine is not started");
	else if (!k->attached && on_loop_thread(k))
		err_set(&err, -EDEADLK, "a callback cannot wait for the machine that called it");
	if (err.code)
		return kite_tell(&err, error);
	kite_go_in(&inside, &k->sink);
	if (k->attached)
		wait_attached(k);
	finish(k);
	kite_go_out(&inside);
	if (!k->err.code && k->status && !k->shut)
		err_set(&k->err, -EIO, "the host could not go on with the machine; its log says why");
	kite_tell(&k->err, error);
	return k->err.code ? k->err.code : k->status;
}

void kite_destroy(struct kite *k)
{
	struct kite_inside inside;

	if (!k)
		return;
	if (k->loop) {
		kite_quit(k);
		kite_go_in(&inside, &k->sink);
		finish(k);
		kite_go_out(&inside);
	}
	free_machine(k);
}

/* ---- control ---- */

static bool hold(struct kite *k)
{
	bool up;

	pthread_mutex_lock(&k->lock);
	up = k->up;
	k->users += up;
	pthread_mutex_unlock(&k->lock);
	return up;
}

static void let_go(struct kite *k)
{
	pthread_mutex_lock(&k->lock);
	k->users--;
	pthread_cond_broadcast(&k->changed);
	pthread_mutex_unlock(&k->lock);
}

enum kite_state kite_state(struct kite *k)
{
	enum kite_state state;

	pthread_mutex_lock(&k->lock);
	state = k->state;
	pthread_mutex_unlock(&k->lock);
	return state;
}

/* What somebody asks of the loop's thread. */
struct order {
	struct kite *k;
	int (*run)(struct kite *k);
	int result;
};

static void order_run(void *arg)
{
	struct order *order = arg;
	struct kite *k = order->k;
	/* Nothing on the loop's thread waits for anybody who holds it: only what runs after the loop's end takes it on another. */
	bool late = !on_loop_thread(k);

	if (late)
		pthread_mutex_lock(&k->late);
	order->result = order->run(k);
	if (late)
		pthread_mutex_unlock(&k->late);
}

static int order_on_loop(struct kite *k, int (*run)(struct kite *k))
{
	struct order order = { .k = k, .run = run };
	struct kite_inside inside;

	if (!hold(k))
		return -ESRCH;
	kite_go_in(&inside, &k->sink);
	eventloop_call_sync(k->loop, order_run, &order);
	kite_go_out(&inside);
	let_go(k);
	return order.result;
}

static int ask(struct kite *k, enum vm_request what, enum vm_cause cause)
{
	struct kite_inside inside;

	if (!hold(k))
		return -ESRCH;
	kite_go_in(&inside, &k->sink);
	vm_request_for(launch_vm(k->launch), what, cause, 0);
	kite_go_out(&inside);
	let_go(k);
	return 0;
}

int kite_pause(struct kite *k)
{
	bool wait = !on_loop_thread(k);
	unsigned stops;
	bool stands;

	if (!hold(k))
		return -ESRCH;
	pthread_mutex_lock(&k->lock);
	stands = k->state != KITE_RUNNING;
	stops = k->stops;
	pthread_mutex_unlock(&k->lock);
	if (!stands) {
		vm_request_for(launch_vm(k->launch), VM_REQUEST_PAUSE, VM_CAUSE_HOST_QUIT, 0);
		pthread_mutex_lock(&k->lock);
		while (wait && k->stops == stops && k->running)
			pthread_cond_wait(&k->changed, &k->lock);
		pthread_mutex_unlock(&k->lock);
	}
	let_go(k);
	return 0;
}

static int resume_now(struct kite *k)
{
	struct vm *vm = launch_vm(k->launch);

	if (vm->state == VM_ENDED || vm_needs_reset(vm))
		return -EPERM;
	vm_resume(vm);
	return 0;
}

static int powerdown_now(struct kite *k)
{
	launch_powerdown(k->launch);
	return 0;
}

int kite_resume(struct kite *k)
{
	return order_on_loop(k, resume_now);
}

int kite_reset(struct kite *k)
{
	return ask(k, VM_REQUEST_RESET, VM_CAUSE_HOST_RESET);
}

int kite_powerdown(struct kite *k)
{
	return order_on_loop(k, powerdown_now);
}

int kite_quit(struct kite *k)
{
	return ask(k, VM_REQUEST_EXIT, VM_CAUSE_HOST_QUIT);
}

ptrdiff_t kite_input(struct kite *k, const char *console, const void *data, size_t length)
{
	struct chardev *chr;
	ptrdiff_t taken;

	if (!hold(k))
		return -ESRCH;
	chr = launch_chardev(k->launch, console);
	taken = chr ? chardev_callback_input(chr, data, length) : -ENOENT;
	let_go(k);
	return taken;
}
