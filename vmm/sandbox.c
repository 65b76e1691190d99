/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation
 *
 * Privileges, Landlock and filters belong to threads, so each thread enters by itself, and what it starts later begins inside: with nothing
 * left to drop, or with a filter, too, depending on how far it was. The filters
 * are made when Kite is built: making them of their rules takes a library longer than everything else that a start does. They come as
 * const programs for the kernel's classic BPF, in which two things are put in as they are loaded: the process's id, for tgkill, and
 * what is done about other calls.
 *
 * Such a call raises SIGSYS before it is made. The handler writes a line and ends the process by the same signal. It runs in the thread
 * that called, under its filter: so every filter has what the handler needs, and the signal must not be blocked anywhere.
 */
#include "vmm/sandbox.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "vmm/err.h"
#include "vmm/sandbox_priv.h"
#include "vmm/syscall_rules.h"
#include "vmm/terminal.h"
#include "vmm/util.h"

#ifndef SECCOMP_FILTER_FLAG_SPEC_ALLOW
#define SECCOMP_FILTER_FLAG_SPEC_ALLOW (1UL << 2)
#endif

struct sandbox {
	bool log;
	enum sandbox_filter_kind main, loop; /* loop: of one without peers */
	struct sandbox_namespaces namespaces;
	int landlock; /* -1: the kernel has none */
};

SYSCALL_RULES(
	/* The trap: whose thread it was; a line; the end */
	{ CALL(prctl), ARG(0, PR_GET_NAME), .threads = THREAD_ANY, .rare = THREAD_ANY },
);

/* ---- the trap ---- */

struct line {
	char text[256];
	size_t n;
};

static void line_add(struct line *l, const char *text)
{
	size_t len = strlen(text);

	if (len > sizeof(l->text) - l->n)
		len = sizeof(l->text) - l->n;
	memcpy(l->text + l->n, text, len);
	l->n += len;
}

static void line_add_number(struct line *l, uint64_t v, unsigned base)
{
	char digits[24];
	size_t i = sizeof(digits) - 1;

	digits[i] = '\0';
	do
		digits[--i] = "0123456789abcdef"[v % base];
	while ((v /= base) != 0);
	line_add(l, base == 16 ? "0x" : "");
	line_add(l, digits + i);
}

static const char *call_name(size_t nr)
{
	const char *name = sandbox_call_names;

	if (nr >= sandbox_n_call_names)
		return "of number";
	while (nr-- > 0)
		name += strlen(name) + 1;
	return *name ? name : "of number";
}

/* Async-signal-safe, and no calls but those of the rules above and of terminal.c. */
static void trapped(int sig, siginfo_t *info, void *context)
{
	struct line l = { .n = 0 };
	char thread[17] = "";
	size_t nr = (size_t)info->si_syscall;

	terminal_restore_from_signal();
	prctl(PR_GET_NAME, thread);
	line_add(&l, "kite: the sandbox does not allow thread '");
	line_add(&l, thread);
	line_add(&l, "' the system call ");
	line_add(&l, call_name(nr));
	line_add(&l, " (");
	line_add_number(&l, nr, 10);
#ifdef __x86_64__
	if (nr == __NR_ioctl) {
		line_add(&l, ", ");
		line_add_number(&l, (uint32_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RSI], 16);
	}
#else
	(void)context;
#endif
	line_add(&l, "): an attack, or a fault of Kite's; -sandbox on,log=on would go on\n");
	(void)!write(STDERR_FILENO, l.text, l.n);
	/* By itself again (SA_RESETHAND), and not blocked (SA_NODEFER). */
	raise(sig);
}

void sandbox_install_trap(void)
{
	struct sigaction action = { .sa_sigaction = trapped, .sa_flags = (int)(SA_SIGINFO | SA_RESETHAND | SA_NODEFER) };

	sigemptyset(&action.sa_mask);
	sigaction(SIGSYS, &action, NULL);
}

/* ---- entering ---- */

static int drop_capabilities(struct err *err)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };

	/* What it could have regained; a user without CAP_SETPCAP could not, with no_new_privs. */
	for (unsigned long cap = 0; prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0; cap++)
		;
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_set_errno(err, -errno, "-sandbox: cannot rule out new privileges; -sandbox off runs without");
	if (syscall(SYS_capset, &header, none) < 0)
		return err_set_errno(err, -errno, "-sandbox: cannot drop capabilities; -sandbox off runs without");
	return 0;
}

/* The program as it is loaded: this process's, and in log mode one that stops nothing. */
static void filter_copy(struct sock_filter *code, const struct sandbox_filter *filter, bool log)
{
	uint32_t pid = (uint32_t)getpid();

	for (unsigned i = 0; i < filter->n; i++) {
		code[i] = filter->code[i];
		if (BPF_CLASS(code[i].code) == BPF_JMP && code[i].k == ARG_OWN_PID)
			code[i].k = pid;
		if (BPF_CLASS(code[i].code) == BPF_RET && code[i].k == SECCOMP_RET_TRAP && log)
			code[i].k = SECCOMP_RET_LOG;
	}
}

/*
 * SPEC_ALLOW: kernels before 5.16 would otherwise turn off, for all that the thread does and its guest with it, what speculation may do past
 * stores. That is meant for programs that run foreign code in their own process.
 */
static int filter_load(const struct sandbox_filter *filter, bool log, struct err *err)
{
	struct sock_filter code[FILTER_MAX];
	struct sock_fprog program = { .len = filter->n, .filter = code };

	filter_copy(code, filter, log);
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program) < 0)
		return err_set_errno(err, -errno, "-sandbox: the kernel takes no filter for system calls; -sandbox off runs without");
	return 0;
}

int sandbox_drop(const struct sandbox *s, struct err *err)
{
	int rc = sandbox_enter_namespaces(&s->namespaces);

	if (rc < 0)
		return err_set_errno(err, rc, "-sandbox: cannot leave the host's namespaces; leave out namespaces=on");
	rc = drop_capabilities(err);
	if (rc < 0)
		return rc;
	rc = sandbox_landlock_enter(s->landlock);
	if (rc < 0)
		return err_set_errno(err, rc, "-sandbox: cannot use Landlock; -sandbox off runs without");
	return 0;
}

int sandbox_filter(const struct sandbox *s, enum sandbox_thread kind, struct err *err)
{
	const enum sandbox_filter_kind filters[] = {
		[SANDBOX_MAIN] = s->main,
		[SANDBOX_LOOP] = s->loop,
		[SANDBOX_LOOP_PEERS] = s->loop + NEEDS_PEERS,
		[SANDBOX_VCPU] = FILTER_VCPU,
	};
	sigset_t trap;

	sigemptyset(&trap);
	sigaddset(&trap, SIGSYS);
	pthread_sigmask(SIG_UNBLOCK, &trap, NULL);
	return filter_load(&sandbox_filters[filters[kind]], s->log, err);
}

struct sandbox *sandbox_create(const struct sandbox_config *cfg, struct err *err)
{
	struct sandbox *s = calloc(1, sizeof(*s));

	if (!s) {
		err_set_errno(err, -ENOMEM, "-sandbox");
		return NULL;
	}
	s->log = cfg->log;
	s->namespaces = (struct sandbox_namespaces)SANDBOX_NAMESPACES_NONE;
	s->loop = FILTER_LOOP + (cfg->files ? NEEDS_FILES : 0);
	s->main = FILTER_MAIN + (cfg->files ? NEEDS_FILES : 0) + (cfg->peers ? NEEDS_PEERS : 0);
	s->landlock = -1;
	/* Paths are looked up before they lead elsewhere. */
	if (sandbox_landlock_open(cfg, &s->landlock, err) < 0 || sandbox_process(cfg, err) < 0 ||
	    (cfg->namespaces && sandbox_make_namespaces(&s->namespaces, err) < 0)) {
		sandbox_destroy(s);
		return NULL;
	}
	return s;
}

void sandbox_destroy(struct sandbox *s)
{
	if (!s)
		return;
	fd_close(&s->landlock);
	sandbox_close_namespaces(&s->namespaces);
	free(s);
}
