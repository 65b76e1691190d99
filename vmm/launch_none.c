/* SPDX-License-Identifier: MIT */
#include "vmm/launch_none.h"

#include <errno.h>
#include <stdlib.h>

#include "vmm/config.h"
#include "vmm/err.h"
#include "vmm/vm.h"

static int none_reset(void *machine, struct err *err)
{
	(void)machine;
	(void)err;
	return 0;
}

static const struct vm_machine_ops none_ops = { .reset = none_reset };

struct vm *launch_none_create(const struct vm_config *cfg, struct eventloop *loop, struct err *err)
{
	struct vm *vm = calloc(1, sizeof(*vm));

	if (!vm) {
		err_set(err, -ENOMEM, "no memory to start");
		return NULL;
	}
	vm->fd = vm->kvm.fd = -1;
	vm->loop = loop;
	vm_run_init(vm, cfg->no_reboot);
	vm_set_machine(vm, &none_ops, NULL);
	return vm;
}

void launch_none_destroy(struct vm *vm)
{
	if (!vm)
		return;
	vm_run_fini(vm);
	free(vm);
}
