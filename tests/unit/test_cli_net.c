/* SPDX-License-Identifier: MIT */
/* Networks on the command line: what lines configure, and what is said about wrong ones. */
#include <check.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/fake_cli.h"
#include "vmm/cli.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define PREFIX "-nodefaults -kernel K"

/* Bits of features that are off unless asked for, and mq, which one queue has not. */
#define OFF_BY_DEFAULT (BIT64(60) | BIT64(57) | BIT64(22))

struct text {
	char s[4096];
	size_t n;
};

static void put(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void put(struct text *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	t->n += (size_t)vsnprintf(t->s + t->n, sizeof(t->s) - t->n, fmt, ap);
	va_end(ap);
	ck_assert_uint_lt(t->n, sizeof(t->s));
}

static void put_string(struct text *t, const char *key, const char *value)
{
	if (value)
		put(t, " %s=%s", key, value);
}

static void put_strings(struct text *t, const char *key, const struct strv *s)
{
	for (size_t i = 0; i < s->n; i++)
		put_string(t, key, s->v[i]);
}

static void put_fds(struct text *t, const char *key, const int *fds, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		put(t, "%s%s%d", i ? ":" : " ", i ? "" : key, fds[i]);
}

static void show_tap(struct text *t, const struct config_tap *p)
{
	put_string(t, "if", p->ifname);
	put_fds(t, "fd", p->fds, p->n_fds);
	put_string(t, "br", p->bridge);
	put_string(t, "helper", p->helper);
	if (p->script)
		put(t, " up=%s%s", p->script_default ? "?" : "", p->script_default ? "" : p->script);
	if (p->downscript && strcmp(p->downscript, "/etc/qemu-ifdown"))
		put(t, " down=%s", p->downscript);
	if (p->queues != 1)
		put(t, " q%u", p->queues);
	if (p->sndbuf)
		put(t, " snd%" PRIu64, p->sndbuf);
	if (p->vnet_hdr != CONFIG_AUTO)
		put(t, " hdr%s", p->vnet_hdr == CONFIG_ON ? "+" : "-");
	if (p->vhost)
		put(t, " vhost%s", p->vhost_force ? "!" : "");
	put_fds(t, "v", p->vhost_fds, p->n_vhost_fds);
	if (p->poll_us)
		put(t, " poll%" PRIu64, p->poll_us);
}

static void show_user(struct text *t, const struct config_user_net *u)
{
	put_string(t, "net", u->net);
	put_string(t, "host", u->host);
	put_string(t, "dns", u->dns);
	put_string(t, "dhcpstart", u->dhcpstart);
	put_string(t, "hostname", u->hostname);
	put_string(t, "domainname", u->domainname);
	put_string(t, "tftp", u->tftp);
	put_string(t, "bootfile", u->bootfile);
	put_string(t, "server", u->tftp_server_name);
	put_string(t, "net6", u->ipv6_net);
	put_string(t, "host6", u->ipv6_host);
	put_string(t, "dns6", u->ipv6_dns);
	put_string(t, "helper", u->helper);
	put_string(t, "metadata", u->metadata);
	put(t, "%s%s%s", u->ipv4 ? "" : " -4", u->ipv6 ? "" : " -6", u->restrict_host ? " restrict" : "");
	put_strings(t, "search", &u->dnssearch);
	put_strings(t, "fwd", &u->hostfwd);
	put_strings(t, "guest", &u->guestfwd);
}

static void show_addr(struct text *t, const char *key, const struct config_net_addr *a)
{
	switch (a->type) {
	case CONFIG_NET_NONE:
		break;
	case CONFIG_NET_INET:
		put(t, " %s=%s|%s%s%s", key, a->host, a->port, a->ipv4 ? "+4" : "", a->ipv6 ? "+6" : "");
		break;
	case CONFIG_NET_UNIX:
		put(t, " %s=%s%s", key, a->abstract ? "@" : "", a->path);
		break;
	case CONFIG_NET_FD:
		put(t, " %s=%d", key, a->fd);
		break;
	}
}

static void show_netdev(struct text *t, const struct config_netdev *n)
{
	static const char *const types[] = { "tap", "user", "stream", "dgram" };

	put(t, "%s%s(%s%s", t->n ? " " : "", n->id, types[n->type], n->optional ? "?" : "");
	switch (n->type) {
	case CONFIG_NETDEV_TAP:
		show_tap(t, &n->tap);
		break;
	case CONFIG_NETDEV_USER:
		show_user(t, &n->user);
		break;
	case CONFIG_NETDEV_STREAM:
		show_addr(t, "addr", &n->stream.addr);
		put(t, "%s", n->stream.server ? " server" : "");
		if (n->stream.reconnect_ms)
			put(t, " again%" PRIu64, n->stream.reconnect_ms);
		break;
	case CONFIG_NETDEV_DGRAM:
		show_addr(t, "local", &n->dgram.local);
		show_addr(t, "remote", &n->dgram.remote);
		break;
	}
	put(t, ")");
}

static void show_nic(struct text *t, const struct config_nic *n)
{
	uint64_t differs = n->features_off ^ OFF_BY_DEFAULT;

	put(t, "%s%s<%s>%02x%02x%02x", t->n ? " " : "", n->id, n->netdev ? n->netdev : "", n->mac[3], n->mac[4], n->mac[5]);
	if (n->mac[0] != 0x52 || n->mac[1] != 0x54 || n->mac[2])
		put(t, "/%02x%02x%02x", n->mac[0], n->mac[1], n->mac[2]);
	if (n->pci.addr != CONFIG_ADDR_AUTO)
		put(t, "@%02x.%x", (unsigned)n->pci.addr >> 3, (unsigned)n->pci.addr & 7);
	if (n->pci.vectors != -1)
		put(t, "+v%d", n->pci.vectors);
	put(t, "%s%s", n->pci.modern_only ? "+modern" : "", n->pci.legacy_only ? "+legacy" : "");
	if (n->queues != 1)
		put(t, "+q%u", n->queues);
	if (n->iothread)
		put(t, "+io:%s", n->iothread);
	if (n->rx_queue_size != 256 || n->tx_queue_size != 256)
		put(t, "+%u/%u", n->rx_queue_size, n->tx_queue_size);
	if (n->host_mtu)
		put(t, "+mtu%u", n->host_mtu);
	if (n->speed != UINT32_MAX || n->duplex)
		put(t, "+%u%c", n->speed, "?hf"[n->duplex]);
	for (unsigned bit = 0; bit < 64; bit++)
		if (differs & BIT64(bit))
			put(t, "%c%u", n->features_off & BIT64(bit) ? '-' : '+', bit);
	for (unsigned i = 0; i < CONFIG_NET_LIMITS; i++)
		if (n->limits.avg[i])
			put(t, "+limit%u:%" PRIu64 "/%" PRIu64 "/%" PRIu64, i, n->limits.avg[i], n->limits.max[i], n->limits.length[i]);
	if (n->bootindex != -1)
		put(t, "+boot%d", n->bootindex);
}

static void show(struct text *t, const struct vm_config *cfg)
{
	t->n = 0;
	t->s[0] = '\0';
	for (size_t i = 0; i < cfg->n_netdevs; i++)
		show_netdev(t, &cfg->netdevs[i]);
	for (size_t i = 0; i < cfg->n_nics; i++)
		show_nic(t, &cfg->nics[i]);
}

static int parse(const char *line, struct vm_config *cfg, struct err *err)
{
	enum cli_action action = CLI_HELP;
	struct fake_cli w;
	int ret;

	fake_cli_split(&w, PREFIX, line);
	config_init(cfg);
	ret = cli_parse(w.n, w.v, cfg, &action, err);
	if (ret < 0)
		return ret;
	ck_assert_int_eq(action, CLI_RUN);
	fake_cli_again(cfg);
	return 0;
}

#define T "-netdev tap,id=t,script=no "
#define N "-device virtio-net-pci,netdev=t"
#define MICROVM "-machine microvm "
#define UUID "-uuid 01234567-89ab-cdef-0123-456789abcdef "

static const struct {
	const char *line, *expected;
} good[] = {
	{ "", "" },
	/* nobody said anything */
	{ "!-kernel K", "#net0(user?) virtio-net0<#net0>123456" },
	{ "!-kernel K -net none", "" },
	{ "!-kernel K -nic none", "" },
	{ "!-kernel K -netdev user,id=u", "u(user)" },
	{ "!-kernel K -device virtio-net-pci", "virtio-net0<>123456" },
	{ "!-kernel K -M microvm", "" },
	/* tap */
	{ "-netdev tap,id=t", "t(tap up=?)" },
	{ "-netdev tap,id=t,ifname=tap7,script=/up,downscript=/down", "t(tap if=tap7 up=/up down=/down)" },
	{ "-netdev tap,id=t,script=no,downscript=no", "t(tap)" },
	{ "-netdev tap,id=t,script=,queues=4,vnet_hdr=off,sndbuf=1M", "t(tap q4 snd1048576 hdr-)" },
	{ "-netdev tap,id=t,fd=7", "t(tap fd7)" },
	{ "-netdev tap,id=t,fds=7:8:0x9", "t(tap fd7:8:9 q3)" },
	{ "-netdev tap,id=t,fds=7:8,vhostfds=9:10", "t(tap fd7:8 q2 vhost v9:10)" },
	{ T, "t(tap)" },
	{ "-netdev tap,id=t,script=no,vhost=on", "t(tap vhost)" },
	{ "-netdev tap,id=t,script=no,vhost", "t(tap vhost)" },
	{ "-netdev tap,id=t,script=no,vhostforce=on,poll-us=50", "t(tap vhost! poll50)" },
	{ "-netdev tap,id=t,script=no,vhost=on,vhostfd=5", "t(tap vhost v5)" },
	{ "-netdev tap,id=t,br=virbr0", "t(tap br=virbr0)" },
	{ "-netdev tap,id=t,helper=/h", "t(tap br=br0 helper=/h)" },
	{ "-netdev bridge,id=b", "b(tap br=br0)" },
	{ "-netdev bridge,id=b,br=lan,helper=/h", "b(tap br=lan helper=/h)" },
	{ "-netdev {\"type\":\"tap\",\"id\":\"t\",\"ifname\":\"a\",\"script\":\"no\",\"queues\":2,\"vhost\":true,\"vnet_hdr\":true}",
	  "t(tap if=a q2 hdr+ vhost)" },
	/* user */
	{ "-netdev user,id=u", "u(user)" },
	{ "-netdev user,id=u,net=10.0.3.0/24,host=10.0.3.1,dns=10.0.3.9,dhcpstart=10.0.3.50,hostname=h,domainname=d,restrict=on",
	  "u(user net=10.0.3.0/24 host=10.0.3.1 dns=10.0.3.9 dhcpstart=10.0.3.50 hostname=h domainname=d restrict)" },
	{ "-netdev user,id=u,hostfwd=tcp::22-:22,hostfwd=udp:127.0.0.1:53-:53,guestfwd=tcp:10.0.2.100:80-cmd:nc~a~b,dnssearch=a,dnssearch=b",
	  "u(user search=a search=b fwd=tcp::22-:22 fwd=udp:127.0.0.1:53-:53 guest=tcp:10.0.2.100:80-cmd:nc a b)" },
	{ "-netdev user,id=u,ipv6=off,tftp=/t,bootfile=b,tftp-server-name=s,metadata=/m,helper=/h",
	  "u(user tftp=/t bootfile=b server=s helper=/h metadata=/m -6)" },
	{ "-netdev user,id=u,ipv4=off,ipv6-net=fd00::/64,ipv6-host=fd00::2,ipv6-dns=fd00::3",
	  "u(user net6=fd00::/64 host6=fd00::2 dns6=fd00::3 -4)" },
	{ "-netdev {\"type\":\"user\",\"id\":\"u\",\"hostfwd\":[{\"str\":\"tcp::1-:2\"},{\"str\":\"tcp::3-:4\"}],\"dnssearch\":[\"x\"],\"restrict\":true}",
	  "u(user restrict search=x fwd=tcp::1-:2 fwd=tcp::3-:4)" },
	/* stream, dgram, socket */
	{ "-netdev stream,id=s,addr.type=unix,addr.path=/p", "s(stream addr=/p)" },
	{ "-netdev stream,id=s,server=on,addr.type=unix,addr.path=p,addr.abstract=on", "s(stream addr=@p server)" },
	{ "-netdev stream,id=s,addr.type=inet,addr.host=h,addr.port=12,reconnect=3", "s(stream addr=h|12 again3000)" },
	{ "-netdev stream,id=s,addr.type=inet,addr.host=,addr.port=12,addr.ipv4=on,server,reconnect-ms=0", "s(stream addr=|12+4 server)" },
	{ "-netdev stream,id=s,addr.type=inet,addr.host=h,addr.port=1,addr.ipv4=off", "s(stream addr=h|1+6)" },
	{ "-netdev stream,id=s,addr.type=inet,addr.host=h,addr.port=1,addr.ipv4=on,addr.ipv6=on", "s(stream addr=h|1)" },
	{ "-netdev stream,id=s,addr.type=fd,addr.str=9", "s(stream addr=9)" },
	{ "-netdev {\"type\":\"stream\",\"id\":\"s\",\"server\":false,\"addr\":{\"type\":\"inet\",\"host\":\"h\",\"port\":\"5\"}}", "s(stream addr=h|5)" },
	{ "-netdev dgram,id=d,local.type=inet,local.host=l,local.port=1,remote.type=inet,remote.host=r,remote.port=2",
	  "d(dgram local=l|1 remote=r|2)" },
	{ "-netdev dgram,id=d,remote.type=inet,remote.host=224.0.0.1,remote.port=2", "d(dgram remote=224.0.0.1|2)" },
	{ "-netdev dgram,id=d,local.type=unix,local.path=/l,remote.type=unix,remote.path=/r", "d(dgram local=/l remote=/r)" },
	{ "-netdev dgram,id=d,local.type=fd,local.str=3", "d(dgram local=3)" },
	{ "-netdev socket,id=s,listen=:1234", "s(stream addr=|1234 server)" },
	{ "-netdev socket,id=s,connect=[::1]:1234", "s(stream addr=::1|1234)" },
	{ "-netdev socket,id=s,fd=4", "s(stream addr=4)" },
	{ "-netdev socket,id=s,udp=h:1,localaddr=:2", "s(dgram local=|2 remote=h|1)" },
	{ "-netdev socket,id=s,mcast=230.0.0.1:1234,localaddr=10.0.0.1", "s(dgram local=10.0.0.1|0 remote=230.0.0.1|1234)" },
	/* cards */
	{ T N, "t(tap) virtio-net0<t>123456" },
	{ T "-device virtio-net,netdev=t", "t(tap) virtio-net0<t>123456" },
	{ N " " T, "t(tap) virtio-net0<t>123456" },
	{ MICROVM T "-device virtio-net-device,netdev=t,mq=off", "t(tap) virtio-net0<t>123456" },
	{ T "-device virtio-net-pci-non-transitional,netdev=t,id=n,mac=52:54:00:ab:CD:ef,addr=4", "t(tap) n<t>abcdef@04.0+modern" },
	{ T "-device virtio-net-pci-transitional,netdev=t,disable-modern=on,vectors=0,mac=02-00-5E-00-00-01,romfile=,rombar=0",
	  "t(tap) virtio-net0<t>000001/02005e+v0+legacy" },
	{ "-object iothread,id=i " T N ",iothread=i,rx_queue_size=1024,tx_queue_size=512,host_mtu=9000,speed=1000,duplex=full,bootindex=1",
	  "t(tap) virtio-net0<t>123456+io:i+1024/512+mtu9000+1000f+boot1" },
	{ "-netdev tap,id=t,script=no,queues=4 " N, "t(tap q4) virtio-net0<t>123456+q4+22" },
	{ "-netdev tap,id=t,script=no,queues=4 " N ",mq=on,vectors=10", "t(tap q4) virtio-net0<t>123456+v10+q4+22" },
	{ "-netdev tap,id=t,script=no,queues=4 " N ",mq=off", "t(tap q4) virtio-net0<t>123456" },
	{ T N ",csum=off", "t(tap) virtio-net0<t>123456-0-6-11-12-13-14-56" },
	{ T N ",guest_csum=off,mrg_rxbuf=off,status=off", "t(tap) virtio-net0<t>123456-1-7-8-9-10-15-16-54-55" },
	{ T N ",ctrl_vq=off", "t(tap) virtio-net0<t>123456-2-17-18-19-20-21-23" },
	{ T N ",noctrl_rx,host_ufo=off,rss=on,hash=on", "t(tap) virtio-net0<t>123456-14-18-20+57+60" },
	{ T N ",rx-bps=1000,tx-bps=2000,tx-bps-max=3000,tx-bps-max-length=4,rx-pps=5,tx-pps=6",
	  "t(tap) virtio-net0<t>123456+limit0:1000/0/0+limit1:5/0/0+limit2:2000/3000/4+limit3:6/0/0" },
	{ "-device {\"driver\":\"virtio-net-pci\",\"netdev\":\"t\",\"mac\":\"52:54:00:00:00:07\",\"mq\":true,\"host_mtu\":1400} " T,
	  "t(tap) virtio-net0<t>000007+mtu1400" },
	/* addresses */
	{ "-device virtio-net-pci -device virtio-net-pci,mac=52:54:00:12:34:56 -device virtio-net-pci",
	  "virtio-net0<>123457 virtio-net1<>123456 virtio-net2<>123458" },
	/* pairs */
	{ "-nic user", "#net0(user) virtio-net0<#net0>123456" },
	{ "-nic user,hostfwd=tcp::22-:22,model=virtio-net-pci,mac=52:54:00:00:00:01 -nic tap,script=no,ifname=a,id=x",
	  "#net0(user fwd=tcp::22-:22) x(tap if=a) virtio-net0<#net0>000001 virtio-net1<x>123456" },
	{ "-nic none -nic user,model=virtio,macaddr=52:54:00:00:00:02", "#net0(user) virtio-net0<#net0>000002" },
	{ "-nic bridge,br=lan,addr=7", "#net0(tap br=lan) virtio-net0<#net0>123456@07.0" },
	{ "-net nic -net user", "#net0(user) virtio-net0<#net0>123456" },
	{ "-net user,hostfwd=tcp::22-:22 -net nic,macaddr=52:54:00:00:00:03,model=virtio,name=eth,vectors=3",
	  "#net0(user fwd=tcp::22-:22) eth<#net0>000003+v3" },
	{ T "-net nic,netdev=t", "t(tap) virtio-net0<t>123456" },
	{ "-net nic", "virtio-net0<>123456" },
	{ "-net none -net nic", "virtio-net0<>123456" },
};

START_TEST(good_lines)
{
	struct err err = ERR_INIT;
	struct vm_config *cfg = calloc(1, sizeof(*cfg));
	struct text t;
	int ret = parse(good[_i].line, cfg, &err);

	ck_assert_msg(ret == 0, "%s: %s", good[_i].line, err.msg);
	show(&t, cfg);
	ck_assert_str_eq(t.s, good[_i].expected);
	config_fini(cfg);
	free(cfg);
}
END_TEST

static const struct {
	const char *line, *words; /* part of the message */
} bad[] = {
	{ "-netdev tap", "-netdev tap: property 'id' is missing" },
	{ "-netdev id=x", "-netdev: property 'type' is missing" },
	{ "-netdev tpa,id=t", "unknown type 'tpa'; did you mean 'tap'?" },
	{ "-netdev carrier-pigeon,id=t", "known: tap, bridge, user, stream, dgram, socket" },
	{ "-netdev hubport,id=h,hubid=0", "type 'hubport' is not available: Kite has no hubs" },
	{ "-netdev passt,id=p", "start passt by itself" },
	{ "-netdev vhost-user,id=v,chardev=c", "Kite has no vhost-user yet" },
	{ "-netdev tap,id=3", "is not an identifier" },
	{ T T, "there is already a network back end with the id 't'" },
	{ "-netdev tap,id=t,ifname=sixteencharacter", "longer than 15 bytes" },
	{ "-netdev tap,id=t,ifnmae=a", "did you mean 'ifname'?" },
	{ "-netdev tap,id=t,queues=9", "from 1 to 8" },
	{ "-netdev tap,id=t,queues=0", "from 1 to 8" },
	{ "-netdev tap,id=t,fd=x", "expected the number of a descriptor that Kite inherits, got 'x'" },
	{ "-netdev tap,id=t,fd=-1", "expected the number" },
	{ "-netdev tap,id=t,fd=3:4", "give several with fds=" },
	{ "-netdev tap,id=t,fds=3:", "expected the number of a descriptor that Kite inherits, got ''" },
	{ "-netdev tap,id=t,fds=3:3", "descriptor 3 is given twice" },
	{ "-netdev tap,id=t,fds=3:4:5:6:7:8:9:10:11", "more than 8 descriptors" },
	{ "-netdev tap,id=t,fd=3,fds=4", "'fds' does not go with 'fd'" },
	{ "-netdev tap,id=t,fd=3,ifname=a", "'ifname' does not go with 'fd'" },
	{ "-netdev tap,id=t,fds=3:4,queues=2", "'queues' does not go with 'fds'" },
	{ "-netdev tap,id=t,br=b,script=no", "'script' does not go with 'br'" },
	{ "-netdev tap,id=t,helper=h,fd=3", "'helper' does not go with 'fd'" },
	{ "-netdev tap,id=t,vhost=off,vhostfd=3", "vhost=off and 'vhostfd' contradict each other" },
	{ "-netdev tap,id=t,vhost=off,vhostforce=on", "vhost=off and 'vhostforce' contradict" },
	{ "-netdev tap,id=t,queues=2,vhostfds=3", "1 descriptors for 2 queue pairs" },
	{ "-netdev tap,id=t,vhostfd=3,vhostfds=4", "give vhostfd or vhostfds" },
	{ "-netdev bridge,id=b,ifname=x", "unknown property 'ifname'" },
	{ "-netdev user,id=u,smb=/x", "Kite has no SMB server" },
	{ "-netdev user,id=u,ipv4=off,ipv6=off", "leave nothing" },
	{ "-netdev user,id=u,hostfwd=", "property 'hostfwd': may not be empty" },
	{ "-netdev user,id=u,hostfw=tcp::1-:1", "did you mean 'hostfwd'?" },
	{ "-netdev {\"type\":\"user\",\"id\":\"u\",\"hostfwd\":[{\"st\":\"x\"}]}", "an array may not hold objects" },
	{ "-netdev {\"type\":\"user\",\"id\":\"u\",\"restrict\":\"on\"}", "expected true or false, got a string" },
	{ "-netdev stream,id=s", "property 'addr.type' is missing" },
	{ "-netdev stream,id=s,addr.type=vsock", "'vsock' is not one of none, inet, unix, fd" },
	{ "-netdev stream,id=s,addr.type=unix", "'addr.path' is missing: addr.type=unix needs it" },
	{ "-netdev stream,id=s,addr.type=unix,addr.path=p,addr.host=h", "'addr.host' needs addr.type=inet" },
	{ "-netdev stream,id=s,addr.type=inet,addr.host=h", "'addr.port' is missing" },
	{ "-netdev stream,id=s,addr.type=inet,addr.host=h,addr.port=1,addr.ipv4=off,addr.ipv6=off", "leave nothing" },
	{ "-netdev stream,id=s,addr.type=fd,addr.str=name", "expected the number" },
	{ "-netdev stream,id=s,server=on,addr.type=unix,addr.path=p,reconnect=1", "only a client" },
	{ "-netdev stream,id=s,addr.type=unix,addr.path=p,reconnect=1,reconnect-ms=1", "not both" },
	{ "-netdev dgram,id=d", "'remote.type' is missing" },
	{ "-netdev dgram,id=d,remote.type=fd,remote.str=3", "give it as local.type=fd" },
	{ "-netdev dgram,id=d,remote.type=unix,remote.path=p", "needs local.type=unix" },
	{ "-netdev dgram,id=d,local.type=unix,local.path=p,remote.type=inet,remote.host=h,remote.port=1", "does not go with" },
	{ "-netdev socket,id=s", "give one of listen, connect, fd, udp and mcast" },
	{ "-netdev socket,id=s,listen=:1,connect=:2", "give one of" },
	{ "-netdev socket,id=s,connect=host", "expected HOST:PORT, got 'host'" },
	{ "-netdev socket,id=s,udp=h:1", "needs localaddr" },
	{ "-netdev socket,id=s,fd=3,localaddr=:1", "'localaddr' needs udp or mcast" },
	{ N, "names netdev 't', which is not defined; add -netdev TYPE,id=t" },
	{ T N " " N, "netdev 't' is used by two network cards, 'virtio-net0' and 'virtio-net1'" },
	{ T N ",iothread=i", "names iothread 'i', which is not defined" },
	{ T N ",mac=1", "expected an address such as 52:54:00:12:34:56, got '1'" },
	{ T N ",mac=52:54:00:12:34:5", "expected an address" },
	{ T N ",mac=52:54:00:12:34:56:78", "expected an address" },
	{ T N ",mac=52:54:00:12:34:5g", "expected an address" },
	{ T N ",mac=53:54:00:12:34:56", "is a group's address" },
	{ T N ",mac=00:00:00:00:00:00", "is no card's address" },
	{ T N ",rx_queue_size=300", "'rx_queue_size': not a power of two" },
	{ T N ",tx_queue_size=2048", "from 64 to 1024" },
	{ T N ",host_mtu=60", "expected 68 to 65535" },
	{ T N ",host_mtu=65536", "property 'host_mtu'" },
	{ T N ",mq=on,ctrl_vq=off", "mq=on needs ctrl_vq=on" },
	{ T N ",disable-legacy=on,disable-modern=on", "leave nothing" },
	{ T N ",rx-bps-max=5", "rx-bps-max needs rx-bps" },
	{ T N ",tx-pps=5,tx-pps-max=4", "tx-pps-max is 4, less than tx-pps, 5" },
	{ T N ",tx-pps=5,tx-pps-max-length=4", "needs tx-pps-max" },
	{ T N ",addr=40", "expected SLOT[.FUNCTION]" },
	{ T N ",packed=on", "the device is made that way" },
	{ T "-device virtio-net-device,netdev=t", "use virtio-net-pci" },
	{ MICROVM T N, "microvm has no PCI bus; use virtio-net-device" },
	{ MICROVM T "-device virtio-net-device,netdev=t,addr=3", "property 'addr' is one of PCI" },
	{ MICROVM T "-device virtio-net,netdev=t,vectors=3", "device 'virtio-net0': addr, vectors" },
	{ "-device e1000,netdev=t", "-device e1000: not available: Kite's network card is virtio-net-pci" },
	{ "-device rtl8139", "-device rtl8139: not available" },
	{ "-device virtio-nte-pci", "did you mean 'virtio-net-pci'?" },
	{ "-nic user,model=e1000", "'e1000' is not available: Kite has no such card; use virtio-net-pci" },
	{ "-nic user,model=x", "it is no network card that Kite knows" },
	{ "-nic user,mac=x", "-nic user: property 'mac'" },
	{ "-nic ''", "-nic: the type is missing" },
	{ "-nic none,model=virtio", "takes no properties" },
	{ "-nic nic", "unknown type 'nic'" },
	{ "-net user", "a back end without a card; add -net nic" },
	{ "-net nic -net user -net nic", "a second card for one back end" },
	{ "-net user -net user -net nic", "a second back end: Kite has no hubs" },
	{ "-net nic,foo=1", "unknown property 'foo'" },
	{ "-device virtio-net-pci,id=a,bootindex=1 -device virtio-net-pci,id=b,bootindex=1", "'a' and 'b' have the same bootindex, 1" },
	{ "-device virtio-scsi-pci -device scsi-cd,id=a,bootindex=2 -device virtio-net-pci,id=b,bootindex=2", "'a' and 'b' have the same bootindex, 2" },
};

START_TEST(bad_lines)
{
	struct err err = ERR_INIT;
	struct vm_config *cfg = calloc(1, sizeof(*cfg));

	ck_assert_int_lt(parse(bad[_i].line, cfg, &err), 0);
	ck_assert_msg(strstr(err.msg, bad[_i].words) != NULL, "%s: %s", bad[_i].line, err.msg);
	config_fini(cfg);
	free(cfg);
}
END_TEST

/* Addresses follow from the UUID: the same every time, others for another card and another machine. */
START_TEST(addresses)
{
	static const char *const lines[] = {
		UUID "-device virtio-net-pci -device virtio-net-pci", UUID "-device virtio-net-pci -device virtio-net-pci",
		"-uuid 01234567-89ab-cdef-0123-456789abcdee -device virtio-net-pci -device virtio-net-pci",
	};
	struct vm_config *cfg = calloc(ARRAY_SIZE(lines), sizeof(*cfg));
	struct err err = ERR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		ck_assert_int_eq(parse(lines[i], &cfg[i], &err), 0);
		ck_assert_int_eq(memcmp(cfg[i].nics[0].mac, "\x52\x54\x00", 3), 0);
	}
	ck_assert_int_eq(memcmp(cfg[0].nics[0].mac, cfg[1].nics[0].mac, 6), 0);
	ck_assert_int_eq(memcmp(cfg[0].nics[1].mac, cfg[1].nics[1].mac, 6), 0);
	ck_assert_int_ne(memcmp(cfg[0].nics[0].mac, cfg[0].nics[1].mac, 6), 0);
	ck_assert_int_ne(memcmp(cfg[0].nics[0].mac, cfg[2].nics[0].mac, 6), 0);
	ck_assert_int_ne(memcmp(cfg[0].nics[0].mac, "\x52\x54\x00\x12\x34\x56", 6), 0);
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		config_fini(&cfg[i]);
	free(cfg);
}
END_TEST

/* One more than there can be. */
static void check_limit(const char *line, unsigned n, const char *words)
{
	struct vm_config *cfg = calloc(1, sizeof(*cfg));
	struct err err = ERR_INIT;
	struct text t = { .n = 0 };

	for (unsigned i = 0; i < n; i++) {
		put(&t, "%s", line);
		if (strstr(line, "id="))
			put(&t, "%u", i);
		put(&t, " ");
	}
	ck_assert_int_lt(parse(t.s, cfg, &err), 0);
	ck_assert_msg(strstr(err.msg, words) != NULL, "%s", err.msg);
	config_fini(cfg);
	free(cfg);
}

START_TEST(limits)
{
	check_limit("-device virtio-net-pci", CONFIG_MAX_NICS + 1, "more than 32 network cards");
	check_limit("-netdev user,id=u", CONFIG_MAX_NETDEVS + 1, "more than 32 network back ends");
	check_limit("-nic user", CONFIG_MAX_NETDEVS + 1, "more than 32 network back ends");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("cli_net");
	TCase *t = tcase_create("cli_net");
	SRunner *sr;
	int failed;

	suite_add_tcase(s, t);
	tcase_add_loop_test(t, good_lines, 0, ARRAY_SIZE(good));
	tcase_add_loop_test(t, bad_lines, 0, ARRAY_SIZE(bad));
	tcase_add_test(t, addresses);
	tcase_add_test(t, limits);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
