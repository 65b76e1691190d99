/* SPDX-License-Identifier: MIT */
/*
 * libkite: virtual machines inside a program of your own, in C or C++.
 *
 *     struct kite_config *config = kite_config_create();
 *     struct kite_host host = { .size = sizeof(host), .output = show };
 *     struct kite_error error;
 *
 *     kite_config_set_machine(config, "microvm");
 *     kite_config_set_kernel(config, "vmlinux", NULL, "console=ttyS0");
 *     kite_config_add_console(config, "console");
 *     struct kite *kite = kite_create(config, &host, &error);
 *     kite_config_destroy(config);
 *     if (!kite || kite_start(kite, &error) < 0)
 *             fprintf(stderr, "%s\n", error.text);
 *     ...
 *     kite_wait(kite, &error);
 *     kite_destroy(kite);
 *
 * Build with `pkg-config --cflags --libs kite`.
 *
 * The process stays yours. There may be any number of machines in it, which know nothing of each other. The library keeps no state but in
 * the objects below, never ends the process, prints nothing, and installs no signal handler. Its threads block all signals
 * but those of a fault in their own code, and SIGPIPE never reaches you from a call into it. Standard input, standard output and the
 * terminal are touched only where the configuration says so: a console on stdio, as by -nographic or -serial mon:stdio; such a terminal is
 * the process's, so at most one machine can have it. Child processes are started only where the configuration needs helpers (-netdev user,
 * bridge, scripts).
 *
 * Errors. A function that can fail in ways that concern a person takes a `struct kite_error *`, which may be NULL, and fills it: a negative
 * errno, and one line of text that names the thing and says what to do. Such a function returns 0 or a pointer, else the negative errno or
 * NULL. The others return 0 or a negative errno where they return an int.
 *
 * Threads. Objects may be used on any thread. kite_start, kite_attach, kite_dispatch, kite_wait and kite_destroy of one machine are
 * for one thread at a time; what is under "Control" may be called on any thread at any time before kite_destroy. Callbacks of one machine
 * come one at a time, on its own thread (kite_start) or within kite_dispatch and kite_wait (kite_attach); only `log` comes from any
 * of its threads, several at a time. A callback holds up the machine's consoles and its control, though not its processors, so it shall not
 * wait; it may call what is under "Control", not kite_wait and not kite_destroy.
 *
 * Versions. KITE_API_VERSION counts incompatible changes of this interface: programs are to be built again, and may have to be changed. Within
 * a version functions, constants at the end of enumerations and members at the end of structs that begin with `size` are added: set
 * `size` to the struct's sizeof, as you know it, and zero what you do not use. Ignore constants that you do not know.
 */
#ifndef KITE_H
#define KITE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KITE_API_VERSION 1
/* That of the library. */
unsigned kite_api_version(void);
/* "0.1.0" */
const char *kite_version(void);

#define KITE_ERROR_MAX 1024

struct kite_error {
	int code;                  /* negative errno; 0: none */
	char text[KITE_ERROR_MAX]; /* one line, without newline */
};

/*
 * Configuration
 *
 * A list of options, those of the program `kite` (`kite -help`), which are QEMU's. The functions below append options to it, so later ones
 * win where they win on a command line. Nothing is checked and no file is touched before kite_config_check or kite_create, so
 * they fail only without memory: -ENOMEM. What differs from the command line: the default serial port is on nothing, not on the terminal.
 */
struct kite_config;

struct kite_config *kite_config_create(void); /* NULL: no memory */
void kite_config_destroy(struct kite_config *config); /* NULL is fine */

/* The words of a command line; argv[0] is skipped. */
int kite_config_parse(struct kite_config *config, int argc, char *const argv[]);
/* One option with its value, such as "-m", "512"; NULL where it takes none. */
int kite_config_option(struct kite_config *config, const char *option, const char *value);

int kite_config_set_machine(struct kite_config *config, const char *type); /* "pc", "microvm" and their properties, as of -machine */
int kite_config_set_memory(struct kite_config *config, uint64_t bytes);
int kite_config_set_cpus(struct kite_config *config, unsigned count);
/* `initrd` and `command_line` may be NULL. */
int kite_config_set_kernel(struct kite_config *config, const char *kernel, const char *initrd, const char *command_line);
/*
 * The next serial port, whose other end is this program: kite_host's `output`, and kite_input. For another device give the options
 * "-chardev", "callback,id=ID" and name the chardev where the device takes one.
 */
int kite_config_add_console(struct kite_config *config, const char *id);

/* Whether kite_create would take it. -EINVAL also for options that only print something, such as -help. */
int kite_config_check(const struct kite_config *config, struct kite_error *error);

/*
 * The whole configuration as JSON, as kite_create would take it: text to be freed with free(), which the option "-config" reads from a file. NULL
 * with `error`.
 */
char *kite_config_dump(const struct kite_config *config, struct kite_error *error);

/* What the machine does */

enum kite_state {
	KITE_CREATED,        /* it has not been started */
	KITE_RUNNING,
	KITE_PAUSED,         /* by kite_pause, a monitor, or -S */
	KITE_IO_ERROR,       /* an error of a disk stopped it (werror=stop): kite_resume tries again */
	KITE_WATCHDOG,       /* its watchdog did */
	KITE_PANICKED,       /* its kernel panicked */
	KITE_SHUTDOWN,       /* it is off, and kept (-no-shutdown): needs a reset */
	KITE_INTERNAL_ERROR, /* the host cannot go on with it, and it is kept: needs a reset */
	KITE_ENDED,
};

enum kite_reason {
	KITE_REASON_NONE,
	KITE_REASON_GUEST_SHUTDOWN,
	KITE_REASON_GUEST_RESET,
	KITE_REASON_GUEST_PANIC,
	KITE_REASON_HOST_ERROR,
	KITE_REASON_HOST_QUIT,  /* kite_quit, or a monitor's */
	KITE_REASON_HOST_RESET, /* kite_reset, or a monitor's */
	KITE_REASON_HOST_SIGNAL,
	KITE_REASON_HOST_UI,    /* Ctrl-a x */
};

enum kite_event_type {
	KITE_EVENT_RESUME,   /* the state is KITE_RUNNING */
	KITE_EVENT_STOP,     /* it is another: `state` */
	KITE_EVENT_RESET,    /* it was reset, for `reason` */
	KITE_EVENT_SHUTDOWN, /* it is off, for `reason`; KITE_EVENT_ENDED follows, or KITE_EVENT_STOP where it is kept */
	KITE_EVENT_ENDED,    /* the last one */
	KITE_EVENT_WATCHDOG, /* the guest has not touched its watchdog in time: -action watchdog= says what becomes of it */
	KITE_EVENT_PANICKED, /* the guest says that its kernel has crashed: -action panic= */
};

struct kite_event {
	size_t size;
	enum kite_event_type type;
	enum kite_state state; /* after it */
	enum kite_reason reason;
};

enum kite_log_level { KITE_LOG_ERROR, KITE_LOG_WARNING, KITE_LOG_INFO, KITE_LOG_DEBUG /* with -d debug */ };

/* What the machine calls. Every function may be NULL. Pointers are valid during the call. */
struct kite_host {
	size_t size;
	void *opaque; /* the first argument of all */
	/* What the guest wrote to a console. NULL: it goes nowhere. */
	void (*output)(void *opaque, const char *console, const void *data, size_t length);
	/* kite_input has room again, after it took less than it was given. */
	void (*input_ready)(void *opaque, const char *console);
	void (*event)(void *opaque, const struct kite_event *event);
	/* A line for a person's eyes, without newline. Nothing that was not told by kite_error or an event is told only here. */
	void (*log)(void *opaque, enum kite_log_level level, const char *line);
	/*
	 * The signal that makes the machine's processors stop to listen; 0: SIGRTMAX. It is sent to the library's own threads only, which block
	 * it, so its handler is never called and need not exist. Choose one that is not sent to your process as a whole.
	 */
	int kick_signal;
};

/*
 * Life: created; started, or attached to a loop of yours; ended, by the guest, by kite_quit or otherwise; waited for, after which it may be started
 * again, as a new machine of the same configuration; destroyed.
 */
struct kite;

/* Checks the configuration and the host, and copies both. Nothing is opened. */
struct kite *kite_create(const struct kite_config *config, const struct kite_host *host, struct kite_error *error);

/* Opens everything and runs the machine on threads of its own; with -S it waits for kite_resume. It has begun when this returns. */
int kite_start(struct kite *kite, struct kite_error *error);

/*
 * The same with a loop of yours instead of the machine's own thread. Returns an epoll descriptor, the library's, that is readable (poll, epoll,
 * level-triggered) when kite_dispatch has something to do; or a negative errno. kite_dispatch does it without waiting, on the thread that
 * attached: 0; 1 once the machine has ended, and kite_wait is next; or a negative errno.
 */
int kite_attach(struct kite *kite, struct kite_error *error);
int kite_dispatch(struct kite *kite);

/*
 * Waits until the machine ends, and closes all that was opened. Where it is attached it dispatches meanwhile. Returns its exit status, 0 or what the
 * guest gave (isa-debug-exit); or a negative errno with `error`. -ESRCH: it is not started. -EIO: the host could not go on with it, and no
 * KITE_EVENT_SHUTDOWN said so before.
 */
int kite_wait(struct kite *kite, struct kite_error *error);

/* Ends the machine, where it is started, as pulling the plug would. NULL is fine. */
void kite_destroy(struct kite *kite);

/*
 * Control. -ESRCH where the machine is not started, or has been waited for.
 *
 * kite_pause returns when every processor stands; from a callback, or on the thread that dispatches, it only asks, and KITE_EVENT_STOP
 * tells. kite_resume and kite_powerdown of an attached machine wait, on other threads than the one that dispatches, for it to do so. The
 * others ask, and events tell.
 */
enum kite_state kite_state(struct kite *kite);
int kite_pause(struct kite *kite);
int kite_resume(struct kite *kite); /* -EPERM: it needs a reset, or has ended */
int kite_reset(struct kite *kite);
int kite_powerdown(struct kite *kite); /* presses the power button, and the guest does what it likes */
int kite_quit(struct kite *kite);      /* ends it, as pulling the plug would */

/*
 * Input for a console of add_console or -chardev callback: how many bytes were taken, all or as many as there is room for (64 KiB wait for
 * the guest). -ENOENT: there is no such console; -EINVAL: it is not of that kind.
 */
ptrdiff_t kite_input(struct kite *kite, const char *console, const void *data, size_t length);

#ifdef __cplusplus
}
#endif

#endif
