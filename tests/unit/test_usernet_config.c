/* SPDX-License-Identifier: MIT */
#include "tools/user-net/config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/suite.h"
#include "tools/user-net/spawn.h"
#include "vmm/err.h"
#include "vmm/util.h"

static struct config cfg;
static struct err err;

static void setup(void)
{
	err = (struct err)ERR_INIT;
}

static void teardown(void)
{
}

static int parse(int n, const char *const *args)
{
	return config_parse(&cfg, (char *const *)(uintptr_t)args, n, &err);
}

#define PARSE(...) parse((int)ARRAY_SIZE(((const char *[]){ __VA_ARGS__ })), (const char *[]){ __VA_ARGS__ })

static void is(struct in_addr addr, const char *text)
{
	char buf[INET_ADDRSTRLEN];

	ck_assert_str_eq(inet_ntop(AF_INET, &addr, buf, sizeof(buf)), text);
}

static void is6(struct in6_addr addr, const char *text)
{
	char buf[INET6_ADDRSTRLEN];

	ck_assert_str_eq(inet_ntop(AF_INET6, &addr, buf, sizeof(buf)), text);
}

START_TEST(defaults)
{
	ck_assert_int_eq(parse(0, NULL), 0);
	is(cfg.net, "10.0.2.0");
	is(cfg.mask, "255.255.255.0");
	is(cfg.host, "10.0.2.2");
	is(cfg.dns, "10.0.2.3");
	is(cfg.dhcpstart, "10.0.2.15");
	is6(cfg.net6, "fec0::");
	is6(cfg.host6, "fec0::2");
	is6(cfg.dns6, "fec0::3");
	ck_assert_uint_eq(cfg.prefix6, 64);
	ck_assert(cfg.ipv4 && cfg.ipv6 && !cfg.restricted);
	ck_assert_uint_eq(cfg.n_hostfwd + cfg.n_guestfwd + cfg.n_dnssearch, 0);
}
END_TEST

START_TEST(networks)
{
	static const struct {
		const char *net, *addr, *mask, *host;
	} nets[] = {
		{ "net=192.168.7.0/24", "192.168.7.0", "255.255.255.0", "192.168.7.2" },
		{ "net=192.168.7.9/255.255.255.0", "192.168.7.0", "255.255.255.0", "192.168.7.2" },
		{ "net=192.168.0.0", "192.168.0.0", "255.255.0.0", "192.168.2.2" },
		{ "net=10.1.2.3", "10.0.0.0", "255.0.0.0", "10.0.2.2" },
		{ "net=172.20.0.0", "172.16.0.0", "255.240.0.0", "172.16.2.2" },
		{ "net=198.18.0.0", "198.18.0.0", "255.254.0.0", "198.18.2.2" },
		{ "net=130.1.0.0", "130.1.0.0", "255.255.0.0", "130.1.2.2" },
		{ "net=200.1.1.0", "200.1.1.0", "255.255.255.0", "200.1.1.2" },
		{ "net=10.9.0.0/27", "10.9.0.0", "255.255.255.224", "10.9.0.2" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(nets); i++) {
		ck_assert_msg(PARSE(nets[i].net) == 0, "%s: %s", nets[i].net, err.msg);
		is(cfg.net, nets[i].addr);
		is(cfg.mask, nets[i].mask);
		is(cfg.host, nets[i].host);
	}
	ck_assert_int_eq(PARSE("net=10.9.0.0/29", "host=10.9.0.1", "dns=10.9.0.2", "dhcpstart=10.9.0.3"), 0);
	ck_assert_int_eq(PARSE("ipv6-net=2001:db8::/48", "ipv6-dns=2001:db8:0:1::9"), 0);
	is6(cfg.host6, "2001:db8::2");
	is6(cfg.dns6, "2001:db8:0:1::9");
	ck_assert_uint_eq(cfg.prefix6, 48);
}
END_TEST

START_TEST(rules)
{
	ck_assert_int_eq(PARSE("hostfwd=tcp:127.0.0.1:2222-10.0.2.20:22", "hostfwd=udp::53-:5353", "hostfwd=::0-:1", "dnssearch=a", "dnssearch=b",
			       "guestfwd=tcp:10.0.2.100:80-cmd:a b:c-d", "guestfwd=:10.0.2.100:81-unix:/run/x-y", "restrict=on", "ipv6=off",
			       "hostname=h", "domainname=d", "tftp=/t", "bootfile=b", "tftp-server-name=s"), 0);
	ck_assert_uint_eq(cfg.n_hostfwd, 3);
	is(cfg.hostfwd[0].host, "127.0.0.1");
	is(cfg.hostfwd[0].guest, "10.0.2.20");
	ck_assert_uint_eq(cfg.hostfwd[0].host_port, 2222);
	ck_assert_uint_eq(cfg.hostfwd[0].guest_port, 22);
	ck_assert(!cfg.hostfwd[0].udp && cfg.hostfwd[1].udp && !cfg.hostfwd[2].udp);
	is(cfg.hostfwd[1].host, "0.0.0.0");
	ck_assert_uint_eq(cfg.n_guestfwd, 2);
	ck_assert_int_eq(cfg.guestfwd[0].kind, GUESTFWD_CMD);
	ck_assert_str_eq(cfg.guestfwd[0].target, "a b:c-d");
	ck_assert_str_eq(cfg.guestfwd[1].target, "/run/x-y");
	ck_assert_uint_eq(cfg.guestfwd[1].port, 81);
	ck_assert_str_eq(cfg.dnssearch[1], "b");
	ck_assert_ptr_null(cfg.dnssearch[2]);
	ck_assert(cfg.restricted && !cfg.ipv6);
	ck_assert_str_eq(cfg.hostname, "h");
}
END_TEST

START_TEST(metadata_address)
{
	ck_assert_int_eq(PARSE("metadata=/d"), 0);
	ck_assert_uint_eq(cfg.n_guestfwd, 1);
	is(cfg.guestfwd[0].addr, "10.0.2.254");
	ck_assert_int_eq(cfg.guestfwd[0].kind, GUESTFWD_METADATA);
	ck_assert_int_eq(PARSE("metadata=/d", "dns=10.0.2.254", "guestfwd=tcp:10.0.2.253:1-cmd:x"), 0);
	is(cfg.guestfwd[1].addr, "10.0.2.252");
}
END_TEST

START_TEST(refusals)
{
	static const struct {
		const char *arg, *text;
	} bad[] = {
		{ "net=10.0.2.0/31", "is no network" }, { "net=10.0.2.0/255.0.255.0", "is no network" }, { "net=10.0.2/24", "is no network" },
		{ "net=10.0.2.0/", "is no network" }, { "net=0.0.0.0/0", "is no network" }, { "host=1", "is no IPv4 address" },
		{ "host=10.0.2.0", "not an address of the network" }, { "host=10.0.2.255", "not an address of the network" },
		{ "dns=10.0.2.2", "different addresses" }, { "dhcpstart=10.0.2.2", "must not be" }, { "ipv6-net=fec0::/127", "no IPv6 network" },
		{ "ipv6-net=/64", "no IPv6 network" }, { "ipv6-host=fec1::1", "not an address of the IPv6 network" },
		{ "ipv6-dns=fec0::2", "different addresses" }, { "hostname=", "1 to 32" }, { "restrict=maybe", "on or off" },
		{ "nonsense=1", "not known" }, { "nonsense", "not known" }, { "hostfwd=", "no ':'" }, { "hostfwd=tcp", "no ':'" },
		{ "hostfwd=tcp:", "host's port is missing" }, { "hostfwd=tcp:::-:1", "host's port must" }, { "hostfwd=tcp::-:1", "host's port must" },
		{ "hostfwd=tcp::1-", "guest's port is missing" }, { "hostfwd=tcp::1-1.2.3:1", "guest's address" },
		{ "hostfwd=tcp::1-:65536", "guest's port must" }, { "hostfwd=tcp::1-:00022x", "guest's port must" },
		{ "hostfwd=tcp::+1-:2", "host's port must" }, { "hostfwd=tcp:1.2.3.4.5:1-:2", "host's address" },
		{ "guestfwd=udp:10.0.2.9:1-cmd:x", "protocol must be tcp" }, { "guestfwd=tcp::1-cmd:x", "server must be" },
		{ "guestfwd=tcp:10.0.2.9:1", "port must be" }, { "guestfwd=tcp:10.0.2.9:0-cmd:x", "port must be" },
		{ "guestfwd=tcp:10.0.2.9:1-cmd:", "target is not known" }, { "guestfwd=tcp:10.0.2.3:1-cmd:x", "not that of host or dns" },
		{ "guestfwd=tcp:10.1.2.3:1-cmd:x", "address of the guest's network" }, { "dnssearch=", "1 to 255" },
	};
	char longer[400] = "hostname=";

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		ck_assert_msg(PARSE(bad[i].arg) < 0, "%s was taken", bad[i].arg);
		ck_assert_msg(strstr(err.msg, bad[i].text) != NULL, "%s: '%s' does not say '%s'", bad[i].arg, err.msg, bad[i].text);
	}
	memset(longer + 9, 'x', 380);
	ck_assert_int_lt(PARSE(longer), 0);
	ck_assert_int_lt(PARSE("ipv4=off", "ipv6=off"), 0);
	ck_assert_int_lt(PARSE("ipv4=off", "hostfwd=::1-:1"), 0);
}
END_TEST

START_TEST(too_many_rules)
{
	const char *args[CONFIG_MAX_RULES + 1];

	for (size_t i = 0; i < ARRAY_SIZE(args); i++)
		args[i] = "hostfwd=::1-:1";
	ck_assert_int_eq(parse(CONFIG_MAX_RULES, args), 0);
	ck_assert_int_eq(parse(CONFIG_MAX_RULES + 1, args), -E2BIG);
	for (size_t i = 0; i < ARRAY_SIZE(args); i++)
		args[i] = "guestfwd=tcp:10.0.2.100:1-cmd:x";
	args[CONFIG_MAX_RULES] = "metadata=/d";
	ck_assert_int_eq(parse(CONFIG_MAX_RULES + 1, args), 0);
	ck_assert_uint_eq(cfg.n_guestfwd, CONFIG_MAX_RULES + 1);
}
END_TEST

START_TEST(removal)
{
	struct hostfwd fwd;

	ck_assert_int_eq(config_hostfwd(&fwd, "udp:127.0.0.1:53", true, &err), 0);
	ck_assert(fwd.udp);
	ck_assert_uint_eq(fwd.host_port, 53);
	ck_assert_int_lt(config_hostfwd(&fwd, "udp:127.0.0.1:53-:1", true, &err), 0);
}
END_TEST

static void splits(const char *text, const char *const *words, size_t n)
{
	char **argv = spawn_split(text);

	ck_assert_ptr_nonnull(argv);
	for (size_t i = 0; i < n; i++)
		ck_assert_str_eq(argv[i], words[i]);
	ck_assert_ptr_null(argv[n]);
	free(argv);
}

#define SPLITS(text, ...) splits(text, (const char *[]){ __VA_ARGS__ }, ARRAY_SIZE(((const char *[]){ __VA_ARGS__ })))

START_TEST(commands)
{
	SPLITS("a", "a");
	SPLITS("  a\tb  c ", "a", "b", "c");
	SPLITS("sh -c 'echo \"x\" \\y'", "sh", "-c", "echo \"x\" \\y");
	SPLITS("a\"b c\"d \"e\\\"f\" g\\ h ''", "ab cd", "e\"f", "g h", "");
	ck_assert_ptr_null(spawn_split(""));
	ck_assert_ptr_null(spawn_split("   "));
	ck_assert_ptr_null(spawn_split("a 'b"));
	ck_assert_ptr_null(spawn_split("a \"b\\\""));
	ck_assert_ptr_null(spawn_split("a \\"));
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { defaults, networks, rules, metadata_address, refusals, too_many_rules, removal, commands };

	return suite_run("usernet_config", tests, ARRAY_SIZE(tests), setup, teardown);
}
