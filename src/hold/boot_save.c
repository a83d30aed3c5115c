/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hold/boot_save.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/atomic_file.h"
#include "base/log.h"
#include "base/unit.h"
#include "base/util.h"
#include "hold/boot_file.h"
#include "hold/report.h"
#include "hold/sweep.h"

struct saving {
	struct xfrm *xfrm;
	const struct filter *filter;
	const char *service;
	struct shadow_survey survey;
	struct summary summary;
	FILE *f;
	uint64_t n;		  /* number of shadows in the file */
	struct log_list left_out; /* policies whose shadows are not valid after a boot */
};

static int save_entry(const struct entry *policy, void *userdata)
{
	struct saving *saving = userdata;
	const char *why = boot_file_obstacle(policy);
	struct entry shadow;

	if (!shadow_tag(policy) && !filter_selects(saving->filter, policy))
		return 0;
	if (why) {
		char description[ENTRY_DESCRIPTION_MAX];
		log_later(&saving->left_out, "Could not save %s for the next boot: %s.",
			  entry_describe(policy, description, sizeof(description)), why);
		return 0;
	}
	shadow_make(policy, &saving->survey, false, &shadow);
	boot_file_add(saving->f, &shadow);
	summary_add(&saving->summary, policy);
	saving->n++;
	return ferror(saving->f) ? -EIO : 0;
}

static void begin(void *userdata)
{
	struct saving *saving = userdata;

	saving->n = saving->left_out.n = 0;
	saving->summary = (struct summary){0};
	rewind(saving->f);
	/* Without the truncation old lines may remain behind the last line. boot_file_next() refuses such a file. */
	if (ftruncate(fileno(saving->f), 0) < 0)
		log_detail("Could not truncate the file: %s.", strerror(errno));
	boot_file_begin(saving->f);
}

/* Checks that the service runs and is not about to change, so that its policies are complete. Returns 0, -ECANCELED if
 * not, or another negative errno after a report. */
static int check_service(const char *service)
{
	struct unit_running running;

	if (!service)
		return 0;
	int r = unit_find_running(service, &running);
	if (r < 0)
		return log_failure(
			r, MESSAGE_FAILED,
			"Could not ask systemd whether %.64s runs: %s. The file for the next boot stays as it was.",
			service, strerror(-r));
	if (running.undisturbed)
		return 0;
	log_detail("%.64s does not run, or is about to change: the file for the next boot stays as it was.", service);
	return -ECANCELED;
}

static int write_shadows(FILE *f, void *userdata)
{
	struct saving *saving = userdata;

	saving->f = f;
	int r = xfrm_dump_consistent(saving->xfrm, ENTRY_POLICY, begin, save_entry, saving);
	if (r < 0)
		return r;
	boot_file_end(f, saving->n);
	return check_service(saving->service);
}

int boot_save(struct xfrm *xfrm, const struct filter *filter, const char *file, const char *service)
{
	struct saving saving = {.xfrm = xfrm, .filter = filter, .service = service};
	uint64_t n_left_out = 0;

	int r = check_service(service);
	if (r < 0)
		return r == -ECANCELED ? 0 : r;
	progress_begin(0, NULL);
	r = sweep_survey(xfrm, filter, &saving.survey);
	if (r < 0)
		return r;
	r = atomic_file_replace(file, 0600, true, write_shadows, &saving);
	saving.summary.usec = progress_end();
	if (r == -ECANCELED)
		return 0;
	if (r < 0)
		return log_failure(r, MESSAGE_FAILED,
				   "Could not save the policies in %.128s: %s. The next boot uses the policies that "
				   "were saved before.",
				   file,
				   r == -EAGAIN ? "a part of the kernel's list was lost each time" : strerror(-r));
	if (r == 0) {
		log_detail("%.128s is up to date.", file);
		return 0;
	}
	saving.summary.failed = saving.left_out.n;
	report_saved(&saving.summary);
	log_list(&saving.left_out, &n_left_out, LOG_NOTICE, MESSAGE_LEFT_OUT);
	log_rest(n_left_out, LOG_NOTICE, MESSAGE_LEFT_OUT, "policies will not be blocked at boot");
	return 0;
}

int boot_save_is_shutdown(const char *file)
{
	int r = access(file, F_OK) == 0 ? unit_is_shutdown() : 0;

	return r < 0 ? log_failure(r, MESSAGE_FAILED,
				   "Could not ask systemd whether the machine shuts down: %s. Blocked traffic stays "
				   "blocked. `xfrmctl release` unblocks it.",
				   strerror(-r))
		     : r;
}

int boot_save_forget(const char *file)
{
	int r = boot_save_is_shutdown(file);

	if (r > 0)
		log_detail("The machine shuts down: blocked traffic stays blocked.");
	if (r == 0 && unlink(file) < 0 && errno != ENOENT)
		log_failure(-errno, MESSAGE_INCOMPLETE,
			    "Could not remove %.128s: %s. The next boot blocks what this file lists, until the IKE "
			    "daemon has started.",
			    file, strerror(errno));
	return r < 0 ? r : !r;
}
