/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <linux/filter.h>

/* The filter for seccomp(2) that forbids the calls of base/forbidden.h. The build generates it
 * (base/make_call_filter.c). */
extern const struct sock_fprog call_filter;
