/* SPDX-License-Identifier: MIT */
/*
 * sandbox-gen: makes the filters of vmm/sandbox.h of the rules in all files of Kite, which are linked to it, as C on standard output; with
 * --list, the rules as text: FILTER CALL [ARGUMENTS] FLAGS FILE. Runs when Kite is built.
 *
 * It fails when a filter lets more calls through than its kind of thread may have.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tools/sandbox-gen/shrink.h"
#include "vmm/sandbox_priv.h"
#include "vmm/syscall_rules.h"
#include "vmm/util.h"

#define CALLS_MAX 1024 /* beyond all numbers of system calls */

/* For the library that is linked to this program. */
const struct sandbox_filter sandbox_filters[FILTERS];
const char sandbox_call_names[1];
const size_t sandbox_n_call_names;

/* By the linker: what SYSCALL_RULES put there. */
extern const struct syscall_rules *const __start_syscall_rules[], *const __stop_syscall_rules[];

static const struct kind {
	const char *name;
	unsigned threads, has; /* THREAD_, NEEDS_ */
	unsigned limit;        /* of system calls; 0: none */
} kinds[FILTERS] = {
	[FILTER_VCPU] = { "vcpu", THREAD_VCPU, 0, 40 },
	[FILTER_LOOP] = { "loop", THREAD_LOOP, 0, 60 },
	[FILTER_LOOP + NEEDS_FILES] = { "loop-files", THREAD_LOOP, NEEDS_FILES, 60 },
	[FILTER_LOOP + NEEDS_PEERS] = { "loop-peers", THREAD_LOOP, NEEDS_PEERS, 60 },
	[FILTER_LOOP + NEEDS_FILES + NEEDS_PEERS] = { "loop-files-peers", THREAD_LOOP, NEEDS_FILES | NEEDS_PEERS, 60 },
	[FILTER_MAIN] = { "main", THREAD_MAIN, 0, 0 },
	[FILTER_MAIN + NEEDS_FILES] = { "main-files", THREAD_MAIN, NEEDS_FILES, 0 },
	[FILTER_MAIN + NEEDS_PEERS] = { "main-peers", THREAD_MAIN, NEEDS_PEERS, 0 },
	[FILTER_MAIN + NEEDS_FILES + NEEDS_PEERS] = { "main-files-peers", THREAD_MAIN, NEEDS_FILES | NEEDS_PEERS, 0 },
};

static _Noreturn void die(const char *what, int error)
{
	fprintf(stderr, "sandbox-gen: %s: %s\n", what, strerror(error));
	exit(EXIT_FAILURE);
}

static bool counts(const struct syscall_rule *rule, const struct kind *kind)
{
	return (rule->threads & kind->threads) && !(rule->needs & ~kind->has) && !(rule->unless & kind->has);
}

static void add_rule(scmp_filter_ctx ctx, const struct syscall_rule *rule)
{
	struct scmp_arg_cmp args[ARRAY_SIZE(rule->args)];
	uint32_t action = rule->error ? SCMP_ACT_ERRNO((unsigned)rule->error) : SCMP_ACT_ALLOW;
	int rc;

	for (unsigned i = 0; i < rule->n_args; i++)
		args[i] = SCMP_CMP64(rule->args[i].index, SCMP_CMP_MASKED_EQ, rule->args[i].mask, rule->args[i].value);
	rc = seccomp_rule_add_array(ctx, action, rule->nr, rule->n_args, args);
	/* The same rule in two files is fine. */
	if (rc < 0 && rc != -EEXIST)
		die(rule->name, -rc);
}

/* Of all rules; returns how many system calls the filter lets through. */
static unsigned add_rules(scmp_filter_ctx ctx, const struct kind *kind)
{
	bool seen[CALLS_MAX] = { false };
	unsigned n = 0;

	for (const struct syscall_rules *const *r = __start_syscall_rules; r < __stop_syscall_rules; r++)
		for (size_t i = 0; i < (*r)->n; i++) {
			const struct syscall_rule *rule = &(*r)->rules[i];

			if (!counts(rule, kind))
				continue;
			add_rule(ctx, rule);
			n += !rule->error && !seen[rule->nr];
			seen[rule->nr] |= !rule->error;
		}
	return n;
}

static void print_code(scmp_filter_ctx ctx, unsigned kind)
{
	int fd = memfd_create("filter", MFD_CLOEXEC), rc;
	struct sock_filter made[FILTER_MAX], code[FILTER_MAX];
	unsigned n_made, n;
	ssize_t size;

	rc = fd < 0 ? -errno : seccomp_export_bpf(ctx, fd);
	if (rc < 0)
		die("cannot export a filter", -rc);
	size = pread(fd, made, sizeof(made), 0);
	if (size <= 0 || (size_t)size >= sizeof(made))
		die(kinds[kind].name, E2BIG);
	n_made = (unsigned)((size_t)size / sizeof(made[0]));
	memcpy(code, made, sizeof(code));
	n = filter_shrink(code, n_made, KVM_RUN);
	if (!filter_same(made, n_made, code, n))
		die("a filter that was made shorter says something else", EINVAL);
	printf("static const struct sock_filter filter_%u[] = {\n", kind);
	for (unsigned i = 0; i < n; i++)
		printf("\t{ %#x, %u, %u, %#x },\n", code[i].code, code[i].jt, code[i].jf, code[i].k);
	printf("};\n");
	close(fd);
}

static unsigned print_filter(unsigned kind)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_TRAP);
	unsigned n;

	/* A binary tree; and calls by another convention (32 bits, x32) end the process. */
	if (!ctx || seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2) < 0 || seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS) < 0)
		die("libseccomp", ENOSYS);
	n = add_rules(ctx, &kinds[kind]);
	if (kinds[kind].limit && n > kinds[kind].limit) {
		fprintf(stderr, "sandbox-gen: a %s thread may make %u system calls, more than %u\n", kinds[kind].name, n, kinds[kind].limit);
		exit(EXIT_FAILURE);
	}
	print_code(ctx, kind);
	seccomp_release(ctx);
	return n;
}

static void print_names(void)
{
	int n = 0, gap = 0;

	printf("const char sandbox_call_names[] =");
	for (int nr = 0; nr < CALLS_MAX; nr++) {
		char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, nr);

		for (gap++; name && gap > 1; gap--)
			printf("\n\t\"\\0\"");
		if (name) {
			printf("\n\t\"%s\\0\"", name);
			n = nr + 1;
			gap = 0;
		}
		free(name);
	}
	printf(";\nconst size_t sandbox_n_call_names = %d;\n", n);
}

static void print_source(void)
{
	unsigned calls[FILTERS];

	printf("/* Made by tools/sandbox-gen. */\n#include \"vmm/sandbox_priv.h\"\n");
	for (unsigned i = 0; i < FILTERS; i++)
		calls[i] = print_filter(i);
	printf("const struct sandbox_filter sandbox_filters[FILTERS] = {\n");
	for (unsigned i = 0; i < FILTERS; i++)
		printf("\t{ filter_%u, sizeof(filter_%u) / sizeof(filter_%u[0]), %u }, /* %s */\n", i, i, i, calls[i], kinds[i].name);
	printf("};\n");
	print_names();
}

static void print_list(void)
{
	for (unsigned k = 0; k < FILTERS; k++)
		for (const struct syscall_rules *const *r = __start_syscall_rules; r < __stop_syscall_rules; r++)
			for (size_t i = 0; i < (*r)->n; i++) {
				const struct syscall_rule *rule = &(*r)->rules[i];

				if (!counts(rule, &kinds[k]))
					continue;
				printf("%s %s", kinds[k].name, rule->name);
				for (unsigned j = 0; j < rule->n_args; j++)
					printf(" %u:%#llx:%#llx", rule->args[j].index, (unsigned long long)rule->args[j].mask,
					       (unsigned long long)rule->args[j].value);
				printf("%s%s %s\n", rule->error ? " error" : "", rule->rare & kinds[k].threads ? " rare" : "", (*r)->file);
			}
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--list"))
		print_list();
	else
		print_source();
	return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
