/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The system calls that xfrmctl gives up, as a filter of seccomp(2). It is a list of what is forbidden, and everything
 * else is allowed, so that a call that a newer C library makes works. The build makes the filter, so that no start has
 * to: libseccomp takes 0.2 ms for it. */

#include <linux/filter.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>

/* Names of calls that are forbidden whatever their arguments are. */
extern const char *const forbidden_calls[];
extern const size_t n_forbidden_calls;

/* Makes the filter's program for one architecture, SCMP_ARCH_…, in the byte order of this machine: it forbids
 * forbidden_calls, sockets other than local and netlink ones, and executable memory. A forbidden call fails with EPERM.
 * Returns the number of instructions, or a negative errno; -EFBIG if they are more than `max`. */
int forbidden_program(uint32_t architecture, struct sock_filter *ret, size_t max);
