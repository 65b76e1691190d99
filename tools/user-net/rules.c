/* SPDX-License-Identifier: MIT */
/* hostfwd= and guestfwd= rules. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tools/user-net/config.h"
#include "vmm/err.h"

#define PART_MAX 64

/* Takes what is before the next `sep` off *text. False when there is no `sep`, or too much before it. */
static bool take_part(const char **text, char sep, char *part)
{
	const char *end = strchr(*text, sep);
	size_t len = end ? (size_t)(end - *text) : 0;

	if (!end || len >= PART_MAX)
		return false;
	memcpy(part, *text, len);
	part[len] = '\0';
	*text = end + 1;
	return true;
}

static bool parse_port(const char *text, unsigned min, unsigned *port)
{
	unsigned long v;
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return false;
	v = strtoul(text, &end, 10);
	*port = (unsigned)v;
	return *end == '\0' && end - text <= 5 && v >= min && v <= 65535;
}

/* An IPv4 address, or nothing: any. */
static bool parse_addr(const char *text, struct in_addr *addr)
{
	addr->s_addr = htonl(INADDR_ANY);
	return !text[0] || inet_pton(AF_INET, text, addr) == 1;
}

static int hostfwd_fault(struct err *err, const char *text, const char *what)
{
	return err_set(err, -EINVAL, "hostfwd '%s': %s; the form is [tcp|udp]:[HOSTADDR]:HOSTPORT-[GUESTADDR]:GUESTPORT", text, what);
}

static int hostfwd_to(struct hostfwd *fwd, const char *text, const char *rest, struct err *err)
{
	char part[PART_MAX];

	if (!take_part(&rest, ':', part))
		return hostfwd_fault(err, text, "the guest's port is missing");
	if (!parse_addr(part, &fwd->guest))
		return hostfwd_fault(err, text, "the guest's address is no IPv4 address");
	if (!parse_port(rest, 1, &fwd->guest_port))
		return hostfwd_fault(err, text, "the guest's port must be 1 to 65535");
	return 0;
}

int config_hostfwd(struct hostfwd *fwd, const char *text, bool remove, struct err *err)
{
	const char *rest = text;
	char part[PART_MAX];

	*fwd = (struct hostfwd){ 0 };
	if (!take_part(&rest, ':', part))
		return hostfwd_fault(err, text, "there is no ':'");
	if (strcmp(part, "udp") == 0)
		fwd->udp = true;
	else if (part[0] && strcmp(part, "tcp") != 0)
		return hostfwd_fault(err, text, "the protocol must be tcp or udp");
	if (!take_part(&rest, ':', part))
		return hostfwd_fault(err, text, "the host's port is missing");
	if (!parse_addr(part, &fwd->host))
		return hostfwd_fault(err, text, "the host's address is no IPv4 address");
	if (remove)
		return parse_port(rest, 0, &fwd->host_port) ? 0 : hostfwd_fault(err, text, "the host's port must be 0 to 65535");
	if (!take_part(&rest, '-', part))
		return hostfwd_fault(err, text, "the guest's part, behind a '-', is missing");
	if (!parse_port(part, 0, &fwd->host_port))
		return hostfwd_fault(err, text, "the host's port must be 0 to 65535");
	return hostfwd_to(fwd, text, rest, err);
}

static int guestfwd_fault(struct err *err, const char *text, const char *what)
{
	return err_set(err, -EINVAL, "guestfwd '%s': %s; the form is [tcp]:SERVER:PORT-TARGET with tcp:HOST:PORT, unix:PATH or cmd:COMMAND", text,
		       what);
}

int config_guestfwd(struct guestfwd *fwd, const char *text, struct err *err)
{
	static const struct {
		const char *prefix;
		enum guestfwd_kind kind;
	} kinds[] = { { "tcp:", GUESTFWD_TCP }, { "unix:", GUESTFWD_UNIX }, { "cmd:", GUESTFWD_CMD } };
	const char *rest = text;
	char part[PART_MAX];

	*fwd = (struct guestfwd){ 0 };
	if (!take_part(&rest, ':', part) || (part[0] && strcmp(part, "tcp") != 0))
		return guestfwd_fault(err, text, "the protocol must be tcp");
	if (!take_part(&rest, ':', part) || inet_pton(AF_INET, part, &fwd->addr) != 1)
		return guestfwd_fault(err, text, "the server must be an IPv4 address of the guest's network");
	if (!take_part(&rest, '-', part) || !parse_port(part, 1, &fwd->port))
		return guestfwd_fault(err, text, "the port must be 1 to 65535, and a target behind a '-' follows");
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		size_t len = strlen(kinds[i].prefix);

		if (strncmp(rest, kinds[i].prefix, len) == 0 && rest[len]) {
			fwd->kind = kinds[i].kind;
			fwd->target = rest + len;
			return 0;
		}
	}
	return guestfwd_fault(err, text, "the target is not known");
}
