/* SPDX-License-Identifier: MIT */
#include "tools/user-net/metadata.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/suite.h"
#include "tools/user-net/gate.h"
#include "tools/user-net/web.h"
#include "vmm/util.h"

static char dir[] = "/tmp/kite-metadata-XXXXXX";
static struct metadata md;
static struct metadata_answer answer;

static void put(const char *name, const char *content)
{
	char path[300];
	FILE *file;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	for (char *slash = strchr(path + strlen(dir) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(path, 0755);
		*slash = '/';
	}
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	ck_assert_int_ge(fd, 0);
	file = fdopen(fd, "w");
	fputs(content, file);
	fclose(file);
}

static void link_to(const char *name, const char *target)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	ck_assert_int_eq(symlink(target, path), 0);
}

static void setup(void)
{
	char path[300];

	ck_assert_ptr_nonnull(mkdtemp(dir));
	put("t/meta-data/hostname", "box");
	put("t/meta-data/public-keys/0/openssh-key", "key zero");
	put("t/meta-data/public-keys/0/name", "mine=x\n");
	put("t/meta-data/public-keys/1/openssh-key", "key one");
	put("t/user-data", "#!");
	put("t/.hidden", "no");
	put("secret", "secret");
	link_to("t/inside", "user-data");
	link_to("t/outside", "../secret");
	link_to("t/absolute", "/etc/passwd");
	link_to("t/loop", "loop");
	link_to("t/magic", "/proc/self/root/etc/passwd");
	snprintf(path, sizeof(path), "%s/t/fifo", dir);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	snprintf(path, sizeof(path), "%s/t", dir);
	memset(&md, 0, sizeof(md));
	md.dir = open(path, O_RDONLY | O_DIRECTORY);
}

static void teardown(void)
{
	char command[300];

	close(md.dir);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	ck_assert_int_eq(system(command), 0);
}

/* The body of an answer, or NULL with another status than 200. */
static const char *get(const char *path)
{
	struct http_request req = { .method = HTTP_GET, .ttl = -1 };
	static char text[METADATA_TEXT_MAX + 1];
	ssize_t len;

	strcpy(req.path, path);
	metadata_answer(&md, &req, 0, &answer);
	len = (ssize_t)answer.len;
	if (answer.fd >= 0) {
		ck_assert_int_eq(read(answer.fd, text, sizeof(text) - 1), len);
		close(answer.fd);
	} else {
		memcpy(text, answer.text, answer.len);
	}
	text[len] = '\0';
	return answer.status == 200 ? text : NULL;
}

START_TEST(the_tree)
{
	ck_assert_str_eq(get("/"), "1.0\n2009-04-04\nlatest");
	ck_assert_str_eq(get("/latest"), "absolute\nfifo\ninside\nloop\nmagic\nmeta-data/\noutside\nuser-data");
	ck_assert_str_eq(get("/latest/meta-data/"), "hostname\npublic-keys/\ninstance-id");
	ck_assert_str_eq(get("/1.0/meta-data/hostname"), "box");
	ck_assert_str_eq(get("/2030-12-31//meta-data//hostname//"), "box");
	ck_assert_str_eq(get("/latest/meta-data/instance-id"), "i-00000000");
	ck_assert_str_eq(get("/latest/meta-data/public-keys"), "0=mine\n1=key1");
	ck_assert_str_eq(get("/latest/meta-data/public-keys/0/"), "name\nopenssh-key");
	ck_assert_str_eq(get("/latest/meta-data/public-keys/1/openssh-key"), "key one");
	ck_assert_str_eq(get("/latest/inside"), "#!");
	put("t/meta-data/instance-id", "i-7");
	ck_assert_str_eq(get("/latest/meta-data/instance-id"), "i-7");
	ck_assert_str_eq(get("/latest/meta-data"), "hostname\ninstance-id\npublic-keys/");
}
END_TEST

START_TEST(what_is_not_there)
{
	static const char *const paths[] = {
		"/late", "/latestx/user-data", "/2009-4-4/user-data", "/../user-data", "/latest/none", "/latest/user-data/x", "/latest/outside",
		"/latest/absolute", "/latest/loop", "/latest/magic", "/latest/fifo", "/latest/../../secret", "/latest/meta-data/..", "/latest/./user-data",
		"/latest/meta-data/../../../secret", "/user-data", "/.hidden",
	};

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		ck_assert_msg(get(paths[i]) == NULL, "%s", paths[i]);
		ck_assert_int_eq(answer.status, 404);
	}
}
END_TEST

START_TEST(versions)
{
	put("t/latest/user-data", "new");
	put("t/2009-04-04/user-data", "old");
	ck_assert_str_eq(get("/latest/user-data"), "new");
	ck_assert_str_eq(get("/2009-04-04/user-data"), "old");
	ck_assert_str_eq(get("/2010-01-01/user-data"), "new");
	ck_assert_ptr_null(get("/latest/meta-data/hostname"));
}
END_TEST

START_TEST(long_listings)
{
	char name[100];

	for (int i = 0; i < 600; i++) {
		snprintf(name, sizeof(name), "t/many/%0*d", 60, i);
		put(name, "");
	}
	ck_assert_ptr_nonnull(get("/latest/many"));
	ck_assert_uint_le(answer.len, METADATA_TEXT_MAX);
	ck_assert_uint_ge(answer.len, METADATA_TEXT_MAX - 100);
}
END_TEST

static int put_token(int32_t ttl, int64_t now)
{
	struct http_request req = { .method = HTTP_PUT, .path = "/latest/api/token", .ttl = ttl };

	metadata_answer(&md, &req, now, &answer);
	return answer.status;
}

static int get_with(const char *token, int64_t now)
{
	struct http_request req = { .method = HTTP_GET, .path = "/", .ttl = -1, .has_token = true };

	strcpy(req.token, token);
	metadata_answer(&md, &req, now, &answer);
	return answer.status;
}

START_TEST(tokens)
{
	struct http_request req = { .method = HTTP_PUT, .path = "/latest/user-data", .ttl = 5 };
	char first[HTTP_TOKEN_MAX + 1] = "", other[HTTP_TOKEN_MAX + 1] = "";

	ck_assert_int_eq(put_token(0, 0), 400);
	ck_assert_int_eq(put_token(-1, 0), 400);
	ck_assert_int_eq(put_token(-2, 0), 400);
	ck_assert_int_eq(put_token(21601, 0), 400);
	metadata_answer(&md, &req, 0, &answer);
	ck_assert_int_eq(answer.status, 405);
	ck_assert_int_eq(get_with("", 0), 401);
	ck_assert_int_eq(put_token(21600, 0), 200);
	ck_assert_int_eq(answer.ttl, 21600);
	ck_assert_uint_eq(answer.len, HTTP_TOKEN_MAX);
	memcpy(first, answer.text, HTTP_TOKEN_MAX);
	ck_assert_int_eq(put_token(10, 5 * NS_PER_SEC), 200);
	memcpy(other, answer.text, HTTP_TOKEN_MAX);
	ck_assert_str_ne(first, other);
	ck_assert_int_eq(get_with(first, 21599 * NS_PER_SEC), 200);
	ck_assert_int_eq(get_with(first, 21600 * NS_PER_SEC), 401);
	ck_assert_int_eq(get_with(other, 14 * NS_PER_SEC), 200);
	ck_assert_int_eq(get_with(other, 15 * NS_PER_SEC), 401);
	first[0] = first[0] == 'a' ? 'b' : 'a';
	ck_assert_int_eq(get_with(first, 0), 401);
	/* The oldest goes. */
	for (int i = 0; i < METADATA_TOKENS; i++)
		ck_assert_int_eq(put_token(100, 5 * NS_PER_SEC), 200);
	ck_assert_int_eq(get_with(other, 6 * NS_PER_SEC), 401);
}
END_TEST

/* The server over a socket */

static struct web web;

/* Lets the server do what it can. */
static void serve(void)
{
	struct pollfd fds[WEB_CONNECTIONS];
	unsigned n;

	for (int i = 0; i < 500; i++) {
		n = web_fill(&web, fds);
		if (n == 0 || poll(fds, n, 0) <= 0)
			return;
		web_run(&web, fds, n);
	}
}

static int connect_web(void)
{
	int sv[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv), 0);
	web_add(&web, sv[1]);
	return sv[0];
}

static unsigned count(const char *text, const char *word)
{
	unsigned n = 0;

	for (; (text = strstr(text, word)); text++)
		n++;
	return n;
}

START_TEST(a_server)
{
	static const char three[] = "GET /latest/user-data HTTP/1.1\r\nHost: x\r\n\r\nPUT /latest/api/token HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n"
				    "abcHEAD /latest/user-data HTTP/1.0\r\n\r\nGET / HTTP/1.0\r\n\r\n";
	char got[4000] = "";
	int fd;

	web_init(&web, md.dir);
	fd = connect_web();
	for (size_t i = 0; i < sizeof(three) - 1; i++) { /* a byte at a time */
		/* Behind the third there is nobody any more. */
		ck_assert_int_eq(send(fd, three + i, 1, MSG_NOSIGNAL), strlen(three + i) > 18 ? 1 : -1);
		serve();
		if (i == 100)
			ck_assert_int_gt(read(fd, got, sizeof(got) - 1), 0);
	}
	ck_assert_ptr_nonnull(strstr(got, "HTTP/1.1 200 OK\r\n"));
	ck_assert_ptr_nonnull(strstr(got, "Content-Length: 2\r\n"));
	ck_assert_ptr_nonnull(strstr(got, "\r\n\r\n#!"));
	memset(got, 0, sizeof(got));
	ck_assert_int_gt(read(fd, got, sizeof(got) - 1), 0);
	ck_assert_uint_eq(count(got, "HTTP/1.1 "), 2); /* the third closes */
	ck_assert_ptr_nonnull(strstr(got, "HTTP/1.1 400 "));
	ck_assert_ptr_nonnull(strstr(got, "Connection: close\r\n\r\n"));
	ck_assert_int_eq(read(fd, got, sizeof(got)), 0);
	close(fd);
	/* All at once. */
	fd = connect_web();
	ck_assert_int_eq(write(fd, three, sizeof(three) - 1), sizeof(three) - 1);
	serve();
	memset(got, 0, sizeof(got));
	ck_assert_int_gt(read(fd, got, sizeof(got) - 1), 0);
	ck_assert_uint_eq(count(got, "HTTP/1.1 "), 3);
	close(fd);
	web_fini(&web);
}
END_TEST

START_TEST(a_slow_reader)
{
	static const char ask[] = "GET /latest/big HTTP/1.1\r\nHost: x\r\n\r\nGET /latest/user-data HTTP/1.1\r\nHost: x\r\n\r\n";
	const size_t size = 3000000, room = size + 2000;
	char *big = malloc(size + 1), *got = calloc(1, room);
	size_t len = 0, body;
	ssize_t n;
	int fd;

	for (size_t i = 0; i < size; i++)
		big[i] = (char)('a' + i % 23);
	big[size] = '\0';
	put("t/big", big);
	web_init(&web, md.dir);
	fd = connect_web();
	ck_assert_int_eq(write(fd, ask, sizeof(ask) - 1), sizeof(ask) - 1);
	do {
		serve();
		n = read(fd, got + len, min_u64(room - 1 - len, 70000));
		len += n > 0 ? (size_t)n : 0;
	} while (n > 0);
	body = (size_t)(strstr(got, "\r\n\r\n") + 4 - got);
	ck_assert_uint_gt(len, body + size);
	ck_assert(memcmp(got + body, big, size) == 0);
	ck_assert_str_eq(strstr(got + body + size, "\r\n\r\n"), "\r\n\r\n#!");
	close(fd);
	serve();
	web_fini(&web);
	free(big);
	free(got);
}
END_TEST

START_TEST(many_connections)
{
	int fd[WEB_CONNECTIONS + 5];
	char c;

	web_init(&web, md.dir);
	for (size_t i = 0; i < ARRAY_SIZE(fd); i++) {
		fd[i] = connect_web();
		serve();
	}
	for (size_t i = 0; i < ARRAY_SIZE(fd); i++) {
		ssize_t n = read(fd[i], &c, 1);

		ck_assert_int_eq(n, i < 5 ? 0 : -1); /* the quietest went */
		close(fd[i]);
	}
	serve();
	web_fini(&web);
}
END_TEST

START_TEST(a_file_that_shrinks)
{
	static char big[2000001];
	char buf[70000], path[300];
	ssize_t n;
	int fd;

	memset(big, 'x', sizeof(big) - 1);
	put("t/big", big);
	web_init(&web, md.dir);
	fd = connect_web();
	ck_assert_int_gt(write(fd, "GET /latest/big HTTP/1.0\r\n\r\n", 28), 0);
	serve();
	snprintf(path, sizeof(path), "%s/t/big", dir);
	ck_assert_int_eq(truncate(path, 10), 0);
	while ((n = read(fd, buf, sizeof(buf))) != 0)
		serve();
	close(fd);
	web_fini(&web);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		the_tree, what_is_not_there, versions, long_listings, tokens, a_server, a_slow_reader, many_connections, a_file_that_shrinks,
	};

	return suite_run("usernet_metadata", tests, ARRAY_SIZE(tests), setup, teardown);
}
