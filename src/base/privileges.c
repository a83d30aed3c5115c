/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/privileges.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/call_filter.h"
#include "base/log.h"
#include "base/util.h"

#if HAVE_SECCOMP
static int filter_calls(void)
{
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &call_filter) < 0 ? -errno : 0;
}
#else
static int filter_calls(void)
{
	return 0;
}
#endif

static int reduce_to(uint64_t keep)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &header, data) < 0)
		return -errno;
	for (size_t i = 0; i < ARRAY_SIZE(data); i++) {
		data[i].permitted &= (uint32_t)(keep >> (32 * i));
		data[i].effective = data[i].permitted;
		data[i].inheritable = 0;
	}
	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

static void report_kept(const char *what, int r)
{
	if (r < 0)
		log_detail("Could not give up %s: %s. The command continues with more privileges than it needs.", what,
			   strerror(-r));
}

void privileges_confine(uint64_t keep)
{
	report_kept("unneeded capabilities", reduce_to(keep));
	report_kept("the right to new privileges", prctl(PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L) < 0 ? -errno : 0);
	report_kept("unneeded system calls", filter_calls());
}

void privileges_give_up(uint64_t capabilities)
{
	report_kept("unneeded capabilities", reduce_to(~capabilities));
}
