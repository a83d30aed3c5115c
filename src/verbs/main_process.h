/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Ends the main process ($MAINPID) of the unit that runs this, before systemd tells it to stop: a daemon that is told
 * to stop removes its SAs, policies and routes, and tells its peers. Reports what it did, and what fails. Returns 0,
 * also when there is no main process, or a negative errno. */
int main_process_end(void);
