/* SPDX-License-Identifier: MIT */
/* The network's addresses, and what else is set up once. */
#include "tools/user-net/config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/err.h"
#include "vmm/util.h"

#define DHCP_STRING_MAX 255 /* bytes that an option of DHCP holds (RFC 2132, 2) */

/* The addresses of a network when only it is given: .2, .3 and .15, in a larger one of its .2. */
#define HOST_BITS 0x0202u
#define DNS_BITS 0x0203u
#define DHCP_BITS 0x020fu

struct texts {
	const char *net, *host, *dhcpstart, *dns, *ipv6_net, *ipv6_host, *ipv6_dns;
};

static bool get_addr(const char *text, struct in_addr *addr)
{
	return inet_pton(AF_INET, text, addr) == 1;
}

/* QEMU's mask for a network without one: by the classes of old and the private ranges. */
static uint32_t mask_of(uint32_t net)
{
	static const struct {
		uint32_t bits, mask, netmask;
	} classes[] = {
		{ 0x00000000, 0x80000000, 0xff000000 }, /* class A */
		{ 0xac100000, 0xfff00000, 0xfff00000 }, /* 172.16.0.0/12 */
		{ 0xc0a80000, 0xffff0000, 0xffff0000 }, /* 192.168.0.0/16 */
		{ 0xc6120000, 0xfffe0000, 0xfffe0000 }, /* 198.18.0.0/15 */
		{ 0x80000000, 0xc0000000, 0xffff0000 }, /* class B */
		{ 0xc0000000, 0xe0000000, 0xffffff00 }, /* class C */
	};

	for (size_t i = 0; i < ARRAY_SIZE(classes); i++)
		if ((net & classes[i].mask) == classes[i].bits)
			return classes[i].netmask;
	return 0xfffffff0;
}

static bool parse_bits(const char *text, unsigned max, unsigned *bits)
{
	char *end;
	unsigned long v = strtoul(text, &end, 10);

	*bits = (unsigned)v;
	return text[0] >= '0' && text[0] <= '9' && *end == '\0' && v <= max;
}

/* ADDRESS, ADDRESS/BITS or ADDRESS/MASK. */
static bool parse_net(const char *text, struct in_addr *net, struct in_addr *mask)
{
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	char addr[INET_ADDRSTRLEN];
	unsigned bits;
	uint32_t m;

	if (len >= sizeof(addr))
		return false;
	memcpy(addr, text, len);
	addr[len] = '\0';
	if (!get_addr(addr, net))
		return false;
	if (!slash)
		m = mask_of(ntohl(net->s_addr));
	else if (parse_bits(slash + 1, 32, &bits))
		m = bits ? UINT32_MAX << (32 - bits) : 0;
	else if (get_addr(slash + 1, mask))
		m = ntohl(mask->s_addr);
	else
		return false;
	mask->s_addr = htonl(m);
	net->s_addr &= mask->s_addr;
	return (m & (~m >> 1)) == 0 && m >= 0x80000000 && m <= 0xfffffff8; /* ones, then zeroes; eight addresses */
}

/* An address of the network. */
static int inside(const struct config *cfg, const char *key, const char *text, uint32_t bits, struct in_addr *addr, struct err *err)
{
	uint32_t mask = ntohl(cfg->mask.s_addr), a;

	addr->s_addr = cfg->net.s_addr | htonl(bits & ~mask);
	if (text && !get_addr(text, addr))
		return err_set(err, -EINVAL, "%s '%s' is no IPv4 address", key, text);
	a = ntohl(addr->s_addr);
	if ((addr->s_addr & cfg->mask.s_addr) != cfg->net.s_addr || (a & ~mask) == 0 || (a & ~mask) == ~mask) {
		char net[INET_ADDRSTRLEN];

		inet_ntop(AF_INET, &cfg->net, net, sizeof(net));
		return err_set(err, -EINVAL, "%s '%s' is not an address of the network %s", key, text ? text : "", net);
	}
	return 0;
}

static int addresses4(struct config *cfg, const struct texts *t, struct err *err)
{
	int rc;

	if (!parse_net(t->net ? t->net : "10.0.2.0/24", &cfg->net, &cfg->mask))
		return err_set(err, -EINVAL, "net '%s' is no network of eight addresses or more; it is like 10.0.2.0/24", t->net);
	rc = inside(cfg, "host", t->host, HOST_BITS, &cfg->host, err);
	if (rc == 0)
		rc = inside(cfg, "dhcpstart", t->dhcpstart, DHCP_BITS, &cfg->dhcpstart, err);
	if (rc == 0)
		rc = inside(cfg, "dns", t->dns, DNS_BITS, &cfg->dns, err);
	if (rc < 0)
		return rc;
	if (cfg->host.s_addr == cfg->dns.s_addr)
		return err_set(err, -EINVAL, "host and dns must have different addresses");
	if (cfg->dhcpstart.s_addr == cfg->host.s_addr || cfg->dhcpstart.s_addr == cfg->dns.s_addr)
		return err_set(err, -EINVAL, "dhcpstart must not be the address of host or dns");
	return 0;
}

static bool same_prefix(const struct in6_addr *a, const struct in6_addr *b, unsigned bits)
{
	unsigned bytes = bits / 8, rest = bits % 8;

	return memcmp(a, b, bytes) == 0 && (!rest || (a->s6_addr[bytes] ^ b->s6_addr[bytes]) >> (8 - rest) == 0);
}

static int inside6(const struct config *cfg, const char *key, const char *text, uint8_t last, struct in6_addr *addr, struct err *err)
{
	*addr = cfg->net6;
	addr->s6_addr[15] |= last;
	if (text && inet_pton(AF_INET6, text, addr) != 1)
		return err_set(err, -EINVAL, "%s '%s' is no IPv6 address", key, text);
	if (!same_prefix(addr, &cfg->net6, cfg->prefix6))
		return err_set(err, -EINVAL, "%s '%s' is not an address of the IPv6 network", key, text);
	return 0;
}

static int addresses6(struct config *cfg, const struct texts *t, struct err *err)
{
	const char *net = t->ipv6_net ? t->ipv6_net : "fec0::/64", *slash = strchr(net, '/');
	size_t len = slash ? (size_t)(slash - net) : strlen(net);
	char addr[INET6_ADDRSTRLEN] = "";
	int rc;

	if (len < sizeof(addr))
		memcpy(addr, net, len);
	cfg->prefix6 = 64;
	if (!addr[0] || inet_pton(AF_INET6, addr, &cfg->net6) != 1 || (slash && !parse_bits(slash + 1, 126, &cfg->prefix6)))
		return err_set(err, -EINVAL, "ipv6-net '%s' is no IPv6 network; it is like fec0::/64", net);
	rc = inside6(cfg, "ipv6-host", t->ipv6_host, 2, &cfg->host6, err);
	if (rc == 0)
		rc = inside6(cfg, "ipv6-dns", t->ipv6_dns, 3, &cfg->dns6, err);
	if (rc == 0 && memcmp(&cfg->host6, &cfg->dns6, sizeof(cfg->dns6)) == 0)
		rc = err_set(err, -EINVAL, "ipv6-host and ipv6-dns must have different addresses");
	return rc;
}

/* The value of `arg` when it is KEY=VALUE. */
static const char *value_of(const char *arg, const char *key)
{
	size_t len = strlen(key);

	return strncmp(arg, key, len) == 0 && arg[len] == '=' ? arg + len + 1 : NULL;
}

static int set_string(struct config *cfg, struct texts *t, const char *arg, struct err *err)
{
	const struct {
		const char *key;
		const char **to;
		size_t max;
	} strings[] = {
		{ "net", &t->net, 100 }, { "host", &t->host, 100 }, { "dhcpstart", &t->dhcpstart, 100 }, { "dns", &t->dns, 100 },
		{ "ipv6-net", &t->ipv6_net, 100 }, { "ipv6-host", &t->ipv6_host, 100 }, { "ipv6-dns", &t->ipv6_dns, 100 },
		{ "hostname", &cfg->hostname, 32 }, /* what libslirp keeps of it */
		{ "domainname", &cfg->domainname, DHCP_STRING_MAX }, { "bootfile", &cfg->bootfile, 127 }, /* RFC 951's field */
		{ "tftp-server-name", &cfg->tftp_server_name, DHCP_STRING_MAX }, { "tftp", &cfg->tftp, 4095 },
		{ "metadata", &cfg->metadata, 4095 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(strings); i++) {
		const char *value = value_of(arg, strings[i].key);

		if (!value)
			continue;
		if (!value[0] || strlen(value) > strings[i].max)
			return err_set(err, -EINVAL, "%s must have 1 to %zu bytes", strings[i].key, strings[i].max);
		*strings[i].to = value;
		return 0;
	}
	return err_set(err, -EINVAL, "'%s' is not known to this kite-user-net; is it of the same build as kite?", arg);
}

static int set_switch(bool *to, const char *key, const char *value, struct err *err)
{
	*to = strcmp(value, "on") == 0;
	return *to || strcmp(value, "off") == 0 ? 0 : err_set(err, -EINVAL, "%s must be on or off", key);
}

static int add_rule(struct config *cfg, const char *arg, bool *taken, struct err *err)
{
	const char *host = value_of(arg, "hostfwd"), *guest = value_of(arg, "guestfwd"), *search = value_of(arg, "dnssearch");
	size_t *n = host ? &cfg->n_hostfwd : guest ? &cfg->n_guestfwd : &cfg->n_dnssearch;

	*taken = host || guest || search;
	if (!*taken)
		return 0;
	if (*n == CONFIG_MAX_RULES)
		return err_set(err, -E2BIG, "there can be at most %d rules of a kind ('%s')", CONFIG_MAX_RULES, arg);
	if (host)
		return config_hostfwd(&cfg->hostfwd[(*n)++], host, false, err);
	if (guest)
		return config_guestfwd(&cfg->guestfwd[(*n)++], guest, err);
	if (!search[0] || strlen(search) > DHCP_STRING_MAX)
		return err_set(err, -EINVAL, "dnssearch must have 1 to %d bytes", DHCP_STRING_MAX);
	cfg->dnssearch[(*n)++] = search;
	return 0;
}

static int set_one(struct config *cfg, struct texts *t, const char *arg, struct err *err)
{
	const char *value;
	bool taken;
	int rc;

	if ((value = value_of(arg, "restrict")))
		return set_switch(&cfg->restricted, "restrict", value, err);
	if ((value = value_of(arg, "ipv4")))
		return set_switch(&cfg->ipv4, "ipv4", value, err);
	if ((value = value_of(arg, "ipv6")))
		return set_switch(&cfg->ipv6, "ipv6", value, err);
	rc = add_rule(cfg, arg, &taken, err);
	return rc < 0 || taken ? rc : set_string(cfg, t, arg, err);
}

static bool guestfwd_at(const struct config *cfg, uint32_t addr)
{
	for (size_t i = 0; i < cfg->n_guestfwd; i++)
		if (cfg->guestfwd[i].addr.s_addr == addr)
			return true;
	return false;
}

/* libslirp's own rule: in the network, and not the host's or the DNS server's address. */
static int check_guestfwds(const struct config *cfg, struct err *err)
{
	for (size_t i = 0; i < cfg->n_guestfwd; i++) {
		uint32_t addr = cfg->guestfwd[i].addr.s_addr;
		char text[INET_ADDRSTRLEN];

		inet_ntop(AF_INET, &cfg->guestfwd[i].addr, text, sizeof(text));
		if ((addr & cfg->mask.s_addr) != cfg->net.s_addr || addr == cfg->host.s_addr || addr == cfg->dns.s_addr)
			return err_set(err, -EINVAL, "guestfwd: %s must be an address of the guest's network, and not that of host or dns", text);
	}
	return 0;
}

/* The metadata are at an address of the network for libslirp: the highest that is free. */
static void add_metadata(struct config *cfg)
{
	struct guestfwd *fwd = &cfg->guestfwd[cfg->n_guestfwd];
	uint32_t a = (ntohl(cfg->net.s_addr) | ~ntohl(cfg->mask.s_addr)) - 1;

	while (htonl(a) == cfg->host.s_addr || htonl(a) == cfg->dns.s_addr || htonl(a) == cfg->dhcpstart.s_addr || guestfwd_at(cfg, htonl(a)))
		a--;
	*fwd = (struct guestfwd){ .addr.s_addr = htonl(a), .port = 80, .kind = GUESTFWD_METADATA };
	cfg->n_guestfwd++;
}

int config_parse(struct config *cfg, char *const *args, int n, struct err *err)
{
	struct texts t = { 0 };
	int rc = 0;

	*cfg = (struct config){ .ipv4 = true, .ipv6 = true };
	for (int i = 0; rc == 0 && i < n; i++)
		rc = set_one(cfg, &t, args[i], err);
	if (rc == 0)
		rc = addresses4(cfg, &t, err);
	if (rc == 0)
		rc = addresses6(cfg, &t, err);
	if (rc == 0)
		rc = check_guestfwds(cfg, err);
	if (rc < 0)
		return rc;
	if (!cfg->ipv4 && !cfg->ipv6)
		return err_set(err, -EINVAL, "ipv4 and ipv6 cannot both be off");
	if (!cfg->ipv4 && (cfg->n_hostfwd || cfg->n_guestfwd || cfg->metadata))
		return err_set(err, -EINVAL, "hostfwd, guestfwd and metadata need ipv4");
	if (cfg->metadata)
		add_metadata(cfg);
	return 0;
}
