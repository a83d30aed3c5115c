/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <linux/capability.h>
#include <stdint.h>

/* What the process may still do: it begins with what its verb needs, and gives that up part by part. */

/* A set of capabilities (capabilities(7)). */
#define PRIVILEGE(capability) (UINT64_C(1) << (capability))

/* To read and change XFRM state, routes and rules. */
#define PRIVILEGE_NETWORK PRIVILEGE(CAP_NET_ADMIN)

/* To enter a network namespace (setns(2)). */
#define PRIVILEGE_ENTER PRIVILEGE(CAP_SYS_ADMIN)

/* To tell systemd something in the name of another process (sd_pid_notify(3)). */
#define PRIVILEGE_SPEAK PRIVILEGE(CAP_SYS_ADMIN)

/* To see which files and namespaces other processes have (/proc/PID/fd, /proc/PID/ns), and to connect to charon's
 * socket, whoever it belongs to. */
#define PRIVILEGE_OTHERS (PRIVILEGE(CAP_SYS_PTRACE) | PRIVILEGE(CAP_DAC_OVERRIDE) | PRIVILEGE(CAP_DAC_READ_SEARCH))

/* To signal a process of another user. */
#define PRIVILEGE_KILL PRIVILEGE(CAP_KILL)

/* Gives up, for good, all capabilities but those of a set, the way to get any by execve(2) (no_new_privs), and the
 * system calls that forbidden.h names (seccomp(2)). Children are bound by the same. Where that is not possible, the
 * program goes on with what it has, and says so (--verbose): it has been called to protect traffic.
 *
 * Call it before the first socket is opened: a filter that forbids what the program needs is found out there.
 *
 * A build without seccomp (meson option), as sanitizers need one, keeps all system calls. */
void privileges_confine(uint64_t keep);

/* Gives up these capabilities too. */
void privileges_give_up(uint64_t capabilities);
