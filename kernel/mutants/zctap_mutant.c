// SPDX-License-Identifier: GPL-2.0
/*
 * /sys/kernel/debug/zctap_mutant: the number of the mistake that this kernel
 * makes.  For testing tests; no kernel that is for anything else has this.
 */
#include <linux/debugfs.h>
#include <linux/export.h>
#include <linux/init.h>
#include <linux/zctap_mutant.h>

u32 zctap_mutant_nr;
EXPORT_SYMBOL_GPL(zctap_mutant_nr);

static int __init zctap_mutant_init(void)
{
	debugfs_create_u32("zctap_mutant", 0600, NULL, &zctap_mutant_nr);
	return 0;
}
fs_initcall(zctap_mutant_init);
