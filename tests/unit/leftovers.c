/* SPDX-License-Identifier: MIT */
/*
 * Takes away what failing tests leave.
 *
 * Check runs each test in a process of its own. One that fails ends there and then, without its teardown, and one that hangs is killed, so
 * files and directories would stay. All that tests make with mkdtemp and mkstemp (wrapped for every test program, see the Makefile)
 * is noted in memory that a program shares with those processes. What of it is still there when the program ends is removed.
 */
#include <ftw.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/util.h"

#define NOTED_MAX 2048 /* of what is made later nothing is noted */
#define NAME_SIZE 64   /* nor of longer names */

struct leftovers {
	atomic_uint n;
	char name[NOTED_MAX][NAME_SIZE];
};

static struct leftovers *noted;
static pid_t program;

char *__real_mkdtemp(char *template);
int __real_mkstemp(char *template);
char *__wrap_mkdtemp(char *template);
int __wrap_mkstemp(char *template);

static void note(const char *name)
{
	unsigned i;

	if (!noted || strlen(name) >= NAME_SIZE)
		return;
	i = atomic_fetch_add(&noted->n, 1);
	if (i < NOTED_MAX)
		memcpy(noted->name[i], name, strlen(name) + 1);
}

char *__wrap_mkdtemp(char *template)
{
	char *made = __real_mkdtemp(template);

	if (made)
		note(made);
	return made;
}

int __wrap_mkstemp(char *template)
{
	int fd = __real_mkstemp(template);

	if (fd >= 0)
		note(template);
	return fd;
}

static __attribute__((constructor)) void leftovers_begin(void)
{
	void *shared = mmap(NULL, sizeof(*noted), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	noted = shared == MAP_FAILED ? NULL : shared;
	program = getpid();
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static __attribute__((destructor)) void leftovers_end(void)
{
	if (!noted || getpid() != program)
		return;
	for (unsigned i = 0; i < min_u64(atomic_load(&noted->n), NOTED_MAX); i++)
		if (access(noted->name[i], F_OK) == 0)
			nftw(noted->name[i], remove_one, 8, FTW_DEPTH | FTW_PHYS);
}
