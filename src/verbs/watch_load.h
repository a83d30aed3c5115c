/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Watches a service until its start is over. Kills a command of its ExecStartPost= when its main process has ended:
 * systemd would wait for that command until TimeoutStartSec= (service_sigchld_event(), SERVICE_START_POST). Reports
 * what it kills and what fails; returns 0 or a negative errno. */
int watch_load(const char *unit);
