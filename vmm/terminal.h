/* SPDX-License-Identifier: MIT */
/*
 * The terminal that Kite was started from: raw while the guest has it, as it was found at all other times.
 *
 * A process in the background must leave its terminal alone: its settings are the shell's or another job's then, and the kernel
 * stops a process that tries. So raw mode is a wish that takes effect whenever Kite is in the foreground when it is asked for or
 * terminal_resume is called.
 *
 * A process has one such terminal, so at most one is raw at a time. Thread: one at a time, except terminal_restore_from_signal.
 */
#ifndef VMM_TERMINAL_H
#define VMM_TERMINAL_H

#include <stdbool.h>

/*
 * Input comes byte by byte and unchanged, without echo; '\n' on output still starts a new line. `keep_signals`: Ctrl-C, Ctrl-\ and
 * Ctrl-Z stay signals, else they are input. `fd` is borrowed until terminal_restore. 0; -ENOTTY when it is no terminal; -EBUSY when
 * one is raw already; another -errno of tcgetattr or tcsetattr.
 */
int terminal_raw(int fd, bool keep_signals);
/* As terminal_raw found it. Nothing happens when there is nothing to restore. Call it on every way out. */
void terminal_restore(void);

/* Before Kite stops itself on SIGTSTP: as it was found. */
void terminal_suspend(void);
/* On SIGCONT, and when input comes: raw again, if that is wished for and Kite is in the foreground. */
void terminal_resume(void);

/* As terminal_restore, from the handler of a deadly signal: async-signal-safe, any thread. */
void terminal_restore_from_signal(void);

/* Whether a read from the terminal `fd` is served, instead of stopping the process. True for one that is not Kite's own. */
bool terminal_foreground(int fd);

#endif
