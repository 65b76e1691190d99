/* SPDX-License-Identifier: MIT */
#include "net/bridge_acl.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define LINE_MAX_BYTES 4096

bool bridge_acl_name_ok(const char *name)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	size_t len = strlen(name);

	return len > 0 && len < IFNAMSIZ && strspn(name, allowed) == len && strcmp(name, ".") && strcmp(name, "..");
}

static int read_file(struct bridge_acl *acl, const char *path, unsigned owner, unsigned depth);

static int fail(struct bridge_acl *acl, int code, const char *path, unsigned line, const char *text)
{
	if (line)
		snprintf(acl->why, sizeof(acl->why), "%.100s:%u: %s", path, line, text);
	else
		snprintf(acl->why, sizeof(acl->why), "%.100s: %s", path, text);
	return code;
}

static int include(struct bridge_acl *acl, const char *path, unsigned owner, unsigned depth, const char *from, unsigned line)
{
	int r;

	if (*path != '/')
		return fail(acl, -EINVAL, from, line, "include needs a path from the root on");
	r = read_file(acl, path, owner, depth + 1);
	return r == -ENOENT || r == -EACCES ? 0 : r;
}

static int take_line(struct bridge_acl *acl, char *text, unsigned owner, unsigned depth, const char *from, unsigned line)
{
	static const char blanks[] = " \t\r\n";
	char *save, *word, *arg;
	bool match;

	text[strcspn(text, "#")] = '\0';
	word = strtok_r(text, blanks, &save);
	if (!word)
		return 0;
	arg = strtok_r(NULL, blanks, &save);
	if (!arg || strtok_r(NULL, blanks, &save))
		return fail(acl, -EINVAL, from, line, "expected 'allow BRIDGE', 'deny BRIDGE' or 'include FILE'");
	match = !strcmp(arg, "all") || !strcmp(arg, acl->bridge);
	if (!strcmp(word, "allow"))
		acl->allowed |= match;
	else if (!strcmp(word, "deny"))
		acl->denied |= match;
	else if (!strcmp(word, "include"))
		return include(acl, arg, owner, depth, from, line);
	else
		return fail(acl, -EINVAL, from, line, "expected allow, deny or include");
	return 0;
}

static int read_lines(struct bridge_acl *acl, FILE *file, const char *path, unsigned owner, unsigned depth)
{
	char text[LINE_MAX_BYTES];
	int r = 0;

	for (unsigned line = 1; r == 0 && fgets(text, sizeof(text), file); line++) {
		if (!strchr(text, '\n') && !feof(file))
			return fail(acl, -E2BIG, path, line, "the line is too long");
		r = take_line(acl, text, owner, depth, path, line);
	}
	return r == 0 && ferror(file) ? fail(acl, -EIO, path, 0, "cannot be read") : r;
}

static int read_file(struct bridge_acl *acl, const char *path, unsigned owner, unsigned depth)
{
	struct stat st;
	FILE *file;
	int r;

	if (depth > BRIDGE_ACL_DEPTH || ++acl->files > BRIDGE_ACL_FILES)
		return fail(acl, -ELOOP, path, 0, "files include each other too deep, or too many");
	file = fopen(path, "re");
	if (!file) {
		r = -errno;
		return fail(acl, r, path, 0, strerror(errno));
	}
	if (fstat(fileno(file), &st) < 0 || !S_ISREG(st.st_mode))
		r = fail(acl, -EINVAL, path, 0, "is no regular file");
	else if (st.st_uid != owner || (st.st_mode & S_IWOTH))
		r = fail(acl, -EPERM, path, 0, "can be written by others than root; only root may decide this");
	else
		r = read_lines(acl, file, path, owner, depth);
	fclose(file);
	return r;
}

int bridge_acl_read(struct bridge_acl *acl, const char *path, unsigned owner)
{
	return read_file(acl, path, owner, 0);
}
