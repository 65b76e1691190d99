/* SPDX-License-Identifier: MIT */
/* Filters made shorter: what goes, what stays, and that the check of the outcome sees every change. */
#include "tests/unit/suite.h"

#include "tools/sandbox-gen/shrink.c"

#define NR 0
#define ARCH 4
#define ARG1 24
#define ARG1_HIGH 28
#define LOAD_OF(at) BPF_STMT(LOAD, at)
#define IF_EQUAL(v, yes, no) BPF_JUMP(EQUAL, v, yes, no)
#define RETURN(v) BPF_STMT(BPF_RET | BPF_K, v)

/* As libseccomp makes them: calls 1 and 16, of which the latter with three values in the low half of argument 1. */
static const struct sock_filter made[] = {
	LOAD_OF(ARCH),
	IF_EQUAL(AUDIT_ARCH_X86_64, 0, 14),
	LOAD_OF(NR),
	BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1),
	IF_EQUAL(UINT32_MAX, 0, 11),
	LOAD_OF(NR), /* vain */
	IF_EQUAL(1, 8, 0),
	IF_EQUAL(16, 0, 6),
	LOAD_OF(ARG1_HIGH), /* and this half */
	BPF_STMT(MASK, 0),
	IF_EQUAL(0, 0, 3),
	LOAD_OF(ARG1),
	IF_EQUAL(0x5401, 2, 0),
	IF_EQUAL(0xae80, 1, 0),
	RETURN(SECCOMP_RET_TRAP),
	RETURN(SECCOMP_RET_ALLOW),
	RETURN(SECCOMP_RET_KILL_PROCESS),
};

START_TEST(shorter)
{
	static const struct sock_filter want[] = {
		LOAD_OF(ARCH),
		IF_EQUAL(AUDIT_ARCH_X86_64, 0, 10),
		LOAD_OF(NR),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1),
		IF_EQUAL(UINT32_MAX, 0, 7),
		IF_EQUAL(1, 5, 0),
		IF_EQUAL(16, 0, 3),
		LOAD_OF(ARG1),
		IF_EQUAL(0xae80, 2, 0),
		IF_EQUAL(0x5401, 1, 0),
		RETURN(SECCOMP_RET_TRAP),
		RETURN(SECCOMP_RET_ALLOW),
		RETURN(SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_filter code[ARRAY_SIZE(made)];

	memcpy(code, made, sizeof(made));
	ck_assert_uint_eq(filter_shrink(code, ARRAY_SIZE(made), 0xae80), ARRAY_SIZE(want));
	ck_assert_mem_eq(code, want, sizeof(want));
	ck_assert(filter_same(made, ARRAY_SIZE(made), want, ARRAY_SIZE(want)));
	ck_assert_uint_eq(filter_shrink(code, ARRAY_SIZE(want), 0xae80), ARRAY_SIZE(want)); /* there is no more */
	ck_assert_mem_eq(code, want, sizeof(want));
}
END_TEST

/* What somebody jumps into, and a half that counts. */
START_TEST(stays)
{
	static const struct sock_filter entered_load[] = {
		LOAD_OF(ARG1), IF_EQUAL(7, 1, 0), LOAD_OF(NR), IF_EQUAL(1, 1, 0), LOAD_OF(NR), IF_EQUAL(3, 0, 1), RETURN(1), RETURN(2),
	};
	static const struct sock_filter another_load[] = {
		LOAD_OF(NR), IF_EQUAL(7, 0, 1), LOAD_OF(ARG1), LOAD_OF(ARG1_HIGH), IF_EQUAL(3, 0, 1), RETURN(1), RETURN(2),
	};
	static const struct sock_filter halves[] = {
		LOAD_OF(ARG1_HIGH), BPF_STMT(MASK, 1), IF_EQUAL(0, 0, 1), LOAD_OF(ARG1), IF_EQUAL(0, 0, 1), RETURN(1), RETURN(2),
	};
	static const struct sock_filter different_ends[] = { LOAD_OF(NR), IF_EQUAL(5, 1, 0), IF_EQUAL(6, 1, 0), RETURN(1), RETURN(2) };
	static const struct {
		const struct sock_filter *code;
		unsigned n;
	} cases[] = {
		{ entered_load, ARRAY_SIZE(entered_load) },
		{ another_load, ARRAY_SIZE(another_load) },
		{ halves, ARRAY_SIZE(halves) },
		{ different_ends, ARRAY_SIZE(different_ends) },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct sock_filter code[FILTER_MAX];

		memcpy(code, cases[i].code, cases[i].n * sizeof(code[0]));
		ck_assert_uint_eq(filter_shrink(code, cases[i].n, 6), cases[i].n);
		ck_assert_mem_eq(code, cases[i].code, cases[i].n * sizeof(code[0]));
	}
}
END_TEST

/* Another value, and the other way round: whichever instruction it is, but those that do nothing. */
START_TEST(changes_are_seen)
{
	struct sock_filter code[ARRAY_SIZE(made)];

	for (size_t i = 0; i < ARRAY_SIZE(made); i++) {
		bool vain = i == 3 || i == 4 || i == 5 || (i >= 8 && i <= 10);

		memcpy(code, made, sizeof(made));
		code[i].k ^= 0x20;
		ck_assert_msg(vain || !filter_same(made, ARRAY_SIZE(made), code, ARRAY_SIZE(made)), "value of %zu", i);
		code[i] = made[i];
		code[i].jt = made[i].jf;
		code[i].jf = made[i].jt;
		if (code[i].jt != made[i].jt && !vain)
			ck_assert_msg(!filter_same(made, ARRAY_SIZE(made), code, ARRAY_SIZE(made)), "jumps of %zu", i);
	}
	ck_assert(!filter_same(made, ARRAY_SIZE(made), made, 3)); /* runs past its end */
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { shorter, stays, changes_are_seen };

	return suite_run("sandbox_shrink", tests, ARRAY_SIZE(tests), NULL, NULL);
}
