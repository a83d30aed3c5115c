/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <linux/filter.h>

/* The filter that forbids what base/forbidden.h names, for seccomp(2). The build makes it (base/make_call_filter.c). */
extern const struct sock_fprog call_filter;
