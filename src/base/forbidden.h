/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The system calls that xfrmctl gives up, as a filter for seccomp(2). The filter forbids the calls of a list and allows
 * all others, so that new calls of a newer C library work. The build generates the filter, because libseccomp would
 * take 0.2 ms for it at each start. */

#include <linux/filter.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>

/* Names of the calls that are forbidden with any arguments. */
extern const char *const forbidden_calls[];

/* Number of these names. */
extern const size_t n_forbidden_calls;

/* Generates the filter's program for one architecture (SCMP_ARCH_…), in the byte order of this machine. The program
 * forbids forbidden_calls, sockets other than local and netlink ones, and executable memory. A forbidden call fails
 * with EPERM. Returns the number of instructions, or a negative errno: -EFBIG when there are more than `max`. */
int forbidden_program(uint32_t architecture, struct sock_filter *ret, size_t max);
