/* SPDX-License-Identifier: MIT */
/* What the files of the command line share: the option table's rows, and the state of one parse. Included by vmm/cli*.c only. */
#ifndef VMM_CLI_PRIVATE_H
#define VMM_CLI_PRIVATE_H

#include "vmm/cli.h"
#include "vmm/cli_props.h"

/* A -serial: the n-th is COMn. */
struct cli_port {
	char *chardev; /* NULL: -serial none */
};

/* A -device isa-serial; its port is settled when all options are known. */
struct cli_uart {
	char *id, *chardev;
	unsigned index;  /* UINT_MAX: not given */
	uint16_t iobase; /* 0: not given */
	unsigned irq;    /* 0: not given */
};

/* -m and -smp add up over all that are given, and are checked at the end. */
struct cli_mem {
	uint64_t size, maxmem; /* bytes; 0: not given */
	unsigned slots;
};

struct cli_smp {
	unsigned cpus, maxcpus, sockets, dies, clusters, cores, threads; /* 0: not given */
};

/* One parse. */
struct cli {
	struct vm_config *cfg;
	enum cli_action action;
	struct strv notes; /* debug lines, held back until it is known whether they are wanted */
	struct cli_mem mem;
	struct cli_smp smp;
	struct cli_port ports[CONFIG_MAX_SERIALS];
	size_t n_ports;
	struct cli_uart uarts[CONFIG_MAX_SERIALS];
	size_t n_uarts;
	struct strv device_ids;
	bool display_none, monitor_none;
};

enum cli_option_kind {
	CLI_OPTION_CALL,   /* `handle` */
	CLI_OPTION_FLAG,   /* sets the bool at `offset` of struct vm_config */
	CLI_OPTION_STRING, /* sets the string at `offset` of struct vm_config */
	CLI_OPTION_PROPS,  /* `props`, stored in struct vm_config */
	CLI_OPTION_IGNORE, /* accepted with a debug line if the value is one of `names` (NULL: any), else refused because of `why` */
	CLI_OPTION_REFUSE, /* known, but not available because of `why` */
};

struct cli_option {
	const char *name; /* without dashes */
	bool takes_arg;
	enum cli_option_kind kind;
	int (*handle)(struct cli *cli, const char *arg, struct err *err);
	size_t offset;
	const struct prop_table *props;
	const char *const *names;
	const char *why;
	unsigned min; /* CLI_OPTION_STRING: the least length */
};

/* cli_options.c */
extern const struct cli_option cli_options[];
extern const size_t cli_n_options;
extern const char cli_options_help[];

/* Whether a value asks for help. */
bool cli_is_help(const char *arg);

/* cli_machine.c */
extern const struct prop_table cli_accel_props, cli_overcommit_props, cli_boot_props, cli_name_props;
int cli_machine(struct cli *cli, const char *arg, struct err *err);
int cli_memory(struct cli *cli, const char *arg, struct err *err);
int cli_memory_finish(struct cli *cli, struct err *err);
int cli_global(struct cli *cli, const char *arg, struct err *err);
int cli_action_option(struct cli *cli, const char *arg, struct err *err);
int cli_rtc(struct cli *cli, const char *arg, struct err *err);
int cli_uuid(struct cli *cli, const char *arg, struct err *err);

/* cli_cpu.c */
int cli_cpu(struct cli *cli, const char *arg, struct err *err);
int cli_smp(struct cli *cli, const char *arg, struct err *err);
int cli_smp_finish(struct cli *cli, struct err *err);

/* cli_chardev.c */
int cli_chardev(struct cli *cli, const char *arg, struct err *err);
int cli_serial(struct cli *cli, const char *arg, struct err *err);

/* Errors start with `what`. */
int cli_serial_add(struct cli *cli, const char *arg, const char *what, struct err *err);

/* cli_device.c */
extern const char cli_device_help[];
int cli_device(struct cli *cli, const char *arg, struct err *err);
/* A -device whose properties are in `l`, whatever they were written in. Takes items out of `l`. */
int cli_device_add(struct cli *cli, struct prop_list *l, struct err *err);
void cli_uart_fini(struct cli_uart *uart);

/* cli_serial.c: which port has which UART, and which chardev. */
int cli_serial_finish(struct cli *cli, struct err *err);

/* cli_finish.c */
int cli_finish(struct cli *cli, struct err *err);

#endif
