/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Watches a service until its start is over. Kills a command of its ExecStartPost= if the main process has ended,
 * because systemd would wait for that command until TimeoutStartSec= (service_sigchld_event(), SERVICE_START_POST).
 * Reports each command that it kills. Returns 0, or a negative errno, which it reports. */
int watch_load(const char *unit);
