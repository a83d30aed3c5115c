/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <linux/capability.h>
#include <stdint.h>

/* The privileges of the process. main() or the verb reduces them to those that the verb needs. The verb then gives
 * these up step by step. */

/* Returns a set with one capability (capabilities(7)). */
#define PRIVILEGE(capability) (UINT64_C(1) << (capability))

/* Capability to read and change XFRM state, routes and rules. */
#define PRIVILEGE_NETWORK PRIVILEGE(CAP_NET_ADMIN)

/* Capability to enter a network namespace (setns(2)). */
#define PRIVILEGE_ENTER PRIVILEGE(CAP_SYS_ADMIN)

/* Capability to notify systemd on behalf of another process (sd_pid_notify(3)). */
#define PRIVILEGE_SPEAK PRIVILEGE(CAP_SYS_ADMIN)

/* Capabilities to see the files and namespaces of other processes (/proc/PID/fd, /proc/PID/ns), and to connect to
 * charon's socket, whatever user owns it. */
#define PRIVILEGE_OTHERS (PRIVILEGE(CAP_SYS_PTRACE) | PRIVILEGE(CAP_DAC_OVERRIDE) | PRIVILEGE(CAP_DAC_READ_SEARCH))

/* Capability to signal a process of another user. */
#define PRIVILEGE_KILL PRIVILEGE(CAP_KILL)

/* Gives up, irrevocably, all capabilities outside of `keep`, the system calls of base/forbidden.h (seccomp(2)), and any
 * gain of capabilities by execve(2) (no_new_privs). Children have the same limits. When a step fails, the program
 * continues without it and reports a detail (--verbose), because the protection of traffic matters more.
 *
 * The caller calls this function before it opens the first socket. If the filter forbids a call that the program needs,
 * the program then fails early, when it opens that socket.
 *
 * A build without seccomp (meson option) keeps all system calls. Sanitizers need such a build. */
void privileges_confine(uint64_t keep);

/* Gives up `capabilities` as well. */
void privileges_give_up(uint64_t capabilities);
