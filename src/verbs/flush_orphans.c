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
				   "charon does not answer on %.128s: %s. Nothing was removed: without its word every "
				   "SA would be an orphan; `xfrmctl flush` removes them all.",
				   path, vici_explain(r));
	if (netns_is_elsewhere(vici_peer(*ret)))
		return log_failure(-EXDEV, MESSAGE_FAILED,
				   "charon on %.128s works in another network namespace: nothing was removed, since "
				   "it knows none of the SAs of this one. --netns and --socket have to name the same "
				   "charon's.",
				   path);
	return 0;
}

int flush_find_orphans(struct xfrm *xfrm, struct vici *vici, struct orphans *ret)
{
	int r = orphans_find(xfrm, vici, ORPHANS_INTERVAL, ORPHANS_TIMEOUT, NULL, ret);

	if (r < 0)
		return log_failure(r, MESSAGE_FAILED,
				   "Could not find out which SAs charon does not know: %s. Nothing was removed.",
				   r == -EMSGSIZE ? "it leaves out IKE SAs with more child SAs than fit into a message"
						  : strerror(-r));
	log_detail(
		"charon knows %zu SAs; of the kernel's, it did not know %zu at the first look and %zu at the second.",
		ret->known.n, ret->n_first, ret->n);
	return 0;
}
