/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_kvm.h"

#include "arch/x86/topology.h"
#include "vmm/config.h"

START_TEST(bits)
{
	static const unsigned want[][2] = { { 1, 0 }, { 2, 1 }, { 3, 2 }, { 4, 2 }, { 5, 3 }, { 8, 3 }, { 9, 4 }, { 63, 6 }, { 64, 6 },
					    { 65, 7 } };

	for (size_t i = 0; i < ARRAY_SIZE(want); i++)
		ck_assert_uint_eq(topology_bits(want[i][0]), want[i][1]);
}
END_TEST

START_TEST(ids)
{
	const struct topology t = { .sockets = 2, .cores = 3, .threads = 2 };
	static const uint32_t want[] = { 0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13 };

	ck_assert_uint_eq(topology_core_shift(&t), 1);
	ck_assert_uint_eq(topology_package_shift(&t), 3);
	for (unsigned i = 0; i < ARRAY_SIZE(want); i++)
		ck_assert_uint_eq(topology_apic_id(&t, i), want[i]);
}
END_TEST

/* Every shape of -smp: ids ascend, so they are unique; they take apart into the numbers they were made of; they fit an xAPIC. */
START_TEST(every_shape)
{
	unsigned shapes = 0;

	for (unsigned s = 1; s <= CONFIG_MAX_CPUS; s++) {
		for (unsigned c = 1; s * c <= CONFIG_MAX_CPUS; c++) {
			for (unsigned t = 1; s * c * t <= CONFIG_MAX_CPUS; t++, shapes++) {
				const struct topology topo = { s, c, t };
				unsigned core = topology_core_shift(&topo), package = topology_package_shift(&topo);

				for (unsigned i = 0; i < s * c * t; i++) {
					uint32_t id = topology_apic_id(&topo, i);

					ck_assert(i == 0 ? id == 0 : id > topology_apic_id(&topo, i - 1));
					ck_assert_uint_lt(id, 0xff);
					ck_assert_uint_eq(id & ((1u << core) - 1), i % t);
					ck_assert_uint_eq(id >> core & ((1u << (package - core)) - 1), i / t % c);
					ck_assert_uint_eq(id >> package, i / t / c);
				}
			}
		}
	}
	ck_assert_uint_gt(shapes, 500);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("topology");
	TCase *tc = tcase_create("topology");

	tcase_add_test(tc, bits);
	tcase_add_test(tc, ids);
	tcase_add_test(tc, every_shape);
	suite_add_tcase(suite, tc);
	return fake_run_tests(suite);
}
