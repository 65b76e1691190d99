/* SPDX-License-Identifier: MIT */
/* The commands of a machine's monitors, over a socket, with -machine none and what else needs no KVM, as the command line makes it. */
#include "vmm/monitor.h"

#include <check.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/unit/fake_frontend.h"
#include "tests/unit/suite.h"
#include "vmm/cli.h"
#include "vmm/err.h"
#include "vmm/launch_priv.h"
#include "vmm/util.h"
#include "vmm/vm.h"

#define DISK_SIZE (1 << 20)
#define LINE_MAX_ (1 << 20)

static struct vm_config cfg;
static struct launch *launch;
static struct eventloop *loop;
static int client;
static char dir[] = "/tmp/kite-monitor-XXXXXX";
static char line[LINE_MAX_];
static size_t line_len;

/* ---- the client ---- */

static void say(const char *text)
{
	ck_assert_int_eq(send(client, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static bool line_came(void *arg)
{
	(void)arg;
	while (line_len < sizeof(line) - 1 && !(line_len >= 2 && line[line_len - 1] == '\n')) {
		if (recv(client, line + line_len, 1, MSG_DONTWAIT) != 1)
			return false;
		line_len++;
	}
	return true;
}

static json_t *hear(void)
{
	json_error_t why;
	json_t *value;

	line_len = 0;
	fake_run_until(loop, line_came, NULL);
	value = json_loadb(line, line_len, 0, &why);
	ck_assert_msg(value != NULL, "%s in %.*s", why.text, (int)line_len, line);
	line[line_len] = '\0';
	return value;
}

/* Events that came before the reply are left out. */
static json_t *ask(const char *request)
{
	json_t *reply;

	say(request);
	while (json_object_get(reply = hear(), "event"))
		json_decref(reply);
	return reply;
}

/* `request` with ' for "; the reply has `part`, written in the same way. */
static void check_reply(const char *request, const char *part)
{
	char text[1024], want[1024];
	json_t *reply;

	snprintf(text, sizeof(text), "%s", request);
	snprintf(want, sizeof(want), "%s", part);
	for (char *c = text; *c; c++)
		*c = *c == '\'' ? '"' : *c;
	for (char *c = want; *c; c++)
		*c = *c == '\'' ? '"' : *c;
	reply = ask(text);
	ck_assert_msg(strstr(line, want) != NULL, "%s: %s, which lacks %s", text, line, want);
	json_decref(reply);
}

static void connect_client(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	snprintf(a.sun_path, sizeof(a.sun_path), "%s/qmp", dir);
	client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(connect(client, (struct sockaddr *)&a, sizeof(a)), 0);
	json_decref(hear());
	json_decref(ask("{\"execute\":\"qmp_capabilities\"}"));
}

/* ---- the machine ---- */

static void setup(void)
{
	char qmp[128], disk[128], drive[256];
	char *argv[] = { "kite", "-S", "-machine", "none", "-nodefaults", "-name", "testing", "-qmp", qmp, "-drive", drive,
			 "-object", "iothread,id=io1", "-chardev", "null,id=nobody" };
	enum cli_action action;
	struct err err = ERR_INIT;
	int fd;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(qmp, sizeof(qmp), "unix:%s/qmp,server=on,wait=off", dir);
	snprintf(disk, sizeof(disk), "%s/disk", dir);
	snprintf(drive, sizeof(drive), "file=%s,format=raw,if=none,id=d0", disk);
	fd = open(disk, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	ck_assert_int_eq(ftruncate(fd, DISK_SIZE), 0);
	close(fd);
	config_init(&cfg);
	ck_assert_msg(cli_parse(ARRAY_SIZE(argv), argv, &cfg, &action, &err) == 0, "%s", err.msg);
	loop = fake_loop();
	launch = launch_create(&cfg, loop, &err);
	ck_assert_msg(launch != NULL, "%s", err.msg);
	ck_assert_msg(launch_start(launch, NULL, &err) == 0, "%s", err.msg);
	connect_client();
}

static void teardown(void)
{
	char disk[128];

	close(client);
	launch_destroy(launch);
	eventloop_destroy(loop);
	config_fini(&cfg);
	snprintf(disk, sizeof(disk), "%s/disk", dir);
	unlink(disk);
	rmdir(dir);
}

/* ---- tests ---- */

static const struct {
	const char *request, *part;
} replies[] = {
	{ "{'execute':'query-name'}", "'testing'" },
	{ "{'execute':'query-kvm'}", "'present': true" },
	{ "{'execute':'query-target'}", "'x86_64'" },
	{ "{'execute':'query-cpus-fast'}", "'return': []" },
	{ "{'execute':'query-machines'}", "'alias': 'pc'" },
	{ "{'execute':'query-machines'}", "'name': 'microvm'" },
	{ "{'execute':'query-current-machine'}", "'wakeup-suspend-support': false" },
	{ "{'execute':'query-command-line-options'}", "'option': 'name', 'parameters': [{'name': 'guest', 'type': 'string'}" },
	{ "{'execute':'query-command-line-options','arguments':{'option':'boot'}}", "[{'option': 'boot'" },
	{ "{'execute':'query-command-line-options','arguments':{'option':'sandbox'}}", "[{'option': 'sandbox', 'parameters': [{'name': 'enable', 'type': 'boolean'}" },
	{ "{'execute':'query-command-line-options','arguments':{'option':'sandpit'}}", "invalid option name" },
	{ "{'execute':'human-monitor-command','arguments':{'command-line':'info status'}}", "VM status: paused (prelaunch)" },
	{ "{'execute':'human-monitor-command','arguments':{'command-line':'info block'}}", "d0: /tmp/kite-monitor-" },
	{ "{'execute':'human-monitor-command','arguments':{'command-line':'info blockstats'}}", "d0: rd_bytes=0" },
	{ "{'execute':'human-monitor-command','arguments':{'command-line':'info iothreads'}}", "poll-max-ns=" },
	{ "{'execute':'human-monitor-command','arguments':{'command-line':'info chardev'}}", "nobody: filename=null" },
	{ "{'execute':'human-monitor-command','arguments':{'command-line':'info version'}}", "Kite" },
	{ "{'execute':'human-monitor-command','arguments':{'command-line':'info name'}}", "testing" },
	{ "{'execute':'human-monitor-command','arguments':{'command-line':'info mtree'}}", "Error: the machine none" },
	{ "{'execute':'human-monitor-command','arguments':{'command-line':'info pci'}}", "'return': ''" },
	{ "{'execute':'query-pci'}", "'return': []" },
	{ "{'execute':'human-monitor-command','arguments':{'command-line':'info balloon'}}", "Error: there is no balloon" },
	{ "{'execute':'human-monitor-command','arguments':{'command-line':'info registers'}}", "'return': ''" },
	{ "{'execute':'human-monitor-command','arguments':{'command-line':'info'}}", "info mtree" },
	{ "{'execute':'human-monitor-command','arguments':{'command-line':'info nothing'}}", "Error: info: there is no" },
	{ "{'execute':'human-monitor-command','arguments':{'command-line':'help'}}", "system_powerdown" },
	{ "{'execute':'human-monitor-command','arguments':{'command-line':'set_link n0'}}", "Error: set_link needs" },
	{ "{'execute':'human-monitor-command','arguments':{'command-line':'set_link n0 off'}}", "Error: there is no network card" },
	{ "{'execute':'human-monitor-command','arguments':{'command-line':'set_link n0 perhaps'}}", "Error: expected on or off" },
	{ "{'execute':'human-monitor-command','arguments':{'command-line':'block_resize d0 x'}}", "Error: expected a size" },
	{ "{'execute':'human-monitor-command','arguments':{'command-line':'block_resize d0 18446744073709551615'}}", "Error: expected a size" },
	{ "{'execute':'human-monitor-command','arguments':{'command-line':'commit d0'}}", "the image has no other below it" },
	{ "{'execute':'human-monitor-command','arguments':{'command-line':'commit all'}}", "'return': ''" },
	{ "{'execute':'human-monitor-command','arguments':{'command-line':'commit d9'}}", "Error: there is no block device" },
	{ "{'execute':'human-monitor-command','arguments':{'command-line':'nmi'}}", "Error: the machine none" },
	{ "{'execute':'human-monitor-command','arguments':{'command-line':'dance'}}", "Error: unknown command" },
	{ "{'execute':'human-monitor-command','arguments':{'command-line':'info a b c d e'}}", "too many words" },
	{ "{'execute':'human-monitor-command','arguments':{'command-line':''}}", "'return': ''" },
	{ "{'execute':'query-tpm-models'}", "'return': []" },
	{ "{'execute':'query-tpm-types'}", "'return': []" },
	{ "{'execute':'query-jobs'}", "'return': []" },
	{ "{'execute':'query-block-jobs'}", "'return': []" },
	{ "{'execute':'query-migrate-capabilities'}", "[{'capability': 'events', 'state': false}]" },
	{ "{'execute':'migrate-set-capabilities','arguments':{'capabilities':[{'capability':'events','state':true}]}}", "'return': {}" },
	{ "{'execute':'query-migrate-capabilities'}", "[{'capability': 'events', 'state': true}]" },
	{ "{'execute':'migrate-set-capabilities','arguments':{'capabilities':[{'capability':'xbzrle','state':true}]}}", "xbzrle" },
	{ "{'execute':'query-chardev'}", "'label': 'nobody', 'filename': 'null', 'frontend-open': false" },
	{ "{'execute':'query-chardev'}", "'frontend-open': true" },
	{ "{'execute':'query-iothreads'}", "{'id': 'io1', 'thread-id': " },
	{ "{'execute':'set_link','arguments':{'name':'n0','up':false}}", "DeviceNotFound" },
	{ "{'execute':'inject-nmi'}", "no vCPU" },
	{ "{'execute':'query-block'}", "{'device': 'd0', 'type': 'unknown', 'removable': false, 'locked': false, 'io-status': 'ok', 'inserted': {" },
	{ "{'execute':'query-block'}", "'image': {'filename': " },
	{ "{'execute':'query-blockstats'}", "'rd_bytes': 0" },
	{ "{'execute':'query-blockstats','arguments':{'query-nodes':true}}", "[{'node-name': 'd0', 'stats': {" },
	{ "{'execute':'query-named-block-nodes','arguments':{'flat':true}}", "'virtual-size': 1048576" },
	{ "{'execute':'block_set_io_throttle','arguments':{'device':'d0','bps':0,'bps_rd':1000,'bps_wr':0,'iops':0,'iops_rd':0,'iops_wr':7,"
	  "'iops_wr_max':9}}", "'return': {}" },
	{ "{'execute':'query-block'}", "'bps': 0, 'bps_rd': 1000, 'bps_wr': 0, 'iops': 0, 'iops_rd': 0, 'iops_wr': 7" },
	{ "{'execute':'block_set_io_throttle','arguments':{'device':'d0','bps':5,'bps_rd':1000,'bps_wr':0,'iops':0,'iops_rd':0,'iops_wr':7}}",
	  "bps-total excludes" },
	{ "{'execute':'block_set_io_throttle','arguments':{'device':'d0','bps':-5,'bps_rd':0,'bps_wr':0,'iops':0,'iops_rd':0,'iops_wr':7}}",
	  "out of range" },
	{ "{'execute':'block_set_io_throttle','arguments':{'id':'d1','bps':5,'bps_rd':0,'bps_wr':0,'iops':0,'iops_rd':0,'iops_wr':0}}",
	  "DeviceNotFound" },
	{ "{'execute':'qom-list-types'}", "{'name': 'isa-serial', 'parent': 'device'}" },
	{ "{'execute':'qom-list-types','arguments':{'implements':'machine'}}",
	  "[{'name': 'pc-i440fx-7.2-machine', 'parent': 'pc-i440fx-machine'}, {'name': 'microvm-machine'" },
	{ "{'execute':'qom-list-types','arguments':{'implements':'machine','abstract':true}}", "'abstract': true" },
	{ "{'execute':'device-list-properties','arguments':{'typename':'isa-serial'}}", "{'name': 'chardev', 'type': 'str'}" },
	{ "{'execute':'device-list-properties','arguments':{'typename':'scsi-hd'}}", "{'name': 'rotation_rate', 'type': 'uint32'}" },
	{ "{'execute':'device-list-properties','arguments':{'typename':'scsi-cd'}}", "{'name': 'lun', 'type': 'uint32'}" },
	{ "{'execute':'device-list-properties','arguments':{'typename':'virtio-scsi-pci'}}", "{'name': 'iothread', 'type': 'str'}" },
	{ "{'execute':'device-list-properties','arguments':{'typename':'virtio-balloon-pci'}}", "{'name': 'free-page-reporting', 'type': 'bool'}" },
	{ "{'execute':'device-list-properties','arguments':{'typename':'i6300esb'}}", "{'name': 'addr', 'type': 'str'}" },
	{ "{'execute':'device-list-properties','arguments':{'typename':'pvpanic'}}", "{'name': 'ioport', 'type': 'uint16'}" },
	{ "{'execute':'device-list-properties','arguments':{'typename':'isa-debugcon'}}", "{'name': 'readback', 'type': 'uint16'}" },
	{ "{'execute':'device-list-properties','arguments':{'typename':'scsi-block'}}", "'class': 'DeviceNotFound'" },
	{ "{'execute':'device-list-properties','arguments':{'typename':'kvm-pit'}}", "lost_tick_policy" },
	{ "{'execute':'device-list-properties','arguments':{'typename':'usb-host'}}", "'class': 'DeviceNotFound'" },
	{ "{'execute':'device-list-properties','arguments':{'typename':'iothread'}}", "expects a device" },
	{ "{'execute':'device-list-properties'}", "is missing" },
	{ "{'execute':'qom-list-properties','arguments':{'typename':'memory-backend-file'}}", "'return': []" },
	{ "{'execute':'qom-list-properties','arguments':{'typename':'none-machine'}}", "'return': []" },
	{ "{'execute':'qom-list-properties','arguments':{'typename':'iothread'}}", "poll-max-ns" },
	{ "{'execute':'qom-list','arguments':{'path':'/'}}", "{'name': 'machine', 'type': 'child<container>'}" },
	{ "{'execute':'qom-list','arguments':{'path':'/objects'}}", "{'name': 'io1', 'type': 'child<iothread>'}" },
	{ "{'execute':'qom-list','arguments':{'path':'/machine/peripheral'}}", "[{'name': 'type', 'type': 'string'}]" },
	{ "{'execute':'qom-list','arguments':{'path':'/machine/unattached/device[0]'}}", "DeviceNotFound" },
	{ "{'execute':'qom-list','arguments':{'path':'/objects/io2'}}", "DeviceNotFound" },
	{ "{'execute':'qom-get','arguments':{'path':'/machine','property':'type'}}", "'return': 'none-machine'" },
	{ "{'execute':'qom-get','arguments':{'path':'/objects/io1','property':'type'}}", "'return': 'iothread'" },
	{ "{'execute':'qom-get','arguments':{'path':'/objects/io1','property':'colour'}}", "iothread.colour" },
	{ "{'execute':'qom-set','arguments':{'path':'/objects/io1','property':'colour','value':[1]}}", "iothread.colour" },
	{ "{'execute':'qom-set','arguments':{'path':'/objects/io1','property':'type','value':1}}", "cannot be set" },
};

/* In one session, since some change what others tell. */
START_TEST(replies_are)
{
	for (size_t i = 0; i < ARRAY_SIZE(replies); i++)
		check_reply(replies[i].request, replies[i].part);
}
END_TEST

static bool ended(void *arg)
{
	(void)arg;
	return launch->vm->state == VM_ENDED;
}

static void quit(void)
{
	say("{\"execute\":\"quit\"}");
	fake_run_until(loop, ended, NULL);
}

/* Every command that there is, with nothing, with wrong types and with too much: an answer each time, and the machine lives. */
START_TEST(every_command)
{
	static const char *const forms[] = { "", ",\"arguments\":{\"path\":1,\"typename\":[],\"size\":\"x\"}",
					     ",\"arguments\":{\"path\":\"\",\"property\":\"\"}", ",\"arguments\":{\"typename\":\"\"}",
					     ",\"arguments\":{\"device\":\"\"}" };
	json_t *commands = ask("{\"execute\":\"query-commands\"}"), *list = json_object_get(commands, "return");

	ck_assert_uint_gt(json_array_size(list), 40);
	for (size_t i = 0; i < json_array_size(list); i++)
		for (size_t k = 0; k < ARRAY_SIZE(forms); k++) {
			const char *name = json_string_value(json_object_get(json_array_get(list, i), "name"));
			char request[256];
			json_t *reply;

			if (!strcmp(name, "quit"))
				continue;
			snprintf(request, sizeof(request), "{\"execute\":\"%s\"%s}", name, forms[k]);
			reply = ask(request);
			ck_assert_msg(json_object_get(reply, "return") || json_object_get(reply, "error"), "%s: %s", request, line);
			json_decref(reply);
		}
	json_decref(commands);
	quit();
}
END_TEST

static bool has_event(const char *name)
{
	json_t *event = hear();
	bool is = json_object_get(event, "event") && !strcmp(json_string_value(json_object_get(event, "event")), name);

	json_decref(event);
	return is;
}

START_TEST(run_states)
{
	check_reply("{'execute':'query-status'}", "'prelaunch'");
	say("{\"execute\":\"cont\"}");
	ck_assert(has_event("RESUME"));
	json_decref(hear());
	check_reply("{'execute':'query-status'}", "'running': true");
	say("{\"execute\":\"stop\"}");
	ck_assert(has_event("STOP"));
	json_decref(hear());
	check_reply("{'execute':'query-status'}", "'paused'");
	check_reply("{'execute':'system_reset'}", "'return': {}");
	ck_assert(has_event("RESET"));
	quit();
}
END_TEST

START_TEST(resized)
{
	char path[128];
	struct stat st;

	check_reply("{'execute':'block_resize','arguments':{'device':'d0','size':2097152}}", "'return': {}");
	check_reply("{'execute':'query-named-block-nodes','arguments':{'flat':true}}", "'virtual-size': 2097152");
	snprintf(path, sizeof(path), "%s/disk", dir);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_size, 2097152);
	check_reply("{'execute':'block_resize','arguments':{'device':'d0','size':-512}}", "has to be a positive");
	check_reply("{'execute':'block_resize','arguments':{'node-name':'d1','size':512}}", "DeviceNotFound");
}
END_TEST

/* What a machine without memory and devices says to those who ask for them; actions are kept. */
START_TEST(guards)
{
	check_reply("{'execute':'balloon','arguments':{'value':1048576}}", "DeviceNotActive");
	check_reply("{'execute':'query-balloon'}", "DeviceNotActive");
	check_reply("{'execute':'query-dump'}", "'none'");
	check_reply("{'execute':'query-dump-guest-memory-capability'}", "'elf'");
	check_reply("{'execute':'dump-guest-memory','arguments':{'paging':false,'protocol':'file:/dev/null'}}", "no memory");
	check_reply("{'execute':'dump-guest-memory','arguments':{'paging':true,'protocol':'file:/dev/null'}}", "paging");
	check_reply("{'execute':'dump-guest-memory','arguments':{'paging':false,'protocol':'file:/dev/null','begin':1}}", "go together");
	check_reply("{'execute':'dump-guest-memory','arguments':{'paging':false,'protocol':'file:/dev/null','begin':0,'length':0}}", "range");
	check_reply("{'execute':'dump-guest-memory','arguments':{'paging':false,'protocol':'file:/dev/null','format':'win-dmp'}}", "elf");
	check_reply("{'execute':'watchdog-set-action','arguments':{'action':'bite'}}", "does not take");
	check_reply("{'execute':'watchdog-set-action','arguments':{'action':'inject-nmi'}}", "'return': {}");
	ck_assert_int_eq(atomic_load(&launch->vm->tell.watchdog), WATCHDOG_INJECT_NMI);
	check_reply("{'execute':'set-action','arguments':{'watchdog':'none','panic':'exit-failure'}}", "'return': {}");
	ck_assert_int_eq(atomic_load(&launch->vm->tell.watchdog), WATCHDOG_NONE);
	ck_assert_int_eq(atomic_load(&launch->vm->tell.panic), PANIC_EXIT_FAILURE);
	check_reply("{'execute':'human-monitor-command','arguments':{'command-line':'balloon x'}}", "expected a size in MiB");
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { replies_are, every_command, run_states, resized, guards };

	return suite_run("monitor", tests, ARRAY_SIZE(tests), setup, teardown);
}
