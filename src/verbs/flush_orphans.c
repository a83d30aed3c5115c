/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "verbs/flush_orphans.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/netns.h"
#include "base/util.h"

int flush_open_charon(const char *socket, struct vici **ret)
{
	const char *path = socket ? socket : VICI_SOCKET;

	int r = vici_open(path, usec_add(now_usec(), ORPHANS_TIMEOUT), ret);
	if (r < 0)
		return log_failure(r, MESSAGE_FAILED,
				   "Could not ask charon at %.128s for its SAs: %s. Nothing was removed, because every "
				   "SA would look orphaned. `xfrmctl flush` removes all SAs.",
				   path, vici_explain(r));
	if (netns_is_elsewhere(vici_peer(*ret)))
		return log_failure(-EXDEV, MESSAGE_FAILED,
				   "Could not compare SAs with charon at %.128s: charon works in another network "
				   "namespace. Nothing was removed. Use the --netns= and --socket= of the same charon.",
				   path);
	return 0;
}

int flush_find_orphans(struct xfrm *xfrm, struct vici *vici, struct orphans *ret)
{
	int r = orphans_find(xfrm, vici, ORPHANS_INTERVAL, ORPHANS_TIMEOUT, NULL, ret);

	if (r < 0)
		return log_failure(r, MESSAGE_FAILED,
				   "Could not find out which SAs charon does not know: %s. Nothing was removed.",
				   r == -EMSGSIZE
					   ? "charon leaves out IKE_SAs with more CHILD_SAs than fit into a message"
					   : strerror(-r));
	log_detail("charon knows %zu SAs. The kernel had %zu other SAs at the first comparison, and %zu at the second.",
		   ret->known.n, ret->n_first, ret->n);
	return 0;
}
