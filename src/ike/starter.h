/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* strongSwan's starter: the parent of a charon, to which it gives the connections of ipsec.conf. */

#include <stdint.h>
#include <sys/types.h>

/* Where they keep their process ids. */
#define STARTER_FILE CHARON_RUN_DIR "/starter.charon.pid"
#define STARTER_CHARON_FILE CHARON_RUN_DIR "/charon.pid"

/* Reads a process id. Returns 0, -EBADMSG when the file does not begin with one, or another negative errno. */
int starter_read_pid(const char *file, pid_t *ret);

/* Waits until starter has given charon all its connections, and charon has taken them. In a unit (with $MAINPID)
 * starter has to be the main process. Returns 0; -ECHILD when starter has ended; -ESRCH when charon has ended;
 * -ETIMEDOUT; or another negative errno. `ret_usec` is how long that took, whatever it returns. */
int starter_wait(uint64_t timeout_usec, uint64_t *ret_usec);

/* Waits until starter's charon has ended, and kills starter if it goes on then, to start another one: only so does
 * systemd see a crash. Reports what happens and what fails; returns 0 or a negative errno. */
int starter_watch(void);
