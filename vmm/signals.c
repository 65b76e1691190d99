/* SPDX-License-Identifier: MIT */
#include "vmm/signals.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "vmm/err.h"
#include "vmm/log.h"
#include "vmm/syscall_rules.h"
#include "vmm/terminal.h"
#include "vmm/util.h"

SYSCALL_RULES(
	{ CALL(read), .threads = THREAD_MAIN }, /* the signalfd */
);

/* SA_RESETHAND, and blocked while this runs: once it returns, the signal comes again and does what it always does. */
static void crash_handler(int sig)
{
	terminal_restore_from_signal();
	raise(sig);
}

static void signals_set_dispositions(void)
{
	static const int crashes[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGQUIT };
	struct sigaction crash = { .sa_handler = crash_handler, .sa_flags = (int)SA_RESETHAND };

	sigemptyset(&crash.sa_mask);
	for (size_t i = 0; i < ARRAY_SIZE(crashes); i++)
		sigaction(crashes[i], &crash, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
}

/*
 * Ctrl-Z, when the terminal's signal keys are Kite's: stops every thread, the guest's too. By SIGTSTP's own action and not by SIGSTOP,
 * as the kernel spares a process that no shell could continue.
 */
static void signals_stop(void)
{
	sigset_t stop;

	terminal_suspend();
	sigemptyset(&stop);
	sigaddset(&stop, SIGTSTP);
	raise(SIGTSTP);
	pthread_sigmask(SIG_UNBLOCK, &stop, NULL); /* here it stops, and goes on after SIGCONT */
	pthread_sigmask(SIG_BLOCK, &stop, NULL);
	terminal_resume();
}

static void signals_ready(void *opaque, uint32_t revents)
{
	struct signals *s = opaque;
	struct signalfd_siginfo info;

	(void)revents;
	if (read(s->fd.fd, &info, sizeof(info)) != sizeof(info))
		return;
	switch (info.ssi_signo) {
	case SIGTSTP:
		signals_stop();
		break;
	case SIGCONT:
		terminal_resume();
		s->ops->resized(s->opaque);
		s->ops->resume(s->opaque);
		break;
	case SIGWINCH:
		s->ops->resized(s->opaque);
		break;
	default:
		if (info.ssi_pid)
			log_info("ended by SIG%s from process %u", sigabbrev_np((int)info.ssi_signo), info.ssi_pid);
		s->ops->quit(s->opaque);
	}
}

/* A blocked signal is queued even when it is ignored, so a signalfd would bring back what nohup has turned off. */
static bool signals_ignored(int sig)
{
	struct sigaction sa;

	return sigaction(sig, NULL, &sa) == 0 && !(sa.sa_flags & SA_SIGINFO) && sa.sa_handler == SIG_IGN;
}

int signals_init(struct signals *s, struct eventloop *loop, const struct signals_ops *ops, void *opaque, struct err *err)
{
	static const int served[] = { SIGINT, SIGTERM, SIGHUP, SIGTSTP, SIGCONT, SIGWINCH };
	sigset_t mask;
	int r;

	*s = (struct signals){ .loop = loop, .ops = ops, .opaque = opaque };
	s->fd = (struct event_fd){ .fd = -1, .ready = signals_ready, .opaque = s };
	signals_set_dispositions();
	sigemptyset(&mask);
	for (size_t i = 0; i < ARRAY_SIZE(served); i++)
		if (!signals_ignored(served[i]))
			sigaddset(&mask, served[i]);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	s->fd.fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	if (s->fd.fd < 0)
		return err_set_errno(err, -errno, "signalfd");
	r = eventloop_add_fd(loop, &s->fd, EPOLLIN);
	if (r < 0) {
		fd_close(&s->fd.fd);
		return err_set_errno(err, r, "signals cannot be watched");
	}
	return 0;
}

void signals_fini(struct signals *s)
{
	eventloop_del_fd(s->loop, &s->fd);
	fd_close(&s->fd.fd);
}
