/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/config.h"

START_TEST(test_defaults)
{
	struct vm_config cfg;

	memset(&cfg, 0xa5, sizeof(cfg));
	config_init(&cfg);
	ck_assert_int_eq(cfg.machine, MACHINE_PC);
	ck_assert_uint_eq(cfg.ram_size, CONFIG_DEFAULT_RAM);
	ck_assert_uint_eq(cfg.smp.cpus, 1);
	ck_assert_uint_eq(cfg.smp.sockets * cfg.smp.cores * cfg.smp.threads, 1);
	ck_assert_int_eq(cfg.rtc_base, RTC_BASE_UTC);
	ck_assert_ptr_null(cfg.kernel);
	ck_assert_ptr_null(cfg.name);
	ck_assert_uint_eq(cfg.n_chardevs + cfg.n_serials + cfg.n_debug_exits + cfg.cpu.n_features, 0);
	ck_assert(!cfg.nodefaults && !cfg.nographic && !cfg.no_reboot && !cfg.testdev && !cfg.debug_log && !cfg.count_exits && !cfg.boot_timer && !cfg.clock.on && !cfg.uuid_set);
	config_fini(&cfg);
}
END_TEST

static void assert_zero(const void *p, size_t len)
{
	const unsigned char *b = p;

	for (size_t i = 0; i < len; i++)
		ck_assert_msg(b[i] == 0, "byte %zu is 0x%x", i, b[i]);
}

/* Every owned string, in every array; the sanitizer sees what is not freed. */
START_TEST(test_fini)
{
	static struct vm_config cfg;
	char **strings[] = { &cfg.name, &cfg.process_name, &cfg.kernel, &cfg.initrd, &cfg.append, &cfg.cpu.model };

	config_init(&cfg);
	for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++)
		*strings[i] = strdup("text");
	for (; cfg.n_chardevs < CONFIG_MAX_CHARDEVS; cfg.n_chardevs++)
		cfg.chardevs[cfg.n_chardevs] = (struct config_chardev){ .id = strdup("id"), .path = strdup("path") };
	for (; cfg.n_serials < CONFIG_MAX_SERIALS; cfg.n_serials++)
		cfg.serials[cfg.n_serials] = (struct config_serial){ .id = strdup("id"), .chardev = strdup("chr") };
	for (; cfg.cpu.n_features < CONFIG_MAX_CPU_FEATURES; cfg.cpu.n_features++)
		cfg.cpu.features[cfg.cpu.n_features].name = strdup("name");
	config_fini(&cfg);
	assert_zero(&cfg, sizeof(cfg));
	config_fini(&cfg);
}
END_TEST

START_TEST(test_cpu_fini)
{
	static struct config_cpu cpu;

	cpu.model = strdup("host");
	cpu.features[0].name = strdup("avx");
	cpu.features[0].on = true;
	cpu.n_features = 1;
	config_cpu_fini(&cpu);
	assert_zero(&cpu, sizeof(cpu));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("config");
	TCase *tc = tcase_create("config");
	SRunner *sr;
	int failed;

	tcase_add_test(tc, test_defaults);
	tcase_add_test(tc, test_fini);
	tcase_add_test(tc, test_cpu_fini);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
