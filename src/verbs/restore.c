/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/unit.h"
#include "base/util.h"
#include "hold/boot_file.h"
#include "hold/report.h"
#include "hold/shadow.h"
#include "hold/sweep.h"
#include "verbs/options.h"
#include "xfrm/netlink.h"

struct shadows {
	struct entry *list;
	size_t n, allocated;
};

struct restore {
	const char *path; /* --file= */
	const char *unit; /* --unit=; NULL: not given */
	bool sub, from_sub;
	struct xfrm *xfrm;
	struct boot_file_reader reader;
	struct summary summary;
	/* Shadows to add again: a shadow with the same key exists already, or the kernel's answer was lost. */
	struct shadows again;
};

static void restore_free(struct restore *restore)
{
	close_file(&restore->reader.f);
	free(restore->again.list);
}

static int refuse(const struct restore *restore, const char *why)
{
	return log_failure(-EBADMSG, MESSAGE_NOT_BLOCKED_AT_BOOT,
			   "Could not use %.128s: %s. No traffic is blocked until the IKE daemon has started.",
			   restore->path, why);
}

/* Opens the file. Refuses a file that other users may have written, because its content decides which traffic is
 * blocked. Returns 0; -ENOENT, which it does not report, if there is no file; or -EBADMSG, which it reports. */
static int open_file(struct restore *restore)
{
	struct stat st;

	/* O_NONBLOCK: the opening of a FIFO must not wait for a writer. */
	int fd = open(restore->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return errno == ENOENT ? -ENOENT : refuse(restore, strerror(errno));
	restore->reader.f = fdopen(fd, "r");
	const char *why = !restore->reader.f || fstat(fd, &st) < 0   ? strerror(errno)
			  : !S_ISREG(st.st_mode)		     ? "the file is not a regular file"
			  : st.st_uid != 0 && st.st_uid != geteuid() ? "the file belongs to another user"
			  : (st.st_mode & (S_IWGRP | S_IWOTH)) != 0  ? "other users may write the file"
								     : NULL;
	if (!restore->reader.f)
		close(fd);
	return why ? refuse(restore, why) : 0;
}

/* Reads the whole file before anything is changed. Returns 0, or -EBADMSG if the file is not complete and correct,
 * which it reports. */
static int check_file(struct restore *restore)
{
	struct entry shadow;
	int r;

	do
		r = boot_file_next(&restore->reader, &shadow);
	while (r > 0);
	return r < 0 ? refuse(restore, restore->reader.why) : 0;
}

static void count_failed(struct restore *restore, const struct entry *shadow, int error)
{
	summary_take_back(&restore->summary, shadow);
	report_refused(&restore->summary.failed, "put a shadow in place of", shadow, error);
}

static void on_refused(const struct xfrm_refusal *refusal, void *userdata)
{
	struct restore *restore = userdata;
	struct shadows *again = &restore->again;
	int error = refusal->error;

	if (error == -EEXIST || error == -EAGAIN) {
		error = APPEND(again, refusal->entry);
		if (error == 0)
			return;
	}
	count_failed(restore, &refusal->entry, error);
}

/* Reads the next shadow of the file, and changes its type to the one that --sub or --from-sub requires. The file may
 * contain both types: if the daemon did not start after an earlier --sub, `save` may have saved the sub shadows.
 * Returns as boot_file_next(). */
static int next_shadow(struct restore *restore, struct entry *ret)
{
	int r = boot_file_next(&restore->reader, ret);

	if (r > 0 && (restore->sub || restore->from_sub))
		ret->policy.ptype = restore->sub ? XFRM_POLICY_TYPE_SUB : XFRM_POLICY_TYPE_MAIN;
	return r;
}

static void begin_again(struct restore *restore)
{
	rewind(restore->reader.f);
	restore->reader.line = restore->reader.n = 0;
}

static void on_not_removed(const struct xfrm_refusal *refusal, void *userdata)
{
	struct restore *restore = userdata;

	if (refusal->error != -ENOENT)
		report_refused(&restore->summary.failed, "remove", &refusal->entry, refusal->error);
}

/* Removes the sub shadows of the file. The caller does so only if all main shadows are in place, so that traffic is
 * blocked, not unprotected. Returns 0, or a negative errno, which it reports. */
static int remove_subs(struct restore *restore)
{
	struct entry shadow;
	int r;

	begin_again(restore);
	while ((r = next_shadow(restore, &shadow)) > 0) {
		shadow.policy.ptype = XFRM_POLICY_TYPE_SUB;
		r = xfrm_delete(restore->xfrm, &shadow, on_not_removed, restore);
		if (r < 0)
			break;
	}
	int committed = xfrm_commit(restore->xfrm, on_not_removed, restore);
	r = r < 0 ? r : committed;
	return r < 0 ? log_failure(r, MESSAGE_FAILED, "Could not remove all sub shadows: %s.", strerror(-r)) : 0;
}

static int put_shadows(struct restore *restore)
{
	struct xfrm_counters blocked;
	struct entry shadow;
	int r;

	xfrm_read_counters(&blocked);
	begin_again(restore);
	while ((r = next_shadow(restore, &shadow)) > 0) {
		shadow_set_blocked(&shadow, &blocked);
		summary_add(&restore->summary, &shadow);
		r = xfrm_exchange(restore->xfrm, &shadow, NULL, on_refused, restore);
		if (r < 0)
			break;
	}
	int committed = xfrm_commit(restore->xfrm, on_refused, restore);
	for (size_t i = 0; i < restore->again.n; i++) {
		const struct entry *again = &restore->again.list[i];
		int adopted = sweep_adopt(restore->xfrm, again);
		if (adopted == -ENOENT)
			adopted = xfrm_update_policy(restore->xfrm, again);
		if (adopted < 0)
			count_failed(restore, again, adopted);
	}
	r = r < 0 ? r : committed;
	return r < 0 ? log_failure(r, MESSAGE_FAILED, "Could not put shadows in place of all policies: %s.",
				   strerror(-r))
		     : 0;
}

/* Returns whether a service runs or is starting, and so installs its own policies. Returns false if `unit` is NULL or
 * systemd does not answer. */
static bool is_up(const char *unit)
{
	enum unit_phase phase = UNIT_DOWN;

	int r = unit ? unit_find_phase(unit, &phase) : 0;
	if (r < 0)
		log_notice(MESSAGE_UNSURE,
			   "Could not ask systemd whether %.64s runs: %s. Shadows are put in place as if the service "
			   "did not run.",
			   unit, strerror(-r));
	else if (phase != UNIT_DOWN)
		log_detail("%.64s runs or starts: no traffic has to be blocked.", unit);
	return phase != UNIT_DOWN;
}

static int run(struct restore *restore, const struct globals *globals)
{
	CLEANUP(xfrm_close) struct xfrm *xfrm = NULL;
	struct xfrm_counts counts;

	int r = check_file(restore);
	if (r == 0)
		r = verb_open_xfrm(globals, &xfrm, &counts);
	if (r < 0)
		return r;
	restore->xfrm = xfrm;
	progress_begin(restore->reader.n, NULL);
	r = put_shadows(restore);
	if (r == 0 && restore->from_sub && !restore->summary.failed)
		r = remove_subs(restore);
	log_rest(restore->summary.failed, LOG_ERR, MESSAGE_INCOMPLETE, "shadows were refused");
	restore->summary.usec = progress_end();
	report_restored(&restore->summary);
	return r < 0 ? r : restore->summary.failed ? -EIO : 0;
}

static const struct verb_option option_table[] = {
	{"file", "FILE", SECTION_ACTION, OPTION_FILE, offsetof(struct restore, path),
	 "Read the file that `xfrmctl save` wrote. Do nothing if it is missing. Refuse a file that is damaged, or that "
	 "other users may write",
	 .required = true},
	{"sub", NULL, SECTION_ACTION, OPTION_FLAG, offsetof(struct restore, sub),
	 "Add shadows as sub policies, for a daemon that flushes main policies when it starts (pluto 5). They block "
	 "all that they match until --from-sub",
	 .excludes = "--from-sub"},
	{"from-sub", NULL, SECTION_ACTION, OPTION_FLAG, offsetof(struct restore, from_sub),
	 "Replace the sub shadows of --sub by main shadows"},
	{"unit", "UNIT", SECTION_SERVICE, OPTION_TEXT, offsetof(struct restore, unit),
	 "Do nothing if this service runs or starts"},
	{NULL},
};

static const struct verb_syntax syntax = {
	.name = "restore",
	.usage = {"--file=FILE [OPTION...]"},
	.about = "Puts shadows in place of the policies that `xfrmctl save` saved, until `xfrmctl release`: protected "
		 "traffic is blocked, and bypasses stay bypasses. Run it at boot, before the network and the IKE "
		 "daemon start.",
	.options = option_table,
};

int verb_restore(struct globals *globals, int argc, char **argv)
{
	CLEANUP(restore_free) struct restore restore = {0};

	int r = verb_parse(globals, argc, argv, &syntax, &restore);
	if (r < 0)
		return verb_exit_status(r);
	if (is_up(restore.unit))
		return STATUS_DONE;
	r = open_file(&restore);
	if (r == -ENOENT) {
		log_detail("There is no %.128s: no traffic is blocked.", restore.path);
		return STATUS_DONE;
	}
	if (r == 0)
		r = run(&restore, globals);
	return r < 0 ? STATUS_FAILED : STATUS_DONE;
}
