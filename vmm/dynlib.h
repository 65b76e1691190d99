/* SPDX-License-Identifier: MIT */
/*
 * Shared libraries that few runs need, loaded by those that do: a library that is linked costs each start the time to map it, and one that is
 * linked statically each program its size. (dlopen(3), POSIX.1-2017.)
 *
 * A library stays loaded, so that to ask for it again opens no file: what was loaded before the process gave up its rights to files works
 * afterwards, too. Its names stay its own. Thread: any.
 */
#ifndef VMM_DYNLIB_H
#define VMM_DYNLIB_H

#include <stddef.h>

struct err;

struct dynlib_function {
	const char *name;
	size_t offset; /* of the pointer to it in the caller's struct */
};

struct dynlib {
	const char *file; /* its SONAME: "libzstd.so.1" */
	const struct dynlib_function *functions;
	size_t n;
};

/*
 * Fills the pointers of `functions`, a struct of which `lib` knows the offsets. 0, or -ELIBACC with `err`, which says what the system's
 * loader says: that there is no such library, or that it lacks a function.
 */
int dynlib_load(const struct dynlib *lib, void *functions, struct err *err);

#endif
