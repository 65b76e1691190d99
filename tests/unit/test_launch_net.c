/* SPDX-License-Identifier: MIT */
/* Networks opened from a configuration, with real threads and sockets, and cards put on a bus that only counts them. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "hw/pci.h"
#include "hw/virtio.h"
#include "net/netdev.h"
#include "net/user.h"
#include "tests/unit/fake_cli.h"
#include "vmm/arch.h"
#include "vmm/cli.h"
#include "vmm/config.h"
#include "vmm/err.h"
#include "vmm/eventloop.h"
#include "vmm/guest_mem.h"
#include "vmm/iothread.h"
#include "vmm/launch_disks.h"
#include "vmm/launch_net.h"
#include "vmm/log.h"
#include "vmm/util.h"

/* ---- the machine ---- */

static struct device_env env;
static struct {
	struct virtio_dev *virtio;
	struct virtio_pci_config cfg;
} added[4];
static size_t n_added;
static bool bus_full;

const struct device_env *machine_env(struct machine *machine)
{
	(void)machine;
	return &env;
}

int machine_boot_device(struct machine *machine, const struct virtio_dev *virtio, const struct machine_boot *boot, struct err *e)
{
	(void)machine, (void)virtio, (void)e;
	ck_assert_str_eq(boot->unit, "ethernet-phy@0");
	return 0;
}

int machine_plug(struct machine *machine, struct virtio_dev *virtio, const struct virtio_pci_config *pci, struct err *e)
{
	(void)machine;
	if (bus_full) {
		virtio->ops->destroy(virtio);
		return err_set(e, -ENOSPC, "the bus is full");
	}
	added[n_added].virtio = virtio;
	added[n_added++].cfg = *pci;
	return 0;
}

/* ---- a test's own ---- */

static struct vm_config *cfg;
static struct launch_disks *disks;
static struct launch_net *net;
static struct err err;
static char dir[] = "/tmp/kite-net-XXXXXX";

static void setup(void)
{
	const struct gm_range ram = { 0, MIB };

	log_set_level(LOG_LEVEL_ERROR);
	err = (struct err)ERR_INIT;
	strcpy(dir + sizeof(dir) - 7, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	env.mem = gm_create(&ram, 1, &err);
	cfg = calloc(1, sizeof(*cfg));
	n_added = 0;
	bus_full = false;
	net = NULL;
}

static unsigned open_fds(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* 0, or what launch_net_open and launch_net_add say. "DIR" in the line is the test's directory. */
static int launch(const char *line)
{
	enum cli_action action;
	struct fake_cli w;
	char full[2048], *at;
	int r;

	snprintf(full, sizeof(full), "%s", line);
	while ((at = strstr(full, "DIR")) != NULL) {
		char rest[1024];

		snprintf(rest, sizeof(rest), "%s", at + 3);
		snprintf(at, sizeof(full) - (size_t)(at - full), "%s%s", dir, rest);
	}
	config_init(cfg);
	fake_cli_split(&w, "-kernel K", full);
	r = cli_parse(w.n, w.v, cfg, &action, &err);
	ck_assert_msg(r == 0, "%s", err.msg);
	disks = launch_disks_open(cfg, NULL, &err);
	ck_assert_ptr_nonnull(disks);
	net = launch_net_open(cfg, disks, &err);
	if (!net)
		return err.code;
	r = launch_net_add(net, NULL, true, &err);
	if (r == 0)
		r = launch_net_add(net, NULL, false, &err);
	return r ? r : launch_net_ready(net, &err);
}

static void land(void)
{
	for (; n_added; n_added--)
		added[n_added - 1].virtio->ops->destroy(added[n_added - 1].virtio);
	launch_net_close(net);
	launch_disks_close(disks);
	config_fini(cfg);
	net = NULL;
	disks = NULL;
}

static void teardown(void)
{
	char command[128];

	free(cfg);
	gm_destroy((struct guest_mem *)env.mem);
	snprintf(command, sizeof(command), "/bin/rm -rf %s", dir);
	ck_assert_int_eq(system(command), 0);
}

/* A machine without a network starts no thread for one. */
START_TEST(nothing)
{
	unsigned before = open_fds();

	ck_assert_int_eq(launch("-nodefaults"), 0);
	ck_assert_uint_eq(n_added, 0);
	ck_assert_uint_eq(open_fds(), before);
	ck_assert_ptr_null(launch_net_netdev(net, "n"));
	land();
}
END_TEST

START_TEST(cards)
{
	unsigned before = open_fds();
	struct virtio_net_state state;
	struct netdev *a, *b;

	ck_assert_msg(launch("-nodefaults -object iothread,id=io -netdev stream,id=a,server=on,addr.type=unix,addr.path=DIR/s "
			     "-netdev stream,id=b,addr.type=unix,addr.path=DIR/s "
			     "-device virtio-net-pci,netdev=a,iothread=io,mac=52:54:00:00:00:01 "
			     "-device virtio-net-pci-non-transitional,netdev=b,addr=1f,vectors=7 -device virtio-net-pci,id=bare") == 0,
		      "%s", err.msg);
	ck_assert_uint_eq(n_added, 3);
	/* Those with a place first. */
	ck_assert_str_eq(added[0].virtio->name, "virtio-net1");
	ck_assert_int_eq(added[0].cfg.devfn, 0x1f << 3);
	ck_assert_int_eq(added[0].cfg.vectors, 7);
	ck_assert(added[0].cfg.modern_only);
	ck_assert_uint_eq(added[0].cfg.class_code, 0x020000);
	ck_assert_str_eq(added[1].virtio->name, "virtio-net0");
	ck_assert_int_eq(added[1].cfg.devfn, PCI_ADDR_AUTO);
	ck_assert_str_eq(added[2].virtio->name, "bare");
	a = launch_net_netdev(net, "a");
	b = launch_net_netdev(net, "b");
	ck_assert_ptr_eq(added[1].virtio->loop, launch_disks_loop(disks, "io", &err));
	ck_assert_ptr_eq(a->loop, added[1].virtio->loop);
	ck_assert_ptr_eq(b->loop, added[0].virtio->loop);
	ck_assert_ptr_ne(a->loop, b->loop);
	ck_assert_ptr_eq(added[2].virtio->loop, b->loop);
	virtio_net_query(added[1].virtio, &state);
	ck_assert_int_eq(memcmp(state.mac, "\x52\x54\x00\x00\x00\x01", 6), 0);
	/* No cable. */
	virtio_net_query(added[2].virtio, &state);
	ck_assert(!state.link_up);
	land();
	ck_assert_uint_eq(open_fds(), before);
}
END_TEST

/* Switches, sizes and limits reach the device: seen in what it offers. */
START_TEST(features)
{
	uint64_t bits;

	ck_assert_int_eq(launch("-nodefaults -device virtio-net-pci,mrg_rxbuf=off,ctrl_vlan=off,host_mtu=1400,rx_queue_size=512,"
				"tx_queue_size=128,speed=1000,duplex=half,rss=on,rx-bps=5"),
			 0);
	bits = added[0].virtio->ops->features(added[0].virtio);
	ck_assert(!(bits & BIT64(15)) && !(bits & BIT64(19)) && !(bits & BIT64(22)));
	ck_assert((bits & BIT64(3)) && (bits & BIT64(5)) && (bits & BIT64(16)) && (bits & BIT64(17)) && (bits & BIT64(60)) && (bits & BIT64(63)));
	ck_assert_uint_eq(added[0].virtio->queues[0].size_max, 512);
	ck_assert_uint_eq(added[0].virtio->queues[1].size_max, 128);
	land();
}
END_TEST

static const struct {
	const char *line, *words;
} bad[] = {
	{ "-netdev stream,id=a,addr.type=unix,addr.path=DIR/none", "netdev a" },
	{ "-netdev tap,id=t,fd=250", "netdev 't'" },
	{ "-netdev tap,id=t,br=b,helper=/nonexistent", "netdev 't'" },
	{ "-netdev user,id=u,helper=/nonexistent", "netdev " },
	{ "-netdev dgram,id=d,local.type=fd,local.str=250", "netdev d" },
};

START_TEST(refused)
{
	char line[1024];
	unsigned before = open_fds();

	snprintf(line, sizeof(line), "-nodefaults -device virtio-net-pci,netdev=%c %s", strstr(bad[_i].line, "id=")[3], bad[_i].line);
	ck_assert_int_lt(launch(line), 0);
	ck_assert_msg(strstr(err.msg, bad[_i].words) != NULL, "%s", err.msg);
	land();
	ck_assert_uint_eq(open_fds(), before);
}
END_TEST

START_TEST(no_room)
{
	unsigned before = open_fds();

	bus_full = true;
	ck_assert_int_eq(launch("-nodefaults -device virtio-net-pci"), -ENOSPC);
	land();
	ck_assert_uint_eq(open_fds(), before);
}
END_TEST

/* What nobody asked for is not missed. */
START_TEST(optional)
{
	unsigned before = open_fds();

	ck_assert_int_eq(setenv("PATH", "/nonexistent", 1), 0);
	ck_assert_msg(launch("") == 0, "%s", err.msg);
	ck_assert_int_eq(err.code, 0);
	ck_assert_uint_eq(n_added, launch_net_netdev(net, "#net0") ? 1 : 0);
	land();
	ck_assert_uint_eq(open_fds(), before);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("launch_net");
	TCase *t = tcase_create("launch_net");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, nothing);
	tcase_add_test(t, cards);
	tcase_add_test(t, features);
	tcase_add_loop_test(t, refused, 0, ARRAY_SIZE(bad));
	tcase_add_test(t, no_room);
	tcase_add_test(t, optional);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
