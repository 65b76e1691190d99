/* SPDX-License-Identifier: MIT */
/*
 * Errors for people.
 *
 * Every set-up function that can fail takes a `struct err *` and fills it where the fault is found, with the words a user
 * needs: the thing by name, what was wrong, what to do. One line, no newline, no "kite:" prefix. Only main() and the control
 * socket print it. Functions on the hot path return 0 or -errno and carry no text.
 *
 * Convention: such a function returns 0 (or a pointer) on success, and a negative errno (or NULL) with `e` filled on failure.
 * `e` may not be NULL. Thread: whoever owns the struct.
 */
#ifndef VMM_ERR_H
#define VMM_ERR_H

#define ERR_MSG_MAX 1024

struct err {
	int code;              /* negative errno; 0 while nothing has failed */
	char msg[ERR_MSG_MAX]; /* one line, always terminated, cut at the end when too long */
};

#define ERR_INIT { .code = 0, .msg = "" }

/* Fills `e`, replacing what was there. `code` is a negative errno. Returns `code`, so that `return err_set(...)` reads well. */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* As err_set, and appends ": " and the text of errno `-code`. */
int err_set_errno(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Puts "TEXT: " in front of the message that `e` holds. Returns e->code. */
int err_prefix(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * A copy of a user's word that is fit for a message: cut when long, control characters replaced. Meant as an argument:
 * `err_set(e, -EINVAL, "'%s' is not a number", err_show(text).s)`.
 */
#define ERR_SHOW_MAX 80
struct err_shown {
	char s[ERR_SHOW_MAX + 4];
};
struct err_shown err_show(const char *s);

#endif
