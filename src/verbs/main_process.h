/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Ends the main process ($MAINPID) of the unit that runs this command, before systemd stops it. A daemon that systemd
 * stops performs a clean shutdown: it removes its SAs, policies and routes, and tells its peers. Reports the result.
 * Returns 0, also if there is no main process, or a negative errno. */
int main_process_end(void);
