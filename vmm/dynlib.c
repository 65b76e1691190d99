/* SPDX-License-Identifier: MIT */
#include "vmm/dynlib.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

#include "vmm/err.h"

int dynlib_load(const struct dynlib *lib, void *functions, struct err *err)
{
	void *handle = dlopen(lib->file, RTLD_NOW | RTLD_LOCAL);

	if (!handle)
		return err_set(err, -ELIBACC, "cannot load a library, which may have to be installed: %s", dlerror());
	for (size_t i = 0; i < lib->n; i++) {
		void *f = dlsym(handle, lib->functions[i].name);

		if (!f)
			return err_set(err, -ELIBACC, "cannot use a library: %s", dlerror());
		memcpy((char *)functions + lib->functions[i].offset, &f, sizeof(f));
	}
	return 0;
}
