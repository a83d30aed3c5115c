/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The system calls that the program gives up: rules for a filter of seccomp(2). It is a list of what is forbidden, and
 * everything else is allowed, so that a call that a newer C library makes works. */

#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>

/* Names of calls that are forbidden whatever their arguments are. */
extern const char *const forbidden_calls[];
extern const size_t n_forbidden_calls;

/* Adds the rules to a filter that allows all calls and has one architecture, SCMP_ARCH_…: for forbidden_calls, sockets
 * other than local and netlink ones, and executable memory. A forbidden call fails with EPERM. Returns 0 or a negative
 * errno. */
int forbid_calls(scmp_filter_ctx filter, uint32_t architecture);
