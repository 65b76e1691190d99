/* SPDX-License-Identifier: MIT */
#include "vmm/fdset.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/err.h"
#include "vmm/syscall_rules.h"
#include "vmm/util.h"

SYSCALL_RULES(
	{ CALL(fcntl), .threads = THREAD_MAIN | THREAD_LOOP, .needs = NEEDS_FILES, .rare = THREAD_ANY }, /* F_GETFL, F_DUPFD_CLOEXEC */
);

void fdsets_fini(struct fdsets *sets)
{
	for (size_t i = 0; i < sets->n_fds; i++) {
		close(sets->fds[i].fd);
		free(sets->fds[i].opaque);
	}
	for (size_t i = 0; i < sets->n_named; i++) {
		close(sets->named[i].fd);
		free(sets->named[i].name);
	}
	*sets = (struct fdsets){ .n_fds = 0 };
}

static bool set_exists(const struct fdsets *sets, int64_t set)
{
	for (size_t i = 0; i < sets->n_fds; i++)
		if (sets->fds[i].set == set)
			return true;
	return false;
}

int64_t fdsets_add(struct fdsets *sets, int64_t set, int fd, const char *opaque, struct err *err)
{
	struct fdset_fd new = { .set = set, .fd = fd };

	if (sets->n_fds == FDSET_MAX)
		return err_set(err, -ENOSPC, "at most %d descriptors in sets are possible; remove one", FDSET_MAX);
	if (set == FDSET_NEW)
		for (new.set = 0; set_exists(sets, new.set);)
			new.set++;
	if (new.set < 0)
		return err_set(err, -EINVAL, "the number of a descriptor set is not negative");
	if (opaque) {
		new.opaque = strdup(opaque);
		if (!new.opaque)
			return err_set(err, -ENOMEM, "no memory for a descriptor set");
	}
	sets->fds[sets->n_fds++] = new;
	return new.set;
}

int fdsets_remove(struct fdsets *sets, int64_t set, int fd, struct err *err)
{
	bool found = false;

	for (size_t i = sets->n_fds; i-- > 0;) {
		if (sets->fds[i].set != set || (fd != -1 && sets->fds[i].fd != fd))
			continue;
		close(sets->fds[i].fd);
		free(sets->fds[i].opaque);
		sets->fds[i] = sets->fds[--sets->n_fds];
		found = true;
	}
	return found ? 0 : err_set(err, -ENOENT, "there is no such descriptor in set %lld", (long long)set);
}

bool fdset_is_path(const char *path)
{
	return !strncmp(path, FDSET_PATH, sizeof(FDSET_PATH) - 1);
}

int fdsets_open(const struct fdsets *sets, const char *path, int flags, struct err *err)
{
	const char *number = path + sizeof(FDSET_PATH) - 1;
	char *end;
	long long set = strtoll(number, &end, 10);
	bool exists = false;

	for (size_t i = 0; *number && !*end && i < sets->n_fds; i++) {
		int mode = fcntl(sets->fds[i].fd, F_GETFL) & O_ACCMODE, fd;

		if (sets->fds[i].set != set)
			continue;
		exists = true;
		if (mode != (flags & O_ACCMODE) && mode != O_RDWR)
			continue;
		fd = fcntl(sets->fds[i].fd, F_DUPFD_CLOEXEC, 3);
		return fd < 0 ? err_set_errno(err, -errno, "cannot use '%s'", path) : fd;
	}
	if (!exists)
		return err_set(err, -ENOENT, "'%s' names a descriptor set that is not there; give it with -add-fd", path);
	return err_set(err, -EACCES, "'%s' has no descriptor that is open for %s", path,
		       (flags & O_ACCMODE) == O_RDONLY ? "reading" : "writing");
}

int fdsets_name(struct fdsets *sets, const char *name, int fd, struct err *err)
{
	char *copy;

	for (size_t i = 0; i < sets->n_named; i++) {
		if (strcmp(sets->named[i].name, name))
			continue;
		close(sets->named[i].fd);
		sets->named[i].fd = fd;
		return 0;
	}
	if (sets->n_named == FDSET_MAX)
		return err_set(err, -ENOSPC, "at most %d descriptors with names are possible; close one", FDSET_MAX);
	copy = strdup(name);
	if (!copy)
		return err_set(err, -ENOMEM, "no memory for a descriptor's name");
	sets->named[sets->n_named++] = (struct fdset_named){ .name = copy, .fd = fd };
	return 0;
}

int fdsets_take(struct fdsets *sets, const char *name)
{
	for (size_t i = 0; i < sets->n_named; i++) {
		int fd = sets->named[i].fd;

		if (strcmp(sets->named[i].name, name))
			continue;
		free(sets->named[i].name);
		sets->named[i] = sets->named[--sets->n_named];
		return fd;
	}
	return -1;
}
