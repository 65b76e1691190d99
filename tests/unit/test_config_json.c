/* SPDX-License-Identifier: MIT */
/*
 * Configurations as JSON: no field without a row, what is refused and how, -config and -dump-config. That every command line of the other tests
 * comes back as it was is in fake_cli_again, which they call.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/fake_cli.h"
#include "tests/unit/suite.h"
#include "vmm/cli.h"
#include "vmm/config.h"
#include "vmm/config_fields.h"
#include "vmm/config_json.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define LINE "-nodefaults -kernel K -smp 2 -object iothread,id=io -chardev null,id=c -chardev null,id=d -serial chardev:c "                     \
	     "-device virtio-serial-pci -device virtconsole,chardev=d -object rng-builtin,id=r -device virtio-rng-pci,rng=r "                    \
	     "-blockdev file,node-name=f,filename=F -device virtio-blk-pci,drive=f,iothread=io,serial=S "                                        \
	     "-device virtio-scsi-pci -drive if=none,media=cdrom,id=cd -device scsi-cd,drive=cd -blockdev file,node-name=h,filename=H "                      \
	     "-device scsi-hd,drive=h -fw_cfg name=opt/x,string=s "                                                                              \
	     "-netdev tap,id=t,script=no -device virtio-net-pci,netdev=t"

static struct err err;
static struct vm_config cfg;
static char *text;

static void setup(void)
{
	enum cli_action action;
	struct fake_cli w;

	fake_cli_split(&w, "", LINE);
	config_init(&cfg);
	ck_assert_msg(cli_parse(w.n, w.v, &cfg, &action, &err) == 0, "%s", err.msg);
	text = config_dump(&cfg);
	ck_assert_ptr_nonnull(text);
	config_fini(&cfg);
}

static void teardown(void)
{
	free(text);
}

/* Marks what the rows of a table account for. */
static void cover(const struct config_table *table, unsigned depth)
{
	unsigned char *covered = calloc(1, table->size);
	size_t gap = 0;

	for (const struct config_field *f = table->fields; f->name; f++) {
		ck_assert_uint_le(f->offset + f->size * (f->max_count ? f->max_count : 1), table->size);
		memset(covered + f->offset, 1, f->size * (f->max_count ? f->max_count : 1));
		if (f->count_size)
			memset(covered + f->count_offset, 1, f->count_size);
		if (f->table && depth < 8) {
			ck_assert_uint_eq(f->kind == CONFIG_STRUCT ? f->size : f->table->size, f->table->size);
			if (f->kind == CONFIG_STRUCT)
				cover(f->table, depth + 1);
		}
	}
	if (table == &config_table) /* runs, and is no setting */
		memset(covered + offsetof(struct vm_config, clock), 1, sizeof(struct boot_clock));
	/* What is left is padding: shorter than what it aligns. */
	for (size_t i = 0; i <= table->size; i++) {
		if (i < table->size && !covered[i]) {
			gap++;
		} else {
			ck_assert_msg(gap < 8 && (gap == 0 || i % 2 == 0), "%s: %zu bytes before offset %zu have no row", table->what, gap, i);
			gap = 0;
		}
	}
	free(covered);
}

START_TEST(every_field_has_a_row)
{
	cover(&config_table, 0);
}
END_TEST

/* The text with the first `from` turned into `to`. */
static int read_changed(const char *from, const char *to)
{
	char *at = strstr(text, from), *changed;
	int ret;

	ck_assert_msg(at != NULL, "%s is not there", from);
	ck_assert_int_ge(asprintf(&changed, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from)), 0);
	config_init(&cfg);
	err = (struct err)ERR_INIT;
	ret = config_read(&cfg, changed, strlen(changed), &err);
	config_fini(&cfg);
	free(changed);
	return ret;
}

static const struct {
	const char *from, *to, *message; /* NULL: fine */
} changes[] = {
	{ "\"K\"", "\"L\"", NULL },
	{ "\"K\"", "null", NULL },
	{ "\"ram_size\": 134217728", "\"ram_size\": 268435456", NULL },
	{ "\"ram_size\": 134217728", "\"ram_size\": \"268435456\"", NULL },
	{ "\"ram_size\": 134217728", "\"ram_size\": 5", "the machine: ram_size: 5 is not from 67108864 to" },
	{ "\"ram_size\": 134217728", "\"ram_size\": -134217728", "-134217728 is not from" },
	{ "\"ram_size\": 134217728", "\"ram_size\": 134217729", "not a multiple of 8192" },
	{ "\"ram_size\": 134217728", "\"ram_size\": \"0x10\"", "expected a number" },
	{ "\"ram_size\": 134217728", "\"ram_size\": \"99999999999999999999\"", "expected a number" },
	{ "\"ram_size\": 134217728", "\"ram_size\": 1.5", "expected a number" },
	{ "\"ram_size\": 134217728,", "", "'ram_size' is missing" },
	{ "\"ram_size\"", "\"ram\"", "there is no 'ram' in this version" },
	{ "\"ram_size\": 134217728", "\"ram_size\": 134217728, \"ram_size\": 134217728", "duplicate" },
	{ "\"machine\": \"pc\"", "\"machine\": \"isapc\"", "the machine: machine: not a value of it; there are pc" },
	{ "\"machine\": \"pc\"", "\"machine\": 0", "not a value" },
	{ "\"acpi\": true", "\"acpi\": 1", "board: acpi: expected true or false" },
	{ "\"cpus\": 2", "\"cpus\": 3", "are not 3 processors" },
	{ "\"cpus\": 2", "\"cpus\": 65", "smp: cpus: 65 is not from 1 to 64" },
	{ "\"uuid\": \"00", "\"uuid\": \"0", "uuid: expected hexadecimal digits" },
	{ "\"uuid\": \"00", "\"uuid\": \"0x", "uuid: expected hexadecimal digits" },
	{ "\"id\": \"c\"", "\"id\": null", "a chardev: id: expected a string" },
	{ "\"id\": \"c\"", "\"id\": \"d\"", "there are two with the id 'd'" },
	{ "\"chardev\": \"c\"", "\"chardev\": \"x\"", "chardev 'x' is not defined" },
	{ "\"chardev\": \"c\"", "\"chardev\": \"d\"", "chardev 'd' is used twice" },
	{ "\"chardev\": \"d\"", "\"chardev\": null", NULL },
	{ "\"monitors\": []", "\"monitors\": [{\"chardev\": \"d\", \"human\": true, \"pretty\": false}]", "used by a monitor and by a virtio port" },
	{ "\"monitors\": []", "\"monitors\": [{\"chardev\": \"x\", \"human\": true, \"pretty\": false}]", "chardev 'x' is not defined" },
	{ "\"has_balloon\": false", "\"has_balloon\": true", "the balloon: id: expected a string" },
	{ "\"watchdogs\": []", "\"watchdogs\": [{\"id\": \"a\", \"ib700\": true, \"addr\": -1}, {\"id\": \"b\", \"ib700\": true, \"addr\": -1}]",
	  "two watchdogs are at the same ports" },
	{ "\"watchdog_action\": \"reset\"", "\"watchdog_action\": \"pause\"", NULL },
	{ "\"watchdog_action\": \"reset\"", "\"watchdog_action\": \"bark\"", "not a value of it" },
	{ "\"run_as\": null", "\"run_as\": \"\"", "-runas: expected a name" },
	{ "\"chroot_dir\": null", "\"chroot_dir\": \"\"", "-chroot: expected a name" },
	{ "\"fds\": []", "\"fds\": [{\"fd\": 2, \"set\": 0, \"opaque\": null}]", "a descriptor of -add-fd: fd: 2 is not from 3" },
	{ "\"machine\": \"pc\"", "\"machine\": \"none\"", "the machine none runs nothing" },
	{ "\"drive\": \"f\"", "\"drive\": \"c\"", "drive 'c' is not defined" },
	{ "\"path\": \"F\"", "\"path\": null", "drive 'f': an image without a path" },
	{ "\"scsi\": 0", "\"scsi\": 1", "on adapter 1, and there are 1" },
	{ "\"target\": 0", "\"target\": 1", "two SCSI devices are at scsi-id=1,lun=0" },
	{ "\"string\": \"s\"", "\"string\": null", "needs one of file and string" },
	{ "\"drive\": \"f\"", "\"drive\": null", "a disk: drive: expected a string" },
	{ "\"iothread\": \"io\"", "\"iothread\": \"ioo\"", "iothread 'ioo' is not defined" },
	{ "\"netdev\": \"t\"", "\"netdev\": \"f\"", "netdev 'f' is not defined" },
	{ "\"source\": \"r\"", "\"source\": \"q\"", "source 'q' is not defined" },
	{ "\"serial\": \"S\"", "\"serial\": \"123456789012345678901\"", "a disk: serial: longer than 20 bytes" },
	{ "\"queue_size\": 256", "\"queue_size\": 255", "a disk: queue_size: expected a power of two" },
	{ "\"nr\": 0", "\"nr\": 31", "a port: nr: 31 is not from 0 to 30" },
	{ "\"max_ports\": 31", "\"max_ports\": 0", "max_ports: 0 is not from 1" },
	{ "\"debug_exits\": []", "\"debug_exits\": {}", "debug_exits: expected a list of at most 4" },
	{ "\"debug_exits\": []", "\"debug_exits\": [1]", "an isa-debug-exit: expected an object" },
	{ "\"debug_exits\": []", "\"debug_exits\": [{},{},{},{},{}]", "expected a list of at most 4" },
	{ "\"dnssearch\": []", "\"dnssearch\": [1]", "dnssearch: expected a list of strings" },
	{ "\"kite-version\": \"", "\"kite-version\": \"9", "make the file again with -dump-config" },
	{ "\"backing\": null", "\"backing\": {}", "an image: 'path' is missing" },
	{ "}", "]", "line " },
};

START_TEST(changed)
{
	int ret = read_changed(changes[_i].from, changes[_i].to);

	if (!changes[_i].message)
		ck_assert_msg(ret == 0, "%s", err.msg);
	else
		ck_assert_msg(ret < 0 && ret == err.code && strstr(err.msg, changes[_i].message), "%d: %s", ret, err.msg);
}
END_TEST

/* Images upon images end somewhere. */
START_TEST(deep)
{
	const char *image = strstr(text, "\"path\": \"F\""), *end;
	char one[2048], *nested, *at;
	size_t len;

	ck_assert_ptr_nonnull(image);
	while (*image != '{')
		image--;
	end = strstr(image, "\"no_backing\"");
	end = strchr(end, '}') + 1;
	len = (size_t)(end - image);
	ck_assert_uint_lt(len, sizeof(one));
	snprintf(one, sizeof(one), "%.*s", (int)len, image);
	nested = strdup(one);
	for (int i = 0; i < 80; i++) {
		char *outer;

		at = strstr(one, "\"backing\": null");
		ck_assert_int_ge(asprintf(&outer, "%.*s\"backing\": %s%s", (int)(at - one), one, nested, at + strlen("\"backing\": null")), 0);
		free(nested);
		nested = outer;
		if (i == 40)
			ck_assert_msg(read_changed(one, nested) == 0, "%s", err.msg);
	}
	ck_assert_int_eq(read_changed(one, nested), -E2BIG);
	free(nested);
}
END_TEST

/* Cut or damaged anywhere it is refused or read, and nothing worse. */
START_TEST(damaged)
{
	size_t len = strlen(text);

	for (size_t i = 0; i < len - 2; i += 3) {
		char saved = text[i];

		config_init(&cfg);
		ck_assert_int_lt(config_read(&cfg, text, i, &err), 0);
		config_fini(&cfg);
		text[i] = (char)(saved ^ (1 << i % 7));
		config_init(&cfg);
		config_read(&cfg, text, len, &err);
		config_fini(&cfg);
		text[i] = saved;
	}
}
END_TEST

static int parse(const char *line, enum cli_action *action)
{
	struct fake_cli w;
	int ret;

	fake_cli_split(&w, "", line);
	config_init(&cfg);
	err = (struct err)ERR_INIT;
	*action = CLI_HELP;
	ret = cli_parse(w.n, w.v, &cfg, action, &err);
	return ret;
}

START_TEST(options)
{
	char path[] = "/tmp/test_config_json.XXXXXX", line[256];
	int fd = mkstemp(path);
	enum cli_action action;
	char *again;

	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	ck_assert_int_eq(parse(LINE " -dump-config", &action), 0);
	ck_assert_int_eq(action, CLI_DUMP_CONFIG);
	config_fini(&cfg);
	snprintf(line, sizeof(line), "-config %s -S", path);
	ck_assert_msg(parse(line, &action) == 0, "%s", err.msg);
	ck_assert_int_eq(action, CLI_RUN);
	ck_assert(cfg.paused);
	cfg.paused = false;
	again = config_dump(&cfg);
	ck_assert_str_eq(again, text);
	free(again);
	config_fini(&cfg);
	snprintf(line, sizeof(line), "-config %s -m 512", path);
	ck_assert_int_eq(parse(line, &action), -EINVAL);
	ck_assert_str_eq(err.msg, "-config: the file is the whole configuration; leave -m out, or change the file");
	config_fini(&cfg);
	snprintf(line, sizeof(line), "-config %s -config %s", path, path);
	ck_assert_int_eq(parse(line, &action), -EINVAL);
	config_fini(&cfg);
	ck_assert_int_eq(parse("-config /nowhere/c.json", &action), -ENOENT);
	config_fini(&cfg);
	ck_assert_int_eq(parse("-config /tmp", &action), -EISDIR);
	config_fini(&cfg);
	ck_assert_int_eq(parse("-config /dev/zero", &action), -EFBIG);
	config_fini(&cfg);
	ck_assert_int_eq(parse("-config /dev/null", &action), -EINVAL);
	ck_assert_msg(strncmp(err.msg, "-config /dev/null: line", 23) == 0, "%s", err.msg);
	config_fini(&cfg);
	close(fd);
	unlink(path);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("config_json");
	TCase *tc = tcase_create("config_json");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 2 * SUITE_TEST_SECONDS);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, every_field_has_a_row);
	tcase_add_loop_test(tc, changed, 0, (int)ARRAY_SIZE(changes));
	tcase_add_test(tc, deep);
	tcase_add_test(tc, damaged);
	tcase_add_test(tc, options);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
