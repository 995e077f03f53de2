/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _LINUX_ZCTAP_MUTANT_H
#define _LINUX_ZCTAP_MUTANT_H

#include <linux/compiler.h>
#include <linux/types.h>

/* Which of the mistakes that are compiled in is made; 0: none of them. */
extern u32 zctap_mutant_nr;

static __always_inline bool zctap_mutant(u32 nr)
{
	return unlikely(READ_ONCE(zctap_mutant_nr) == nr);
}

#endif
