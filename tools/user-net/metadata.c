/* SPDX-License-Identifier: MIT */
#include "tools/user-net/metadata.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/user-net/gate.h"
#include "vmm/util.h"

#define TTL_MAX 21600 /* seconds: what EC2 allows */
#define LIST_MAX 512  /* entries of a directory */
#define NAME_LEN 64   /* of a key */

static void answer_text(struct metadata_answer *answer, int status, const char *text)
{
	answer->status = status;
	answer->len = strlen(text);
	memcpy(answer->text, text, answer->len);
}

/* Tokens */

static void make_token(struct metadata *md, int32_t ttl, int64_t now, struct metadata_answer *answer)
{
	static const char digits[] = "0123456789abcdef";
	uint8_t random[HTTP_TOKEN_MAX / 2];
	char *text = md->tokens[md->next_token].text;

	if (getrandom(random, sizeof(random), 0) != sizeof(random)) {
		answer_text(answer, 503, "no random numbers\n");
		return;
	}
	for (size_t i = 0; i < sizeof(random); i++) {
		text[2 * i] = digits[random[i] >> 4];
		text[2 * i + 1] = digits[random[i] & 15];
	}
	text[HTTP_TOKEN_MAX] = '\0';
	md->tokens[md->next_token].until_ns = now + ttl * NS_PER_SEC;
	md->next_token = (md->next_token + 1) % METADATA_TOKENS;
	answer_text(answer, 200, text);
	answer->ttl = ttl;
}

static bool token_good(const struct metadata *md, const char *token, int64_t now)
{
	bool good = false;

	if (strlen(token) != HTTP_TOKEN_MAX)
		return false;
	/* All of them and all bytes, so that the time taken says nothing. */
	for (unsigned i = 0; i < METADATA_TOKENS; i++) {
		unsigned char differs = 0;

		for (unsigned k = 0; k < HTTP_TOKEN_MAX; k++)
			differs |= (unsigned char)(md->tokens[i].text[k] ^ token[k]);
		good |= !differs && now < md->tokens[i].until_ns;
	}
	return good;
}

/* The tree */

/* "latest", "1.0", "2009-04-04". */
static bool is_version(const char *p, size_t len)
{
	static const char form[] = "dddd-dd-dd";

	if ((len == 6 && memcmp(p, "latest", 6) == 0) || (len == 3 && memcmp(p, "1.0", 3) == 0))
		return true;
	if (len != sizeof(form) - 1)
		return false;
	for (size_t i = 0; i < len; i++)
		if (form[i] == 'd' ? p[i] < '0' || p[i] > '9' : p[i] != '-')
			return false;
	return true;
}

/* The directory of a version: its own, or that of `latest`, or all of the tree. A descriptor of the caller's, or -errno. */
static int open_version(const struct metadata *md, const char *version, size_t len)
{
	char name[16];
	int fd;

	snprintf(name, sizeof(name), "%.*s", (int)len, version);
	fd = gate_open_beneath(md->dir, name, 1);
	if (fd < 0)
		fd = gate_open_beneath(md->dir, "latest", 1);
	return fd < 0 ? gate_open_beneath(md->dir, ".", 1) : fd;
}

/* Whether `path`, which has no slashes at its ends, ends in the component `name`. */
static bool last_is(const char *path, const char *name)
{
	const char *slash = strrchr(path, '/');

	return strcmp(slash ? slash + 1 : path, name) == 0;
}

/* "0" becomes "0=NAME". */
static int key_line(int dir, const char *name, char *line, size_t size)
{
	char path[NAME_MAX + 8], key[NAME_LEN] = "";
	ssize_t got = 0;
	int fd;

	snprintf(path, sizeof(path), "%s/name", name);
	fd = gate_open_beneath(dir, path, 0);
	if (fd >= 0) {
		got = read(fd, key, sizeof(key) - 1);
		close(fd);
	}
	key[got > 0 ? strcspn(key, "\r\n/=") : 0] = '\0';
	return key[0] ? snprintf(line, size, "%s=%s", name, key) : snprintf(line, size, "%s=key%s", name, name);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_directory(int dir, const char *name)
{
	int fd = gate_open_beneath(dir, name, 1);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* The names in a directory, sorted, to be freed; hidden ones stay hidden. `dir` stays open. */
static unsigned read_names(int dir, char **names)
{
	int fd = gate_open_beneath(dir, ".", 1);
	DIR *stream = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	unsigned n = 0;

	if (!stream) {
		fd_close(&fd);
		return 0;
	}
	while (n < LIST_MAX && (entry = readdir(stream)))
		if (entry->d_name[0] != '.' && !strchr(entry->d_name, '\n') && (names[n] = strdup(entry->d_name)))
			n++;
	closedir(stream);
	qsort(names, n, sizeof(*names), by_name);
	return n;
}

static void list(int dir, bool keys, struct metadata_answer *answer)
{
	char *names[LIST_MAX];
	unsigned n = read_names(dir, names);

	for (unsigned i = 0; i < n; i++) {
		bool directory = is_directory(dir, names[i]);
		char line[NAME_MAX + NAME_LEN + 8];
		size_t size = (size_t)(directory && keys ? key_line(dir, names[i], line, sizeof(line)) :
							   snprintf(line, sizeof(line), "%s%s", names[i], directory ? "/" : ""));

		/* As EC2: lines are separated by a newline, and none follows the last. */
		if (answer->len + size + 1 <= sizeof(answer->text)) {
			if (answer->len)
				answer->text[answer->len++] = '\n';
			memcpy(answer->text + answer->len, line, size);
			answer->len += size;
		}
		free(names[i]);
	}
}

static void answer_not_found(struct metadata_answer *answer)
{
	answer_text(answer, 404, "404 - Not Found\n");
}

static void answer_file(int fd, struct metadata_answer *answer)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || st.st_size > METADATA_FILE_MAX) {
		close(fd);
		answer_text(answer, 503, "the file is too large\n");
		return;
	}
	answer->status = 200;
	answer->fd = fd;
	answer->len = (size_t)st.st_size;
}

/* Adds the instance-id that the directory has not to a listing of meta-data. */
static void add_instance_id(struct metadata_answer *answer)
{
	static const char name[] = "\ninstance-id";
	size_t skip = answer->len == 0, len = sizeof(name) - 1 - skip;

	if (memmem(answer->text, answer->len, name + 1, sizeof(name) - 2) || answer->len + len > sizeof(answer->text))
		return;
	memcpy(answer->text + answer->len, name + skip, len);
	answer->len += len;
}

/* `path` is below the version, without slashes at its ends; "" is all of it. */
static void answer_path(int root, const char *path, struct metadata_answer *answer)
{
	const char *at = *path ? path : ".";
	int fd = gate_open_beneath(root, at, 1);

	if (fd >= 0) {
		list(fd, last_is(path, "public-keys"), answer);
		close(fd);
		if (strcmp(path, "meta-data") == 0)
			add_instance_id(answer);
		return;
	}
	fd = gate_open_beneath(root, at, 0);
	if (fd >= 0)
		answer_file(fd, answer);
	else if (strcmp(path, "meta-data/instance-id") == 0)
		answer_text(answer, 200, "i-00000000");
	else if (strcmp(path, "meta-data") == 0)
		add_instance_id(answer);
	else
		answer_not_found(answer);
}

/* "." and ".." as a component: for nobody who means well. */
static bool has_dots(const char *path)
{
	for (const char *p = path; *p; p += *p == '/') {
		size_t len = strcspn(p, "/");

		if ((len == 1 && p[0] == '.') || (len == 2 && p[0] == '.' && p[1] == '.'))
			return true;
		p += len;
	}
	return false;
}

static void answer_get(struct metadata *md, const char *path, struct metadata_answer *answer)
{
	char rest[HTTP_PATH_MAX];
	const char *version = path + strspn(path, "/");
	size_t len = strcspn(version, "/"), end;
	int root;

	if (!*version) {
		answer_text(answer, 200, "1.0\n2009-04-04\nlatest");
		return;
	}
	if (!is_version(version, len) || has_dots(version)) {
		answer_not_found(answer);
		return;
	}
	strcpy(rest, version + len + strspn(version + len, "/"));
	for (end = strlen(rest); end && rest[end - 1] == '/'; end--)
		rest[end - 1] = '\0';
	root = open_version(md, version, len);
	if (root < 0) {
		answer_not_found(answer);
		return;
	}
	answer_path(root, rest, answer);
	close(root);
}

static void answer_put(struct metadata *md, const struct http_request *req, int64_t now, struct metadata_answer *answer)
{
	if (strcmp(req->path, "/latest/api/token") != 0)
		answer_text(answer, 405, "only a token can be put\n");
	else if (req->forwarded)
		answer_text(answer, 403, "not by way of a proxy\n");
	else if (req->ttl < 1 || req->ttl > TTL_MAX)
		answer_text(answer, 400, "X-aws-ec2-metadata-token-ttl-seconds must be 1 to 21600\n");
	else
		make_token(md, req->ttl, now, answer);
}

void metadata_answer(struct metadata *md, const struct http_request *req, int64_t now_ns, struct metadata_answer *answer)
{
	answer->status = 200;
	answer->fd = -1;
	answer->len = 0;
	answer->ttl = 0;
	if (req->method == HTTP_PUT)
		answer_put(md, req, now_ns, answer);
	else if (req->has_token && !token_good(md, req->token, now_ns))
		answer_text(answer, 401, "the token is not valid\n");
	else
		answer_get(md, req->path, answer);
}
