/* SPDX-License-Identifier: MIT */
/* The balloon, watchdogs and pvpanic on the command line: what lines configure, and what is said about wrong ones. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/fake_cli.h"
#include "tests/unit/suite.h"
#include "vmm/cli.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define PREFIX "-nodefaults -kernel K"

static int parse(const char *line, struct vm_config *cfg, struct err *err)
{
	enum cli_action action = CLI_HELP;
	struct fake_cli w;

	fake_cli_split(&w, PREFIX, line);
	config_init(cfg);
	*err = (struct err)ERR_INIT;
	if (cli_parse(w.n, w.v, cfg, &action, err) < 0)
		return err->code;
	fake_cli_again(cfg);
	return 0;
}

static void show(char *text, size_t size, const struct vm_config *cfg)
{
	const struct config_balloon *b = &cfg->balloon;
	size_t n = 0;

	text[0] = '\0';
	if (cfg->has_balloon)
		n += (size_t)snprintf(text + n, size - n, "%s%s%s%s%s@%d%s%s ", b->id, b->deflate_on_oom ? "+oom" : "",
				      b->free_page_reporting ? "+report" : "", b->page_poison ? "" : "-poison", b->pci.modern_only ? "+modern" : "",
				      b->pci.addr, b->iothread ? " on " : "", b->iothread ? b->iothread : "");
	for (size_t i = 0; i < cfg->n_watchdogs; i++)
		n += (size_t)snprintf(text + n, size - n, "%s:%s@%d ", cfg->watchdogs[i].id, cfg->watchdogs[i].ib700 ? "ib700" : "esb",
				      cfg->watchdogs[i].addr);
	if (cfg->pvpanic.used)
		n += (size_t)snprintf(text + n, size - n, "pvpanic:%x:%u ", cfg->pvpanic.ioport, cfg->pvpanic.events);
	if (cfg->pvpanic_pci.used)
		n += (size_t)snprintf(text + n, size - n, "pvpanic-pci@%d:%u ", cfg->pvpanic_pci.addr, cfg->pvpanic_pci.events);
	if (cfg->watchdog_action != WATCHDOG_RESET)
		n += (size_t)snprintf(text + n, size - n, "w%d ", cfg->watchdog_action);
	if (cfg->panic_action != PANIC_SHUTDOWN)
		snprintf(text + n, size - n, "p%d ", cfg->panic_action);
}

static const char *const good[][2] = {
	{ "", "" },
	{ "-device virtio-balloon", "virtio-balloon0@-1 " },
	{ "-device virtio-balloon-pci,id=b,addr=3,deflate-on-oom=on,free-page-reporting=on", "b+oom+report@24 " },
	{ "-device virtio-balloon-pci-non-transitional,page-poison=off,free-page-hint=off", "virtio-balloon0-poison+modern@-1 " },
	{ "-M microvm -device virtio-balloon-device,free-page-reporting=true", "virtio-balloon0+report@-1 " },
	{ "-device virtio-balloon,iothread=io -object iothread,id=io", "virtio-balloon0@-1 on io" },
	{ "-device i6300esb -device i6300esb,id=w,addr=0x5 -device ib700", "watchdog0:esb@-1 w:esb@40 watchdog1:ib700@-1 " },
	{ "-device pvpanic -device pvpanic-pci,addr=4", "pvpanic:505:3 pvpanic-pci@32:3 " },
	{ "-device pvpanic,ioport=0x600,events=1", "pvpanic:600:1 " },
	{ "-watchdog-action inject-nmi", "w6 " },
	{ "-action watchdog=pause,panic=none", "w3 p3 " },
	{ "-action panic=pause -action watchdog=none", "w5 p0 " },
	{ "-action panic=exit-failure,reboot=shutdown", "p2 " },
	{ "-M microvm -device ib700 -device pvpanic", "watchdog0:ib700@-1 pvpanic:505:3 " },
};

START_TEST(configures)
{
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct vm_config cfg;
		struct err err;
		char text[500];

		ck_assert_msg(parse(good[i][0], &cfg, &err) == 0, "%s: %s", good[i][0], err.msg);
		show(text, sizeof(text), &cfg);
		ck_assert_msg(!strncmp(text, good[i][1], strlen(good[i][1])) && strlen(text) <= strlen(good[i][1]) + 1, "%s: '%s', not '%s'",
			      good[i][0], text, good[i][1]);
		config_fini(&cfg);
	}
}
END_TEST

static const char *const bad[][2] = {
	{ "-device virtio-balloon -device virtio-balloon", "only one balloon" },
	{ "-device virtio-balloon,iothread=io", "no iothread 'io'" },
	{ "-device virtio-balloon,free-page-hint=on", "migration" },
	{ "-device virtio-balloon-pci,addr=99", "addr" },
	{ "-device virtio-balloon,id=a -device i6300esb,id=a", "already a device with the id 'a'" },
	{ "-M microvm -device virtio-balloon-pci", "virtio-balloon-device" },
	{ "-device virtio-balloon-device", "virtio-balloon-pci" },
	{ "-M microvm -device virtio-balloon,addr=3", "addr" },
	{ "-device ib700 -device ib700", "only one" },
	{ "-device i6300esb -device i6300esb -device i6300esb -device i6300esb -device i6300esb", "more than 4" },
	{ "-M microvm -device i6300esb", "use ib700" },
	{ "-M microvm -device pvpanic-pci", "use pvpanic" },
	{ "-device pvpanic -device pvpanic", "only one" },
	{ "-device pvpanic,events=4", "events" },
	{ "-device pvpanic,ioport=70000", "ioport" },
	{ "-watchdog-action bite", "'bite'" },
	{ "-action watchdog=bite", "bite" },
	{ "-action panic=reset", "reset" },
};

START_TEST(refuses)
{
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct vm_config cfg;
		struct err err;

		ck_assert_msg(parse(bad[i][0], &cfg, &err) < 0, "%s", bad[i][0]);
		ck_assert_msg(strstr(err.msg, bad[i][1]), "%s: '%s' without '%s'", bad[i][0], err.msg, bad[i][1]);
		config_fini(&cfg);
	}
}
END_TEST

static void nothing(void)
{
}

int main(void)
{
	const TTest *const tests[] = { configures, refuses };

	return suite_run("cli_guards", tests, ARRAY_SIZE(tests), nothing, nothing);
}
