/* SPDX-License-Identifier: MIT */
/* Consoles, ports and random numbers on the command line: what lines configure, and what is said about wrong ones. */
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

static void put_pci(struct text *t, const struct config_virtio_pci *pci)
{
	if (pci->addr != CONFIG_ADDR_AUTO)
		put(t, "@%02x.%x", (unsigned)pci->addr >> 3, (unsigned)pci->addr & 7);
	if (pci->vectors != -1)
		put(t, "+v%d", pci->vectors);
	put(t, "%s%s", pci->modern_only ? "+modern" : "", pci->legacy_only ? "+legacy" : "");
}

static void show(struct text *t, const struct vm_config *cfg)
{
	t->n = 0;
	t->s[0] = '\0';
	for (size_t i = 0; i < cfg->n_virtio_serials; i++) {
		const struct config_virtio_serial *s = &cfg->virtio_serials[i];

		put(t, "%s%s", t->n ? " " : "", s->id);
		put_pci(t, &s->pci);
		if (s->max_ports != 31)
			put(t, "/%u", s->max_ports);
		for (size_t j = 0; j < s->n_ports; j++)
			put(t, " %u%s%s%s<%s>", s->ports[j].nr, s->ports[j].console ? "c" : "p", s->ports[j].name ? ":" : "",
			    s->ports[j].name ? s->ports[j].name : "", s->ports[j].chardev ? s->ports[j].chardev : "");
	}
	for (size_t i = 0; i < cfg->n_rng_sources; i++)
		put(t, "%s%s=%s", t->n ? " " : "", cfg->rng_sources[i].id, cfg->rng_sources[i].filename ? cfg->rng_sources[i].filename : "builtin");
	for (size_t i = 0; i < cfg->n_rngs; i++) {
		put(t, "%s%s", t->n ? " " : "", cfg->rngs[i].id);
		put_pci(t, &cfg->rngs[i].pci);
		if (cfg->rngs[i].source)
			put(t, "<%s>", cfg->rngs[i].source);
		if (cfg->rngs[i].max_bytes != UINT64_MAX)
			put(t, "%" PRIu64, cfg->rngs[i].max_bytes);
		if (cfg->rngs[i].period_ms != 65536)
			put(t, "/%u", cfg->rngs[i].period_ms);
	}
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

#define C "-chardev null,id=c "
#define C2 "-chardev null,id=d "
#define S "-device virtio-serial-pci "

static const struct {
	const char *line, *expected;
} good[] = {
	{ S, "virtio-serial0" },
	{ S S, "virtio-serial0 virtio-serial1" },
	{ S "-device virtio-serial-pci,id=virtio-serial0", "virtio-serial1 virtio-serial0" },
	{ "-device virtio-serial", "virtio-serial0" },
	{ "-device virtio-serial-pci-transitional", "virtio-serial0" },
	{ "-device virtio-serial-pci-non-transitional", "virtio-serial0+modern" },
	{ "-device virtio-serial-pci,disable-legacy=on,vectors=0", "virtio-serial0+v0+modern" },
	{ "-device virtio-serial-pci,disable-modern=on,disable-legacy=off", "virtio-serial0+legacy" },
	{ "-device virtio-serial-pci,id=vs,max_ports=4,bus=pci.0,addr=0x1f,vectors=4", "vs@1f.0+v4/4" },
	{ "-device virtio-rng-pci,addr=5.7 -device virtio-serial-pci,addr=5,multifunction=on", "virtio-serial0@05.0 virtio-rng0@05.7" },
	{ "-device virtio-rng-pci,addr=1.2,multifunction=off", "virtio-rng0@01.2" },
	{ "-device virtio-serial-pci,ioeventfd=on,multifunction=on,packed=off,emergency-write=on", "virtio-serial0" },
	{ C S "-device virtconsole,chardev=c", "virtio-serial0 0c<c>" },
	{ S "-device virtconsole", "virtio-serial0 0c<>" },
	{ S "-device virtserialport", "virtio-serial0 1p<>" },
	{ C S "-device virtserialport,chardev=c,name=org.qemu.guest_agent.0,id=channel0", "virtio-serial0 1p:org.qemu.guest_agent.0<c>" },
	{ S "-device virtserialport -device virtconsole -device virtconsole -device virtserialport",
	  "virtio-serial0 1p<> 0c<> 2c<> 3p<>" },
	{ S "-device virtserialport -device virtserialport,nr=1 -device virtconsole,nr=30", "virtio-serial0 1p<> 30c<> 2p<>" },
	{ "-device virtio-serial-pci,id=a -device virtio-serial-pci,id=b -device virtconsole,bus=b.0 -device virtconsole,bus=a.0",
	  "a 0c<> b 0c<>" },
	{ "-device virtio-serial-pci,max_ports=1 " S "-device virtserialport -device virtconsole",
	  "virtio-serial0/1 0c<> virtio-serial1 1p<>" },
	{ "-device virtserialport,bus=later.0 -device virtio-serial-pci,id=later", "later 1p<>" },
	{ "-device {\"driver\":\"virtio-serial-pci\",\"id\":\"j\",\"max_ports\":2} -device "
	  "{\"driver\":\"virtserialport\",\"nr\":1,\"bus\":\"j.0\",\"name\":\"x\"}", "j/2 1p:x<>" },
	{ "-device virtio-rng-pci", "virtio-rng0" },
	{ "-device virtio-rng", "virtio-rng0" },
	{ "-device virtio-rng-pci-transitional", "virtio-rng0" },
	{ "-device virtio-rng-pci-non-transitional,addr=3", "virtio-rng0@03.0+modern" },
	{ "-object rng-random,id=r -device virtio-rng-pci,rng=r,max-bytes=1024,period=1000", "r=/dev/urandom virtio-rng0<r>1024/1000" },
	{ "-device virtio-rng-pci,rng=r,id=x -object rng-random,id=r,filename=/dev/random", "r=/dev/random x<r>" },
	{ "-object rng-builtin,id=b -device virtio-rng-pci,rng=b", "b=builtin virtio-rng0<b>" },
	{ "-object {\"qom-type\":\"rng-random\",\"id\":\"r\",\"filename\":\"/dev/hwrng\"}", "r=/dev/hwrng" },
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
	{ "-device virtconsole", "there is no device to put it on; add -device virtio-serial" },
	{ "-device virtserialport,bus=x.0", "-device virtserialport: there is no bus 'x.0'" },
	{ "-device virtio-serial-pci,id=x -device virtserialport,bus=x", "there is no bus 'x'" },
	{ S "-device virtserialport,nr=0", "port number 0 is for a virtconsole" },
	{ S "-device virtserialport,nr=31", "from 0 to 30" },
	{ "-device virtio-serial-pci,max_ports=4 -device virtserialport,nr=4", "does not fit on 'virtio-serial0', which has max_ports=4" },
	{ "-device virtio-serial-pci,max_ports=2 -device virtserialport -device virtserialport", "no virtio-serial device has a port number free" },
	{ "-device virtio-serial-pci,id=a,max_ports=1 -device virtserialport,bus=a.0", "does not fit on 'a'" },
	{ S "-device virtserialport,nr=3 -device virtserialport,nr=3", "already has a port with nr=3" },
	{ S "-device virtserialport,name=n -device virtserialport,name=n", "already has a port with the name 'n'" },
	{ S "-device virtserialport,chardev=no", "names chardev 'no', which is not defined" },
	{ C S "-device virtserialport,chardev=c -device virtconsole,chardev=c", "chardev 'c' is already used by 'virtio-serial0'" },
	{ C S "-serial chardev:c -device virtconsole,chardev=c", "chardev 'c' is already used by 'serial0'" },
	{ "-device virtio-serial-pci,max_ports=0", "from 1 to 31" },
	{ "-device virtio-serial-pci,max_ports=32", "from 1 to 31" },
	{ "-device virtio-serial-pci,maxports=2", "did you mean 'max_ports'?" },
	{ "-device virtio-serial-pci,bus=pcie.0", "the only PCI bus is pci.0" },
	{ "-device virtio-serial-pci,addr=20", "expected SLOT[.FUNCTION]" },
	{ "-device virtio-rng-pci,addr=5.1 -device virtio-serial-pci,addr=5", "PCI address 05.1 needs multifunction=on at the device at 05.0" },
	{ "-device virtio-rng-pci,addr=1f.7,multifunction=on", "no guest finds PCI address 1f.7 with nothing at 1f.0" },
	{ "-device virtio-rng-pci,addr=0.1", "PCI address 00.1 is not free" },
	{ "-device virtio-rng-pci,multifunction=maybe", "property 'multifunction'" },
	{ "-device virtio-serial-pci,disable-legacy=on,disable-modern=on", "give neither" },
	{ "-device virtio-serial-pci-non-transitional,disable-modern=on", "give neither" },
	{ "-device virtio-serial-pci,packed=on", "the device is made that way" },
	{ "-device virtio-serial-pci,id=1", "is not an identifier" },
	{ "-device virtio-serial-pci,id=a -device virtserialport,id=a", "there is already a device with the id 'a'" },
	{ "-device virtserialprot", "did you mean 'virtserialport'?" },
	{ "-device virtio-rng-pci,rng=r", "there is no rng object 'r'; add -object rng-random,id=r" },
	{ "-object iothread,id=r -device virtio-rng-pci,rng=r", "there is no rng object 'r'" },
	{ "-device virtio-rng-pci,max-bytes=0", "property 'max-bytes'" },
	{ "-device virtio-rng-pci,period=0", "property 'period'" },
	{ "-object rng-random", "property 'id' is missing" },
	{ "-object rng-random,id=r,filename=", "property 'filename': may not be empty" },
	{ "-object rng-builtin,id=r,filename=/dev/urandom", "unknown property 'filename'" },
	{ "-object rng-random,id=r -object iothread,id=r", "there is already an object with the id 'r'" },
	{ "-object iothread,id=r -object rng-builtin,id=r", "there is already an object with the id 'r'" },
	{ "-object rng-egd,id=r", "known: iothread, rng-random, rng-builtin" },
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

/* One more than there can be. */
static void check_limit(const char *line, unsigned n, const char *words)
{
	struct vm_config *cfg = calloc(1, sizeof(*cfg));
	struct err err = ERR_INIT;
	struct text t = { .n = 0 };

	put(&t, "-device virtio-serial-pci,id=a -device virtio-serial-pci,id=b -device virtio-serial-pci,id=e ");
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
	check_limit("-device virtio-serial-pci", CONFIG_MAX_VIRTIO_SERIALS - 2, "more than 8 of them");
	check_limit("-device virtserialport", 65, "more than 64 ports");
	check_limit("-device virtio-rng-pci", CONFIG_MAX_RNGS + 1, "more than 8 of them");
	check_limit("-object rng-builtin,id=r", CONFIG_MAX_RNGS + 1, "more than 8 of them");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("cli_virtio");
	TCase *t = tcase_create("cli_virtio");
	SRunner *sr;
	int failed;

	suite_add_tcase(s, t);
	tcase_add_loop_test(t, good_lines, 0, ARRAY_SIZE(good));
	tcase_add_loop_test(t, bad_lines, 0, ARRAY_SIZE(bad));
	tcase_add_test(t, limits);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
