/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* pidfd_open(2) and pidfd_send_signal(2), for glibc before 2.36. */

#if HAVE_SYS_PIDFD_H
#include <sys/pidfd.h>
#else
#include <signal.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static inline int pidfd_open(pid_t pid, unsigned int flags)
{
	return (int)syscall(SYS_pidfd_open, pid, flags);
}

static inline int pidfd_send_signal(int pidfd, int signal, siginfo_t *info, unsigned int flags)
{
	return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, info, flags);
}
#endif
