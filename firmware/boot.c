/* SPDX-License-Identifier: MIT */
/* Opening the files of a direct kernel boot, and finding the format that takes the kernel. */
#include "firmware/boot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "firmware/boot_priv.h"
#include "vmm/err.h"
#include "vmm/syscall_rules.h"
#include "vmm/util.h"

SYSCALL_RULES(
	{ CALL(newfstatat), .threads = THREAD_MAIN }, /* fstat, on a reset: whether the kernel's file is what it was */
	{ CALL(fstat), .threads = THREAD_MAIN, .rare = THREAD_ANY },	   /* what it is in other C libraries */
);

/* In this order: firmware/boot.h says why it matters. */
static const struct boot_format *const formats[] = {
	&boot_format_bzimage,
	&boot_format_multiboot,
	&boot_format_pvh,
	&boot_format_vmlinux,
};

static void file_close(struct boot_file *file)
{
	fd_close(&file->fd);
	free(file->path);
	file->path = NULL;
}

/* O_NONBLOCK: a FIFO must not hang the open; it does nothing to the regular files that are let through. */
static int file_open(struct boot_file *file, const char *what, const char *path, struct err *err)
{
	struct stat st;

	file->path = strdup(path);
	file->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (file->fd < 0 && errno == EACCES)
		return err_set(err, -EACCES, "cannot open %s %s: Permission denied; make it readable for this user", what, path);
	if (file->fd < 0)
		return err_set_errno(err, -errno, "cannot open %s %s", what, path);
	if (!file->path)
		return err_set_errno(err, -ENOMEM, "%s %s", what, path);
	if (fstat(file->fd, &st))
		return err_set_errno(err, -errno, "cannot open %s %s", what, path);
	if (S_ISDIR(st.st_mode))
		return err_set(err, -EISDIR, "%s %s is a directory, expected a file", what, path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, -EINVAL, "%s %s is not a regular file (a pipe or a device?)", what, path);
	if (st.st_size == 0)
		return err_set(err, -EINVAL, "%s %s is empty", what, path);
	file->size = (uint64_t)st.st_size;
	file->mtime = st.st_mtim;
	return 0;
}

int boot_file_check(const struct boot_file *file, struct err *err)
{
	struct stat st;

	if (fstat(file->fd, &st))
		return err_set_errno(err, -errno, "cannot read %s", file->path);
	if ((uint64_t)st.st_size != file->size)
		return err_set(err, -ESTALE, "%s changed while it was in use: it had %ju bytes and has %ju now; start again",
			       file->path, (uintmax_t)file->size, (uintmax_t)st.st_size);
	if (st.st_mtim.tv_sec != file->mtime.tv_sec || st.st_mtim.tv_nsec != file->mtime.tv_nsec)
		return err_set(err, -ESTALE, "%s changed while it was in use: it was written to; start again", file->path);
	return 0;
}

int boot_file_read(const struct boot_file *file, void *buf, uint64_t len, uint64_t off, struct err *err)
{
	int rc = pread_full(file->fd, buf, len, off);

	if (rc == -ENODATA)
		return err_set(err, rc, "%s changed while it was in use: it became shorter; start again", file->path);
	return rc ? err_set_errno(err, rc, "cannot read %s", file->path) : 0;
}

int boot_add_module(struct boot *boot, const char *what, const char *path, const char *text, struct err *err)
{
	struct boot_module *m;

	if (boot->n_modules == BOOT_MAX_MODULES)
		return err_set(err, -E2BIG, "-initrd: more than %d modules", BOOT_MAX_MODULES);
	/* Counted at once, so that boot_close frees it however far this gets. */
	m = &boot->module[boot->n_modules++];
	m->file.fd = -1;
	m->text = text ? strdup(text) : NULL;
	if (text && !m->text)
		return err_set_errno(err, -ENOMEM, "%s %s", what, path);
	return file_open(&m->file, what, path, err);
}

int boot_open_initrd(struct boot *boot, struct err *err)
{
	return boot->initrd ? boot_add_module(boot, "initrd", boot->initrd, NULL, err) : 0;
}

int boot_check_append(const struct boot *boot, uint64_t max, struct err *err)
{
	size_t len = strlen(boot->append);

	max = min_u64(max, BOOT_CMDLINE_MAX);
	if (len > max)
		return err_set(err, -E2BIG, "-append: the command line has %zu bytes, and %s takes at most %ju", len,
			       boot->kernel.path, (uintmax_t)max);
	return 0;
}

int boot_parse_elf(struct boot *boot, struct err *err)
{
	struct elf_source src = { .fd = boot->kernel.fd, .size = boot->kernel.size };

	return elf_parse(&src, &boot->elf, err) ? err_prefix(err, "%s", boot->kernel.path) : 0;
}

static int find_format(struct boot *boot, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		int rc = formats[i]->open(boot, err);

		if (rc < 0)
			return rc;
		if (rc) {
			boot->format = formats[i];
			return 0;
		}
	}
	return err_set(err, -EINVAL, "%s: not a kernel that Kite can load (no bzImage, multiboot, PVH or x86-64 ELF header)",
		       boot->kernel.path);
}

static int open_all(struct boot *boot, const char *kernel, const char *initrd, const char *append, struct err *err)
{
	int rc;

	boot->append = strdup(append ? append : "");
	boot->initrd = initrd ? strdup(initrd) : NULL;
	if (!boot->append || (initrd && !boot->initrd))
		return err_set_errno(err, -ENOMEM, "kernel %s", kernel);
	rc = file_open(&boot->kernel, "kernel", kernel, err);
	if (rc)
		return rc;
	boot->head_len = min_u64(boot->kernel.size, BOOT_HEAD);
	rc = boot_file_read(&boot->kernel, boot->head, boot->head_len, 0, err);
	return rc ? rc : find_format(boot, err);
}

struct boot *boot_open(const char *kernel, const char *initrd, const char *append, struct err *err)
{
	struct boot *boot = calloc(1, sizeof(*boot));

	if (!boot) {
		err_set_errno(err, -ENOMEM, "kernel %s", kernel);
		return NULL;
	}
	boot->kernel.fd = -1;
	if (open_all(boot, kernel, initrd, append, err)) {
		boot_close(boot);
		return NULL;
	}
	return boot;
}

void boot_close(struct boot *boot)
{
	if (!boot)
		return;
	file_close(&boot->kernel);
	for (size_t i = 0; i < boot->n_modules; i++) {
		file_close(&boot->module[i].file);
		free(boot->module[i].text);
	}
	free(boot->append);
	free(boot->initrd);
	free(boot);
}

static int check_files(const struct boot *boot, struct err *err)
{
	int rc = boot_file_check(&boot->kernel, err);

	for (size_t i = 0; !rc && i < boot->n_modules; i++)
		rc = boot_file_check(&boot->module[i].file, err);
	return rc;
}

/* What was parsed at boot_open holds for the files as they were then; a change while they are read must not boot either. */
int boot_load(struct boot *boot, const struct boot_platform *platform, struct boot_entry *entry, struct err *err)
{
	int rc;

	memset(entry, 0, sizeof(*entry));
	rc = check_files(boot, err);
	if (!rc)
		rc = boot->format->load(boot, platform, entry, err);
	return rc ? rc : check_files(boot, err);
}
