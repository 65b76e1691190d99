/* SPDX-License-Identifier: MIT */
/* -cpu and -smp. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/cli_private.h"
#include "vmm/err.h"

static int add_feature(struct config_cpu *cpu, const char *name, bool on, struct err *err)
{
	struct config_cpu_feature *f = &cpu->features[cpu->n_features];

	if (!*name)
		return err_set(err, -EINVAL, "-cpu: a feature without a name; -cpu help lists them");
	if (cpu->n_features == CONFIG_MAX_CPU_FEATURES)
		return err_set(err, -E2BIG, "-cpu: more than %d features", CONFIG_MAX_CPU_FEATURES);
	if (cli_set_string(&f->name, name, err) < 0)
		return err->code;
	f->on = on;
	cpu->n_features++;
	return 0;
}

/* +f, -f, f=on, f=off, and f for f=on. Whether there is such a feature only arch/x86 knows. */
static int add_property(struct cli *cli, struct config_cpu *cpu, const struct prop_item *item, struct err *err)
{
	bool on = true;

	if (*item->key == '+' || *item->key == '-') {
		const char *name = item->key + 1;

		if (item->form == PROP_FORM_FLAG)
			return add_feature(cpu, name, *item->key == '+', err);
		return err_set(err, -EINVAL, "-cpu: feature '%s': takes no value; give %s, or %s=%s", err_show(item->key).s,
			       err_show(item->key).s, err_show(name).s, *item->key == '+' ? "on" : "off");
	}
	if (!cli_value_bool(item->text, &on))
		return err_set(err, -EINVAL, "-cpu: feature '%s': expected on or off, got '%s'", err_show(item->key).s,
			       err_show(item->text).s);
	if (!strcmp(item->key, "migratable"))
		return strv_addf(&cli->notes, err, "-cpu: migratable=%s has no effect", on ? "on" : "off");
	return add_feature(cpu, item->key, on, err);
}

static int parse_cpu(struct cli *cli, const struct prop_list *l, struct config_cpu *cpu, struct err *err)
{
	const char *model = l->items[0].text;

	if (strcmp(l->items[0].key, "model") || (strcmp(model, "host") && strcmp(model, "max")))
		return err_set(err, -EINVAL, "-cpu: model '%s' is not available: Kite gives what the host has; use host or max",
			       err_show(strcmp(l->items[0].key, "model") ? l->items[0].key : model).s);
	if (cli_set_string(&cpu->model, model, err) < 0)
		return err->code;
	for (size_t i = 1; i < l->n; i++)
		if (add_property(cli, cpu, &l->items[i], err) < 0)
			return err->code;
	return 0;
}

int cli_cpu(struct cli *cli, const char *arg, struct err *err)
{
	struct prop_ctx ctx = { .what = "-cpu", .notes = &cli->notes, .err = err };
	struct prop_list l = { .items = NULL };
	struct config_cpu *cpu = &cli->cfg->cpu;
	int ret;

	if (cli_is_help(arg)) {
		cli->action = CLI_CPU_HELP;
		return 0;
	}
	if (!*arg)
		return err_set(err, -EINVAL, "-cpu: the value is empty; use host or max");
	ret = prop_list_parse(&l, arg, "model", &ctx);
	if (ret == 0) {
		/* The last -cpu counts, as a whole. */
		config_cpu_fini(cpu);
		ret = parse_cpu(cli, &l, cpu, err);
	}
	prop_list_fini(&l);
	return ret;
}

#define SMP_ROW(field, least, most) \
	{ .key = #field, .type = PROP_UNSIGNED, .offset = offsetof(struct cli_smp, field), .min = least, .max = most }
static const struct prop_row smp_rows[] = {
	SMP_ROW(cpus, 1, CONFIG_MAX_CPUS),
	SMP_ROW(maxcpus, 1, UINT32_MAX),
	SMP_ROW(sockets, 1, CONFIG_MAX_CPUS),
	SMP_ROW(dies, 1, 1),
	SMP_ROW(clusters, 1, 1),
	SMP_ROW(cores, 1, CONFIG_MAX_CPUS),
	SMP_ROW(threads, 1, CONFIG_MAX_CPUS),
	{ .key = NULL },
};
static const struct prop_table smp_props = { .implied = "cpus", .rows = smp_rows };

int cli_smp(struct cli *cli, const char *arg, struct err *err)
{
	struct prop_ctx ctx = { .what = "-smp", .notes = &cli->notes, .err = err };

	return props_parse(arg, &smp_props, &cli->smp, &ctx);
}

static unsigned or_one(unsigned n)
{
	return n ? n : 1;
}

/*
 * What was not given, as QEMU 6.2 and later compute it: one level takes what the others leave of the vCPUs, and that is the first
 * of cores, sockets, threads that was left out; what else was left out counts one. dies and clusters can only be 1.
 */
int cli_smp_finish(struct cli *cli, struct err *err)
{
	struct cli_smp s = cli->smp;
	unsigned total = s.maxcpus ? s.maxcpus : s.cpus;

	if (s.cpus && s.maxcpus && s.cpus != s.maxcpus)
		return err_set(err, -EINVAL, "-smp: maxcpus=%u is not cpus=%u; vCPUs cannot be hotplugged, leave it out", s.maxcpus,
			       s.cpus);
	if (!total)
		total = or_one(s.sockets) * or_one(s.cores) * or_one(s.threads);
	if (total > CONFIG_MAX_CPUS)
		return err_set(err, -ERANGE, "-smp: %u vCPUs are too many; the most is %d", total, CONFIG_MAX_CPUS);
	if (!s.cores) {
		s.sockets = or_one(s.sockets);
		s.threads = or_one(s.threads);
		s.cores = total / (s.sockets * s.threads);
	} else if (!s.sockets) {
		s.threads = or_one(s.threads);
		s.sockets = total / (s.cores * s.threads);
	} else if (!s.threads) {
		s.threads = total / (s.sockets * s.cores);
	}
	if (s.sockets * s.cores * s.threads != total)
		return err_set(err, -EINVAL, "-smp: sockets (%u) * cores (%u) * threads (%u) is %u, but there are %u vCPUs; make them agree",
			       s.sockets, s.cores, s.threads, s.sockets * s.cores * s.threads, total);
	cli->cfg->smp = (struct config_smp){ .cpus = total, .sockets = s.sockets, .cores = s.cores, .threads = s.threads };
	return 0;
}
