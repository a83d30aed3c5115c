/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* strongSwan's starter: the parent process of a charon, to which it gives the connections of ipsec.conf. */

#include <stdint.h>
#include <sys/types.h>

/* PID files of starter and of its charon. */
#define STARTER_FILE CHARON_RUN_DIR "/starter.charon.pid"
#define STARTER_CHARON_FILE CHARON_RUN_DIR "/charon.pid"

/* Reads a PID from a file. Returns 0, -EBADMSG if the file does not begin with a PID, or another negative errno. */
int starter_read_pid(const char *file, pid_t *ret);

/* Waits until starter has given charon all connections, and charon has loaded them. In a unit (with $MAINPID), starter
 * has to be the main process. Writes the duration to `ret_usec` in each case. Returns 0 or a negative errno:
 * -ECHILD: starter has ended
 * -ESRCH: charon has ended
 * -ETIMEDOUT: the time is over */
int starter_wait(uint64_t timeout_usec, uint64_t *ret_usec);

/* Waits until starter's charon has ended. If that was a crash, starter continues and starts another charon, and systemd
 * does not notice. This function therefore kills a starter that continues, so that systemd restarts the whole service.
 * It reports this, and errors. Returns 0 if it has killed starter, 1 if starter has ended by itself, or a negative
 * errno. */
int starter_watch(void);
