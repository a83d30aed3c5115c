/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What becomes of the state of an IKE daemon that restarts: XFRMCTL_MODE, and --mode= of `service`. */
enum mode {
	MODE_AUTO,     /* after a crash as MODE_HANDOVER, at a planned restart as MODE_HOLD */
	MODE_FLUSH,    /* it goes, and nothing takes its place */
	MODE_HOLD,     /* it goes, and shadows take its place */
	MODE_HANDOVER, /* it carries the traffic until the new daemon does, for which a planned restart ends the old one
			*/
};

/* Takes the name of a mode. Reports what is wrong with it and returns -EINVAL. */
int mode_take(const char *value, enum mode *ret);
