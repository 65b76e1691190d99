/* SPDX-License-Identifier: MIT */
#include "vmm/cli_list.h"

#include "vmm/cli_private.h"

bool cli_option_at(size_t i, struct cli_listed *listed)
{
	if (i >= cli_n_options)
		return false;
	*listed = (struct cli_listed){
		.name = cli_options[i].name,
		.rows = cli_options[i].props ? cli_options[i].props->rows : NULL,
		.takes_arg = cli_options[i].takes_arg,
	};
	return true;
}

const char *cli_prop_type(const struct prop_row *row)
{
	static const char *const names[] = {
		[PROP_STRING] = "str",	  [PROP_STRINGS] = "list<str>", [PROP_BOOL] = "bool", [PROP_UNSIGNED] = "uint32",
		[PROP_U16] = "uint16",	  [PROP_U64] = "uint64",	      [PROP_SIZE] = "size", [PROP_ENUM] = "str",
		[PROP_SWITCH] = "OnOffAuto", [PROP_FIXED] = "str",
	};

	if (row->type == PROP_FIXED && (row->names == prop_names_on || row->names == prop_names_off || row->names == prop_names_on_off))
		return "bool";
	return names[row->type];
}
